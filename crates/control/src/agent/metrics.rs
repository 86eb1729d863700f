//! What a sandbox uses, and what the agent counts of itself.

use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, SandboxId, TeamName};

use super::fault::from_agent;
use super::{AgentClient, SHORT, options, within};

/// What a sandbox uses now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// When it was counted, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Of its virtual machine; `None` while it has none.
    pub machine: Option<MachineUsage>,
    /// Its memory, in bytes.
    pub memory_total: u64,
    /// Its disk, in bytes.
    pub disk_total: u64,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Bytes allocated for its pause.
    pub snapshot: u64,
}

/// What a virtual machine has used since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineUsage {
    /// CPU time, in microseconds.
    pub cpu_micros: u64,
    /// Resident bytes.
    pub memory: u64,
    /// Bytes allocated for its disk layer.
    pub disk: u64,
    /// Bytes to the guest.
    pub received_bytes: u64,
    /// Packets to the guest.
    pub received_packets: u64,
    /// Bytes from the guest.
    pub sent_bytes: u64,
    /// Packets from the guest.
    pub sent_packets: u64,
}

impl AgentClient {
    /// What a sandbox uses now.
    pub(crate) async fn usage(&self, id: &SandboxId, now_ms: i64) -> Result<Usage, Fault> {
        let lease = self.connections.lease();
        let request = rpc::MetricsRequest {
            sandbox_id: id.to_string(),
            ..Default::default()
        };
        let answer = within(
            SHORT,
            lease.client().metrics_with_options(request, options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        Ok(Usage {
            at_ms: now_ms,
            machine: answer.machine.into_option().map(|machine| MachineUsage {
                cpu_micros: machine.cpu_micros,
                memory: machine.memory_bytes,
                disk: machine.disk_bytes,
                received_bytes: machine.received_bytes,
                received_packets: machine.received_packets,
                sent_bytes: machine.sent_bytes,
                sent_packets: machine.sent_packets,
            }),
            memory_total: answer.memory_total_bytes,
            disk_total: answer.disk_total_bytes,
            vcpus: answer.vcpus,
            snapshot: answer.snapshot_bytes,
        })
    }

    /// How many bytes of its host's disk all sandboxes of this team take.
    pub(crate) async fn storage(&self, owner: &TeamName) -> Result<u64, Fault> {
        let lease = self.connections.lease();
        let request = rpc::MeasureStorageRequest {
            owner_id: owner.to_string(),
            ..Default::default()
        };
        let answer = within(
            SHORT,
            lease
                .client()
                .measure_storage_with_options(request, options()),
        )
        .await;
        let bytes = answer.map_err(from_agent)?.into_owned().bytes;
        lease.give_back();
        Ok(bytes)
    }

    /// What the agent counts and measures, as OpenMetrics text without its end.
    pub(crate) async fn host_metrics(&self) -> Result<String, Fault> {
        let lease = self.connections.lease();
        let answer = within(
            SHORT,
            lease
                .client()
                .host_metrics_with_options(rpc::HostMetricsRequest::default(), options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        Ok(answer.text)
    }
}
