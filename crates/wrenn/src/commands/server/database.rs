//! Which database the control plane works on.

use anyhow::Result;
use wrenn_control::DatabaseUrl;

use crate::cli::DatabaseArgs;
use crate::report::Advised;

/// What names it, beside the flag.
pub(crate) const VARIABLE: &str = "WRENN_DATABASE_URL";

/// The database that is named.
pub(crate) fn named(args: &DatabaseArgs) -> Result<Option<DatabaseUrl>> {
    // One that is empty says nothing.
    let Some(text) = args.database_url.as_ref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // What was given is not shown: there may be a password in it.
    let url = text.parse().map_err(|error| {
        let message = "what --database-url, its variable or its key says is no database";
        Advised::new(message, "name it as `wrenn server --help` says").because(error)
    })?;
    Ok(Some(url))
}

/// The database that is named, when a confined control plane can reach it: it has no network but its listener.
pub(crate) fn for_confined(args: &DatabaseArgs) -> Result<Option<DatabaseUrl>> {
    let named = named(args)?;
    if let Some(url) = named.as_ref().filter(|url| url.socket_folder().is_none()) {
        let message = format!("`wrenn up` shuts its control plane off from {url}");
        let remedy = match url.as_file() {
            Some(_) => "leave --database-url out: the database is then in the data directory",
            None => {
                "name the Unix socket of a PostgreSQL on this machine, as postgres:///NAME?host=/run/postgresql; for one \
                 elsewhere, start `wrenn agent` and `wrenn server` instead of `wrenn up`"
            }
        };
        return Err(Advised::new(message, remedy).into());
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str) -> DatabaseArgs {
        DatabaseArgs {
            database_url: Some(url.to_owned()),
        }
    }

    #[test]
    fn a_confined_server_reaches_a_socket_alone() {
        let url = for_confined(&args("postgres:///wrenn?host=/run/postgresql")).unwrap();
        assert_eq!(
            url.unwrap().socket_folder().unwrap().to_str(),
            Some("/run/postgresql")
        );
        for (url, advice) in [
            ("postgres://u:s3cret@db.example/wrenn", "wrenn server"),
            ("sqlite:/a/wrenn.db", "leave --database-url out"),
            ("mysql://u:s3cret@db.example/wrenn", "--help"),
        ] {
            let refused = for_confined(&args(url)).unwrap_err();
            assert!(!format!("{refused:#}").contains("s3cret"), "{refused:#}");
            let remedy = crate::report::remedy(&refused).unwrap();
            assert!(remedy.contains(advice), "{remedy}");
        }
    }
}
