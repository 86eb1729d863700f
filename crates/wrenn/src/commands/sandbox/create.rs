//! `wrenn sandbox create`.

use anyhow::Result;
use tokio::sync::Notify;
use wrenn_client::Client;
use wrenn_client::api::{CreateSandbox, Sandbox};

use crate::cli::CreateArgs;
use crate::commands::signals::Signals;
use crate::report::Advised;
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
        cold: args.cold,
    };
    let sandbox = if args.no_wait {
        client.begin_sandbox(&request).await?
    } else {
        create(client, &request).await?
    };
    if json {
        print_json(&sandbox)
    } else {
        print_line(&sandbox.id)
    }
}

/// Who interrupts it wants no sandbox. Whoever does so twice does not want to wait until it is gone either.
async fn create(client: &Client, request: &CreateSandbox) -> Result<Sandbox> {
    let mut signals = Signals::new()?;
    let given_up = Notify::new();
    let creating = client.create_sandbox_unless(given_up.notified(), request);
    tokio::pin!(creating);
    let mut interrupts = 0;
    loop {
        tokio::select! {
            made = &mut creating => {
                let given_up = || Advised::new("interrupted: there is no sandbox", "make another").into();
                return made?.ok_or_else(given_up);
            }
            () = signals.wait() => interrupts += 1,
        }
        given_up.notify_one();
        if interrupts > 1 {
            let error = Advised::new(
                "interrupted: the sandbox may be there all the same",
                "look with `wrenn sandbox ls`, and end it with `wrenn sandbox rm`",
            );
            return Err(error.into());
        }
    }
}
