//! `wrenn sandbox ls`.

use anyhow::Result;
use wrenn_client::Client;

use crate::cli::ListArgs;
use crate::terminal::{Table, print_json, print_line};

pub(super) async fn run(client: &Client, args: &ListArgs, json: bool) -> Result<()> {
    let mut sandboxes = client.sandboxes().await?;
    if !args.all {
        sandboxes.retain(|sandbox| sandbox.status != "stopped");
    }
    if json {
        return print_json(&sandboxes);
    }
    if args.quiet {
        return sandboxes
            .iter()
            .try_for_each(|sandbox| print_line(&sandbox.id));
    }
    let mut table = Table::new([
        "ID", "STATUS", "TEMPLATE", "VCPUS", "MEMORY", "HOST IP", "CREATED",
    ]);
    for sandbox in &sandboxes {
        table.row([
            &sandbox.id,
            sandbox.transition.as_deref().unwrap_or(&sandbox.status),
            &sandbox.template,
            &sandbox.vcpus.to_string(),
            &format!("{} MiB", sandbox.memory_mb),
            sandbox.host_ip.as_deref().unwrap_or("-"),
            &sandbox.created_at.to_string(),
        ]);
    }
    print_line(&table.to_string())
}
