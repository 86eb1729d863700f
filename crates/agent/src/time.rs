//! Time as the journal and the contract have it.

use std::time::SystemTime;

use wrenn_sys::wall;

/// Milliseconds since the epoch, now.
pub(crate) fn now_ms() -> i64 {
    ms(wall::now())
}

/// Milliseconds since the epoch; 0 for what was before it.
pub(crate) fn ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}
