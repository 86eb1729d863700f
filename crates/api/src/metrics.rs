//! What a sandbox uses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// What a sandbox uses now, as its host counts it. The guest is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxMetrics {
    /// When it was counted.
    pub timestamp: Timestamp,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// Its memory as it sees it.
    pub memory_total_bytes: u64,
    /// Its disk as it sees it.
    pub disk_total_bytes: u64,
    /// Allocated on the host for its pause, memory and disk. Blocks that the disk of its machine shares are counted in both.
    pub snapshot_bytes: u64,
    /// What its virtual machine has used since it was started or resumed. Absent while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineMetrics>,
}

/// What a virtual machine has used. Times and traffic are counters, which begin at 0 with each resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineMetrics {
    /// CPU time in microseconds, of the guest and of what emulates its devices.
    pub cpu_usec: u64,
    /// Memory that is resident on the host now.
    pub memory_bytes: u64,
    /// Allocated on the host for what it wrote over its template.
    pub disk_bytes: u64,
    /// Received by the guest.
    pub received_bytes: u64,
    /// Received by the guest.
    pub received_packets: u64,
    /// Sent by the guest, as far as it was allowed out.
    pub sent_bytes: u64,
    /// Sent by the guest, as far as it was allowed out.
    pub sent_packets: u64,
}
