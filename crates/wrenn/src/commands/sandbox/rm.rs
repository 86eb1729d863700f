//! `wrenn sandbox rm`.

use std::process::ExitCode;

use anyhow::Result;
use futures::{StreamExt, stream};
use serde_json::json;
use wrenn_client::Client;

use crate::cli::RemoveArgs;
use crate::report;
use crate::terminal::{print_json, print_line};

/// How many are ended at once.
const AT_ONCE: usize = 16;

pub(super) async fn run(client: &Client, args: &RemoveArgs, json: bool) -> Result<ExitCode> {
    let ids = if args.all {
        all(client).await?
    } else {
        args.ids.clone()
    };
    let ends = stream::iter(ids).map(|id| async move {
        let end = client.delete_sandbox(&id).await;
        (id, end)
    });
    let mut ends = ends.buffered(AT_ONCE);
    let mut gone = Vec::new();
    let mut failed = false;
    while let Some((id, end)) = ends.next().await {
        match end {
            Ok(true) if json => gone.push(id),
            Ok(true) => print_line(&id)?,
            Ok(false) => {
                eprintln!(
                    "wrenn: the host of {id} cannot be reached now; the server ends it later"
                );
            }
            Err(error) => {
                report::failure(&error.into(), json);
                failed = true;
            }
        }
    }
    if json {
        print_json(&json!({ "deleted": gone }))?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

async fn all(client: &Client) -> Result<Vec<String>> {
    let sandboxes = client.sandboxes().await?;
    let living = sandboxes
        .into_iter()
        .filter(|sandbox| sandbox.status != "stopped");
    Ok(living.map(|sandbox| sandbox.id).collect())
}
