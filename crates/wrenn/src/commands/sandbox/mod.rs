//! `wrenn sandbox`: every command speaks to the REST API and to nothing else.

mod console;
mod cp;
mod create;
mod exec;
mod fork;
mod get;
mod ls;
mod metrics;
mod network;
mod pause;
mod resume;
mod rm;
mod tty;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Globals, SandboxCommand};
use crate::server;

/// Runs one of them; gives the exit code.
pub(crate) async fn run(globals: &Globals, command: SandboxCommand) -> Result<ExitCode> {
    let client = server::client(globals)?;
    let json = globals.json;
    match command {
        SandboxCommand::Create(args) => create::run(&client, args, json).await?,
        SandboxCommand::Ls(args) => ls::run(&client, &args, json).await?,
        SandboxCommand::Get(args) => get::run(&client, &args.id, json).await?,
        SandboxCommand::Metrics(args) => metrics::run(&client, &args.id, json).await?,
        SandboxCommand::Network(args) => network::run(&client, args, json).await?,
        SandboxCommand::Exec(args) => return exec::run(&client, args, json).await,
        SandboxCommand::Cp(args) => cp::run(&client, &args, json).await?,
        SandboxCommand::Pause(args) => pause::run(&client, &args, json).await?,
        SandboxCommand::Resume(args) => resume::run(&client, &args, json).await?,
        SandboxCommand::Fork(args) => return fork::run(&client, args, json).await,
        SandboxCommand::Console(args) => console::run(&client, &args.id, json).await?,
        SandboxCommand::Rm(args) => return rm::run(&client, &args, json).await,
    }
    Ok(ExitCode::SUCCESS)
}
