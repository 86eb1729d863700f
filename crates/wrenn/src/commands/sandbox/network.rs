//! `wrenn sandbox network`.

use anyhow::Result;
use wrenn_client::Client;
use wrenn_client::api::Network;

use crate::cli::SandboxNetworkArgs;
use crate::terminal::{escaped_cell, print_json, print_line};

pub(super) async fn run(client: &Client, args: SandboxNetworkArgs, json: bool) -> Result<()> {
    let sandbox = match args.policy.said() {
        Some(policy) => client.set_network(&args.id, &policy).await?,
        None => client.sandbox(&args.id).await?,
    };
    if json {
        return print_json(&sandbox.network);
    }
    let Network {
        internet,
        allow,
        deny,
    } = sandbox.network;
    let internet = vec![if internet { "yes" } else { "no" }.to_owned()];
    for (name, values) in [("internet", internet), ("allow", allow), ("deny", deny)] {
        let values: Vec<_> = values.iter().map(|value| escaped_cell(value)).collect();
        print_line(format!("{name:9}  {}", values.join(" ")).trim_end())?;
    }
    Ok(())
}
