//! What time it is: one clock for all who share the database.
//!
//! What is decided by time, such as whether a key has expired, and what is written for others to decide by, has to be of one clock:
//! servers' clocks differ. PostgreSQL's is asked for now and then, and goes on by the monotonic clock in between, which nobody
//! sets. A file of SQLite's has one server at a time, and its clock.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use sqlx::query_scalar;
use tokio::time::Instant;
use wrenn_sys::wall;

use crate::db::{Pool, in_time};
use crate::{Store, StoreError};

/// A difference to this machine's clock that is worth a word, in milliseconds.
const ODD_MS: i64 = 2000;

/// The database's time at a moment of this process.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    ms: i64,
}

/// The clock. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<RwLock<Option<Reading>>>);

impl Store {
    /// Milliseconds since the epoch, by the clock that all servers on this database go by.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let read = *self.clock.0.read().unwrap_or_else(PoisonError::into_inner);
        match read {
            Some(Reading { at, ms }) => ms.saturating_add(millis(at.elapsed())),
            None => own_ms(),
        }
    }

    /// Reads the database's clock anew, where it has one of its own: somebody may have set it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn read_clock(&self) -> Result<(), StoreError> {
        let Pool::Pg(db) = &self.readers else {
            return Ok(());
        };
        let asked = Instant::now();
        let ms: i64 = in_time(async {
            let now = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
            Ok(query_scalar(now).fetch_one(db).await?)
        })
        .await?;
        // It was so somewhere between the question and the answer.
        let at = asked + asked.elapsed() / 2;
        let mut read = self.clock.0.write().unwrap_or_else(PoisonError::into_inner);
        let first = read.replace(Reading { at, ms }).is_none();
        drop(read);
        let ahead_ms = self.now_ms() - own_ms();
        if first && ahead_ms.abs() > ODD_MS {
            tracing::warn!(
                ahead_ms,
                "the database's clock is not this machine's; times are told by the database's"
            );
        }
        Ok(())
    }
}

/// This machine's clock.
fn own_ms() -> i64 {
    let since = wall::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    millis(since)
}

/// A length of time in the unit of all times here, milliseconds.
#[must_use]
pub fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
