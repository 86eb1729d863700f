//! `wrenn sandbox pause`.

use anyhow::Result;
use wrenn_client::Client;

use crate::cli::PauseArgs;
use crate::commands::timings;
use crate::terminal::{print_json, print_line, size};

pub(super) async fn run(client: &Client, args: &PauseArgs, json: bool) -> Result<()> {
    let paused = client.pause(&args.id).await?;
    if json {
        return print_json(&paused);
    }
    print_line(&paused.sandbox.id)?;
    if args.timings {
        timings::print(&paused.timings)?;
        for (what, bytes) in [("memory", paused.memory_bytes), ("disk", paused.disk_bytes)] {
            if let Some(bytes) = bytes {
                print_line(&format!("{what}: {}", size(bytes)))?;
            }
        }
    }
    Ok(())
}
