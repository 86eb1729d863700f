//! What can go wrong with a database.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the database did not do what it should. Writes that shared a transaction share what became of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file is no SQLite database, or parts of it are broken.
    #[error(
        "{} is damaged: {detail}; restore it from a backup, or move it away with the -wal and -shm files beside it, to begin \
         with an empty one",
        path.display()
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// There is no database, but what was written to it last.
    #[error(
        "{} is missing, but {} is there; bring the database back, or move that file away too, to begin with an empty one",
        path.display(),
        wal.display()
    )]
    Lost {
        /// The database file.
        path: PathBuf,
        /// Its write-ahead log.
        wal: PathBuf,
    },
    /// The file cannot be written.
    #[error("{} cannot be written: {detail}; see that its file system is writable and has room", path.display())]
    Unwritable {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// It is a database of another program.
    #[error("{database} is a database, but not Wrenn's; name another")]
    Foreign {
        /// The database.
        database: String,
    },
    /// A later Wrenn has changed the tables.
    #[error(
        "{database} was written by a newer Wrenn; install that version, or restore an older backup"
    )]
    Newer {
        /// The database.
        database: String,
    },
    /// The user may not make tables there, or nobody may write.
    #[error(
        "{database} lets its tables not be made or changed: {detail}; make Wrenn's user the owner of the database"
    )]
    NotAllowed {
        /// The database.
        database: String,
        /// What PostgreSQL said.
        detail: String,
    },
    /// A row holds something that no Wrenn writes.
    #[error("row {id:?} holds an unknown {what}")]
    Row {
        /// The row's key.
        id: String,
        /// Which column.
        what: &'static str,
    },
    /// The database did not answer in time. Whether what was asked has been done, nobody knows.
    #[error("the database says nothing")]
    Silent,
    /// Any other refusal of the database.
    #[error("the database refused")]
    Sql(#[source] Arc<sqlx::Error>),
    /// The tables could not be brought up to date. They are as they were.
    #[error(
        "{database} could not be brought to this version, and is as it was: {detail}; take what stands in the way out of it, or \
         restore it from a backup"
    )]
    Migrate {
        /// The database.
        database: String,
        /// Which migration failed, and why.
        detail: String,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

impl StoreError {
    /// Whether the database refused what was to be written, or found it in the way of somebody else's, so that another write may
    /// well succeed: of SQLite TOOBIG, CONSTRAINT and MISMATCH (sqlite.org/rescode.html), of PostgreSQL the classes for data,
    /// constraints and transactions that were rolled back. Or a row that it read for that write makes no sense, which another may not need.
    pub(crate) fn is_of_a_row(&self) -> bool {
        match self {
            Self::Row { .. } => true,
            Self::Sql(error) => match **error {
                sqlx::Error::ColumnDecode { .. } => true,
                _ => self.code().is_some_and(|code| is_of_a_row(&code)),
            },
            _ => false,
        }
    }

    /// Whether the database refused for want of room on its disk: SQLITE_FULL, or disk_full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        const FULL: i64 = 13;
        let Some(code) = self.code() else {
            return false;
        };
        code == DISK_FULL || code.parse::<i64>().is_ok_and(|code| code & 0xff == FULL)
    }

    /// Whether the database's file could not be written: SQLITE_READONLY, SQLITE_FULL or SQLITE_CANTOPEN.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        let code = self.code().filter(|code| code.len() < 5);
        let code = code.and_then(|code| code.parse::<i64>().ok());
        code.is_some_and(|code| matches!(code & 0xff, 8 | 13 | 14))
    }

    /// Whether the database cannot be reached or does not answer now, and may again without anything being changed.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Silent => true,
            Self::Sql(error) => match **error {
                // A server that nobody can vouch for, or that speaks no TLS, is there.
                sqlx::Error::Io(ref error) => error.kind() != io::ErrorKind::InvalidData,
                sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => true,
                _ => self.code().is_some_and(|code| is_away(&code)),
            },
            _ => false,
        }
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        let Self::Sql(error) = self else {
            return None;
        };
        error.as_database_error()?.code()
    }

    pub(crate) fn unmigrated(database: String, error: &sqlx::migrate::MigrateError) -> Self {
        Self::Migrate {
            database,
            detail: error.to_string(),
        }
    }

    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            detail: detail.into(),
        }
    }
}

/// PostgreSQL's disk_full.
const DISK_FULL: &str = "53100";

fn is_of_a_row(code: &str) -> bool {
    if code.len() == 5 {
        return ["22", "23", "40"]
            .iter()
            .any(|class| code.starts_with(class));
    }
    code.parse::<i64>()
        .is_ok_and(|code| matches!(code & 0xff, 18..=20))
}

/// Whether this code of PostgreSQL's says that it, or what is before it, has no time for anybody
/// (postgresql.org/docs/current/errcodes-appendix.html).
fn is_away(code: &str) -> bool {
    // A connection that breaks; too many of them, too little memory; it ends, starts, or was told to break off; it is the
    // copy of another, and takes no writes.
    let is = |class| code.len() == 5 && code.starts_with(class);
    is("08") || is("57") || code == "25006" || (is("53") && code != DISK_FULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        for code in ["08006", "57P01", "57P03", "57014", "53300", "25006"] {
            assert!(is_away(code), "{code}");
        }
        // Among them codes of SQLite's.
        for code in ["53100", "42P01", "23505", "5", "8", "13", "53", "2570", ""] {
            assert!(!is_away(code), "{code}");
        }
        assert!(StoreError::Silent.is_away());
        for code in ["22021", "23505", "40P01", "1811", "19", "20"] {
            assert!(is_of_a_row(code), "{code}");
        }
        for code in ["53100", "57P01", "5", "13", "10", "778", ""] {
            assert!(!is_of_a_row(code), "{code}");
        }
        assert!(StoreError::from(sqlx::Error::PoolTimedOut).is_away());
        assert!(!StoreError::from(sqlx::Error::RowNotFound).is_away());
    }
}
