//! `wrenn sandbox create`.

use anyhow::Result;
use wrenn_client::Client;
use wrenn_client::api::CreateSandbox;

use crate::cli::CreateArgs;
use crate::terminal::{print_json, print_line};

pub(super) async fn run(client: &Client, args: CreateArgs, json: bool) -> Result<()> {
    let request = CreateSandbox {
        template: Some(args.template),
        vcpus: args.vcpus.map(i64::from),
        memory_mb: args.memory_mb.map(i64::from),
        timeout_sec: args.timeout_sec.map(i64::from),
        on_timeout: args.on_timeout,
        auto_resume: args.auto_resume.then_some(true),
        metadata: args.metadata.into_iter().collect(),
        envs: args.envs.into_iter().collect(),
        hostname: args.hostname,
        network: args.network.said(),
    };
    let sandbox = if args.no_wait {
        client.begin_sandbox(&request).await?
    } else {
        client.create_sandbox(&request).await?
    };
    if json {
        print_json(&sandbox)
    } else {
        print_line(&sandbox.id)
    }
}
