//! The wall clock, in the store's unit.

use std::time::SystemTime;

use wrenn_sys::wall;

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = wall::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
