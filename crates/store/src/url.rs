//! Where the database is: a file of SQLite's, or a server of PostgreSQL's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// A database's address: `sqlite:PATH`, an absolute path, or `postgres://[USER[:PASSWORD]@]HOST[:PORT]/NAME`; a Unix socket of
/// PostgreSQL's is `postgres:///NAME?host=FOLDER`. What an address of PostgreSQL's leaves out, `PGUSER` and its like say, and
/// `~/.pgpass`. Neither of its printed forms shows a password.
#[derive(Clone)]
pub struct DatabaseUrl(Place);

/// What is behind it.
#[derive(Clone)]
pub(crate) enum Place {
    File(PathBuf),
    Server(Box<PgConnectOptions>),
}

/// A text that is no database's address. It says nothing of the text: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a database is sqlite:PATH or postgres://USER@HOST/NAME: {0}")]
pub struct InvalidUrl(String);

impl DatabaseUrl {
    /// The database in this file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// Its file, when it is SQLite's.
    #[must_use]
    pub fn as_file(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }

    /// The folder of the Unix socket by which it is reached, when it is.
    #[must_use]
    pub fn socket_folder(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(_) => None,
            Place::Server(options) => options.get_socket().map(PathBuf::as_path),
        }
    }

    /// The whole address of a file or a socket, with its password, for another process to parse. Of one that is reached over
    /// the network the files of its certificates are not told.
    #[must_use]
    pub fn reveal(&self) -> String {
        match &self.0 {
            Place::File(path) => format!("sqlite:{}", path.display()),
            Place::Server(options) => options.to_url_lossy().to_string(),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = |why: &str| Err(InvalidUrl(why.to_owned()));
        if ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            let mut options = text
                .parse::<PgConnectOptions>()
                .map_err(|error| InvalidUrl(error.to_string()))?;
            // Where no host is given, it is the folder in which a socket was found.
            if options.get_socket().is_none() && options.get_host().starts_with('/') {
                let folder = options.get_host().to_owned();
                options = options.socket(folder);
            }
            return Ok(Self(Place::Server(Box::new(options))));
        }
        let path = match text.strip_prefix("sqlite:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None if text.starts_with('/') => text,
            None => return invalid("it begins with neither"),
        };
        match path {
            "" => invalid("there is no path"),
            ":memory:" => invalid("what is in memory alone is lost with the server"),
            path if path.contains('?') => invalid("a path takes no parameters"),
            path => Ok(Self::file(path)),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = match &self.0 {
            Place::File(path) => return write!(f, "{}", path.display()),
            Place::Server(options) => options,
        };
        let user = options.get_username();
        let name = options.get_database().unwrap_or(user);
        match self.socket_folder() {
            Some(folder) => write!(
                f,
                "postgres:///{name}?host={}&user={user}",
                folder.display()
            ),
            None => write!(
                f,
                "postgres://{user}@{}:{}/{name}",
                options.get_host(),
                options.get_port()
            ),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_servers() {
        for (text, path) in [
            ("sqlite:a/b.db", "a/b.db"),
            ("sqlite:/a/b.db", "/a/b.db"),
            ("sqlite:///a/b.db", "/a/b.db"),
            ("/a/b.db", "/a/b.db"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.as_file(), Some(Path::new(path)), "{text}");
        }
        for bad in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:/a?mode=rwc",
            "a.db",
            "mysql://a/b",
            "postgres://[",
        ] {
            assert!(bad.parse::<DatabaseUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_socket_of_postgresql_is_found() {
        for text in [
            "postgres:///wrenn?host=/run/postgresql",
            "postgresql://%2Frun%2Fpostgresql/wrenn",
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(
                url.socket_folder(),
                Some(Path::new("/run/postgresql")),
                "{text}"
            );
            let again: DatabaseUrl = url.reveal().parse().unwrap();
            assert_eq!(again.to_string(), url.to_string());
        }
        let tcp: DatabaseUrl = "postgres://db.example:6432/wrenn".parse().unwrap();
        assert_eq!((tcp.socket_folder(), tcp.as_file()), (None, None));
    }

    #[test]
    fn a_password_is_revealed_to_who_asks_and_printed_to_nobody() {
        let text = "postgres://who:s3cret%40@db.example/wrenn";
        let url: DatabaseUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "postgres://who@db.example:5432/wrenn");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert!(url.reveal().contains("s3cret%40"));
        let broken = "postgres://who:s3cret@[/x"
            .parse::<DatabaseUrl>()
            .unwrap_err();
        assert!(!format!("{broken} {broken:?}").contains("s3cret"));
    }
}
