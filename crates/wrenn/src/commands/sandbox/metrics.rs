//! `wrenn sandbox metrics`.

use anyhow::Result;
use wrenn_client::Client;

use crate::terminal::{print_json, print_line, size};

pub(super) async fn run(client: &Client, id: &str, json: bool) -> Result<()> {
    let metrics = client.metrics(id).await?;
    if json {
        return print_json(&metrics);
    }
    let line = |name: &str, value: String| print_line(&format!("{name:10}  {value}"));
    let of = |used, total| format!("{} of {}", size(used), size(total));
    if let Some(machine) = &metrics.machine {
        let seconds = u128::from(machine.cpu_usec) / 1000;
        line(
            "cpu",
            format!(
                "{}.{:03} s on {}",
                seconds / 1000,
                seconds % 1000,
                metrics.vcpus
            ),
        )?;
        line(
            "memory",
            of(machine.memory_bytes, metrics.memory_total_bytes),
        )?;
        line("disk", of(machine.disk_bytes, metrics.disk_total_bytes))?;
        let packets = |bytes, packets| format!("{} in {packets} packets", size(bytes));
        line(
            "received",
            packets(machine.received_bytes, machine.received_packets),
        )?;
        line("sent", packets(machine.sent_bytes, machine.sent_packets))?;
    }
    line("pause", size(metrics.snapshot_bytes))
}
