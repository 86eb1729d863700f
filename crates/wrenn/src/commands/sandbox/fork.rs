//! `wrenn sandbox fork`.

use std::process::ExitCode;

use anyhow::Result;
use wrenn_client::Client;
use wrenn_client::api::{ErrorInfo, ForkResult, ForkSandbox, Forked};

use crate::cli::ForkArgs;
use crate::commands::timings;
use crate::report::{self, Advised};
use crate::terminal::{print_json, print_line};

/// Fails when a child did not come to be; the others are there all the same.
pub(super) async fn run(client: &Client, args: ForkArgs, json: bool) -> Result<ExitCode> {
    let metadata = (!args.metadata.is_empty()).then(|| args.metadata.into_iter().collect());
    let request = ForkSandbox {
        count: args.count.map(i64::from),
        metadata,
        timeout_sec: args.timeout_sec.map(i64::from),
    };
    let forked = client.fork(&args.id, &request).await?;
    if json {
        print_json(&forked)?;
    } else {
        show(&forked)?;
        if args.timings {
            timings::print(&forked.timings)?;
            timings::print_frozen(forked.frozen_ms)?;
        }
    }
    let failed = forked.results.iter().any(is_error);
    Ok(ExitCode::from(u8::from(failed)))
}

/// The ids of the children; what became of the others is told beside.
fn show(forked: &Forked) -> Result<()> {
    for result in &forked.results {
        match result {
            ForkResult::Sandbox(child) => print_line(&child.id)?,
            ForkResult::Error(error) => report::failure(&advised(error).into(), false),
        }
    }
    Ok(())
}

fn advised(error: &ErrorInfo) -> Advised {
    let message = format!("a child did not come to be: {}", error.message);
    Advised::new(message, error.remedy.clone())
}

fn is_error(result: &ForkResult) -> bool {
    matches!(result, ForkResult::Error(_))
}
