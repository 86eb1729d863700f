//! The wall clock, in the store's unit.

use std::time::{Duration, SystemTime};

use wrenn_sys::wall;

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = wall::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    millis(since)
}

/// A length of time in milliseconds.
pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
