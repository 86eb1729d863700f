//! What a sandbox uses of the host, as the host counts it. A guest is not asked: it may say anything.

use std::io;
use std::path::Path;

use wrenn_hostagent_api::MetricsResponse;
use wrenn_hostagent_api::metrics_response::Machine;
use wrenn_model::Fault;
use wrenn_snapshot::Generations;
use wrenn_sys::process;

use crate::Agent;
use crate::failure::Failed;
use crate::handle::Handle;
use crate::record::SEED;
use crate::steps::blocking;

impl Agent {
    /// What a sandbox uses now.
    pub(crate) async fn usage(&self, id: &str) -> Result<MetricsResponse, Fault> {
        let handle = self.find(id)?;
        self.count(&handle).await.map_err(uncounted)
    }

    /// How many bytes of the host's disk all that is this owner's takes: snapshots, layers and pauses of sandboxes, and what these
    /// were begun from, where nobody else has it any more.
    pub(crate) async fn storage(&self, owner: &str) -> Result<u64, Fault> {
        self.check_ready()?;
        let folders = self.host.sandboxes();
        let owned: Vec<_> = self
            .table
            .all()
            .iter()
            .filter(|handle| handle.spec.owner_id == owner)
            .map(|handle| (folders.join(handle.spec.id.as_str()), handle.view().layer))
            .collect();
        let snapshots = self.snapshots().await?.into_iter();
        let snapshots = snapshots.filter(|one| one.generation.manifest().spec.owner_id == owner);
        let snapshots: u64 = snapshots.map(|one| one.bytes).sum();
        let measured = blocking(move || {
            let mut bytes = snapshots;
            for (folder, layer) in owned {
                bytes += Generations::of(&folder).allocated()?;
                bytes += Generations::of(&folder.join(SEED)).allocated_here_alone()?;
                bytes += layer.map_or(Ok(0), |layer| taken(&layer))?;
            }
            Ok(bytes)
        });
        measured.await.map_err(|error| uncounted(error.into()))
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

/// What a layer takes; one that has just gone takes nothing.
fn taken(layer: &Path) -> io::Result<u64> {
    match wrenn_disk::usage(layer) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        usage => usage,
    }
}

fn uncounted(failed: Failed) -> Fault {
    let message = format!("what is used cannot be counted: {}", failed.reason);
    Fault::new(
        failed.kind,
        message,
        "ask again; the agent's log may say more",
    )
}
