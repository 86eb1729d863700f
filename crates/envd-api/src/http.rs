//! Answers of the plain HTTP routes.

use serde::{Deserialize, Serialize};

/// The body of every plain HTTP error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status once more.
    pub code: u16,
    /// What went wrong, for people.
    pub message: String,
}

/// The answer of `GET /metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// When this was measured: seconds since 1970, by the guest's clock.
    pub ts: i64,
    /// How many processors the guest has.
    pub cpu_count: u32,
    /// How busy they were since the last call, 0 to 100.
    pub cpu_used_pct: f64,
    /// Memory of the guest in bytes.
    pub mem_total: u64,
    /// Memory that is neither free nor could be freed, in bytes.
    pub mem_used: u64,
    /// [`mem_total`](Self::mem_total) in MiB.
    pub mem_total_mib: u64,
    /// [`mem_used`](Self::mem_used) in MiB.
    pub mem_used_mib: u64,
    /// Page cache in bytes.
    pub mem_cache: u64,
    /// What the root file system holds, in bytes.
    pub disk_used: u64,
    /// How large the root file system is, in bytes.
    pub disk_total: u64,
}

/// How the message begins when the user that a call names does not exist in the guest. As with E2B the code is that of a
/// missing right (401, `unauthenticated`); this tells it from a wrong token.
pub const UNKNOWN_USER: &str = "no user is called ";
