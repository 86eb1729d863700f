//! What can go wrong with a database.

use std::path::{Path, PathBuf};

/// Why the database did not do what it should.
#[derive(Debug, thiserror::Error)]
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
    /// The file is a database of another program.
    #[error("{} is a database, but not Wrenn's; name another file", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// A later Wrenn has changed the tables.
    #[error("{} was written by a newer Wrenn; install that version, or restore an older backup", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
    },
    /// A row holds something that no Wrenn writes.
    #[error("row {id:?} holds an unknown {what}")]
    Row {
        /// The row's key.
        id: String,
        /// Which column.
        what: &'static str,
    },
    /// Any other refusal of the database.
    #[error("the database refused")]
    Sql(#[from] sqlx::Error),
    /// The tables could not be brought up to date.
    #[error("the database could not be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether the database refused for want of room on its disk: SQLITE_FULL.
    #[must_use]
    pub fn is_full(&self) -> bool {
        const FULL: i64 = 13;
        let Self::Sql(error) = self else {
            return false;
        };
        let code = error.as_database_error().and_then(|error| error.code());
        code.and_then(|code| code.parse::<i64>().ok())
            .is_some_and(|code| code & 0xff == FULL)
    }

    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            detail: detail.into(),
        }
    }
}
