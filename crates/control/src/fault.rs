//! What callers are told where neither they nor the agent did anything wrong.

use wrenn_model::{ErrorKind, Fault};
use wrenn_store::StoreError;

/// A database that did not do what it should: the log learns why, the caller only that.
pub(crate) fn store_fault(error: &StoreError) -> Fault {
    if error.is_away() {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "the database is away"
        );
        return database_away();
    }
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the database failed"
    );
    if error.is_full() {
        return Fault::new(
            ErrorKind::HostFull,
            "the disk that the database is on is full",
            "free space on the database's disk",
        );
    }
    Fault::new(
        ErrorKind::DbError,
        "the database did not answer",
        "ask again; if it stays so, look into the log",
    )
}

/// What is told while the database is away.
#[must_use]
pub fn database_away() -> Fault {
    Fault::new(
        ErrorKind::Unavailable,
        "the database is away",
        "ask again shortly; sandboxes go on meanwhile",
    )
}

/// What is told to who comes while everything ends.
pub(crate) fn stopping() -> Fault {
    Fault::new(
        ErrorKind::Unavailable,
        "the server is stopping",
        "ask again shortly",
    )
}
