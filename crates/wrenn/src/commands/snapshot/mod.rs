//! `wrenn snapshot`: templates with a sandbox's memory in them, through the API, and the pauses of sandboxes as data.

mod pauses;
mod templates;

use std::process::ExitCode;

use anyhow::Result;

use crate::agent_rpc::AgentRpc;
use crate::cli::{Globals, SnapshotCommand};
use crate::{install, server};

/// Runs one of them; gives the exit code.
pub(crate) async fn run(globals: &Globals, command: SnapshotCommand) -> Result<ExitCode> {
    let json = globals.json;
    match command {
        SnapshotCommand::Create(args) => {
            templates::create(&server::client(globals)?, args, json).await?;
        }
        SnapshotCommand::Ls(args) => {
            templates::ls(&server::client(globals)?, args.kind, json).await?;
        }
        SnapshotCommand::Rm { names } => {
            return templates::rm(&server::client(globals)?, &names, json).await;
        }
        SnapshotCommand::Verify(args) => {
            return pauses::verify(globals, &own_agent(globals, "wrenn snapshot verify")?, args)
                .await;
        }
        SnapshotCommand::Export(args) => {
            pauses::export(
                globals,
                &own_agent(globals, "wrenn snapshot export")?,
                &args,
            )
            .await?;
        }
        SnapshotCommand::Import(args) => {
            pauses::import(
                globals,
                &own_agent(globals, "wrenn snapshot import")?,
                &args,
            )
            .await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The agent of the data directory, which only root can reach.
fn own_agent(globals: &Globals, command: &str) -> Result<AgentRpc> {
    install::require_root(command)?;
    Ok(AgentRpc::new(&globals.dir))
}
