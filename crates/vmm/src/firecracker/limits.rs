//! How long Firecracker may take. A call that touches all of a guest's memory takes longer the more of it there is.

use std::time::Duration;

/// From the jailer's start to an API that answers.
pub(super) const START: Duration = Duration::from_secs(20);
/// For a call that changes one thing.
pub(super) const CALL: Duration = Duration::from_secs(20);
/// For a page server to read anything at all, from a disk that is busy.
pub(super) const BRING: Duration = Duration::from_secs(60);
/// Firecracker's share of a load, beside the pages that it touches.
pub(super) const LOAD: Duration = Duration::from_secs(60);

/// For a call that goes through so many bytes of memory, at 32 MiB a second.
pub(super) fn of(memory: u64) -> Duration {
    CALL + Duration::from_secs(memory >> 25)
}
