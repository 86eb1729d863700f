//! What a sandbox uses.

use axum::Json;
use wrenn_api::{MachineMetrics, SandboxMetrics, Timestamp};
use wrenn_control::{MachineUsage, Usage};

use super::described::OfSandbox;
use crate::auth::Mine;
use crate::extract::Id;
use crate::refusal::Answer;

/// What a sandbox uses now: CPU, memory, disk and network, as its host counts them. It is no use of the sandbox: its
/// time until `on_timeout` goes on.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/metrics", operation_id = "get_metrics", tag = "sandboxes", params(OfSandbox),
    responses((status = 200, description = "What it uses.", body = SandboxMetrics))
)]
pub(super) async fn metrics(Mine(sandboxes): Mine, Id(id): Id) -> Answer<Json<SandboxMetrics>> {
    Ok(Json(view(sandboxes.usage(&id).await?)))
}

fn view(usage: Usage) -> SandboxMetrics {
    SandboxMetrics {
        timestamp: Timestamp::from_unix_ms(usage.at_ms),
        vcpus: usage.vcpus,
        memory_total_bytes: usage.memory_total,
        disk_total_bytes: usage.disk_total,
        snapshot_bytes: usage.snapshot,
        machine: usage.machine.map(machine),
    }
}

fn machine(usage: MachineUsage) -> MachineMetrics {
    MachineMetrics {
        cpu_usec: usage.cpu_micros,
        memory_bytes: usage.memory,
        disk_bytes: usage.disk,
        received_bytes: usage.received_bytes,
        received_packets: usage.received_packets,
        sent_bytes: usage.sent_bytes,
        sent_packets: usage.sent_packets,
    }
}
