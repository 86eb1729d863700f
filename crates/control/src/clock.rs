//! Lengths of time in the store's unit. What time it is, the store says.

use std::time::Duration;

/// A length of time in milliseconds.
pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
