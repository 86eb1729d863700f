//! What a sandbox uses of the host, as the host counts it. A guest is not asked: it may say anything.

use wrenn_hostagent_api::MetricsResponse;
use wrenn_hostagent_api::metrics_response::Machine;
use wrenn_model::Fault;
use wrenn_snapshot::Generations;
use wrenn_sys::process;

use crate::Agent;
use crate::failure::Failed;
use crate::handle::Handle;
use crate::steps::blocking;

impl Agent {
    /// What a sandbox uses now.
    pub(crate) async fn usage(&self, id: &str) -> Result<MetricsResponse, Fault> {
        let handle = self.find(id)?;
        self.count(&handle).await.map_err(|failed| {
            let message = format!("what it uses cannot be counted: {}", failed.reason);
            Fault::new(
                failed.kind,
                message,
                "ask again; the agent's log may say more",
            )
        })
    }

    async fn count(&self, handle: &Handle) -> Result<MetricsResponse, Failed> {
        let machine = self.machine_usage(handle).await?;
        let pauses = Generations::of(&self.host.sandboxes().join(handle.spec.id.as_str()));
        let snapshot_bytes = blocking(move || pauses.allocated()).await?;
        Ok(MetricsResponse {
            machine: machine.into(),
            vcpus: handle.spec.vcpus,
            memory_total_bytes: handle.spec.memory.bytes(),
            snapshot_bytes,
            disk_total_bytes: handle.view().disk_size,
            ..Default::default()
        })
    }

    /// What its virtual machine uses; `None` without one.
    async fn machine_usage(&self, handle: &Handle) -> Result<Option<Machine>, Failed> {
        let parts = handle.shared.parts();
        let (Some(machine), Some(slot), Some(layer)) =
            (parts.machine.get(), parts.slot.get(), handle.view().layer)
        else {
            return Ok(None);
        };
        // One that ends meanwhile is one that has ended.
        let Some(used) = process::usage(machine.identity().pid)? else {
            return Ok(None);
        };
        let traffic = self.host.network.traffic(&slot.plan).await?;
        let traffic = traffic.unwrap_or_default();
        Ok(Some(Machine {
            cpu_micros: u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX),
            memory_bytes: used.resident,
            received_bytes: traffic.received_bytes,
            received_packets: traffic.received_packets,
            sent_bytes: traffic.sent_bytes,
            sent_packets: traffic.sent_packets,
            disk_bytes: blocking(move || wrenn_disk::usage(&layer)).await?,
            ..Default::default()
        }))
    }
}
