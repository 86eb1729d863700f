//! One module a command.

mod bench;
mod down;
mod sandbox;
mod snapshot;
mod template;
mod up;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Cli, Command};

/// Runs a command to its end; gives the exit code.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode> {
    let globals = &cli.globals;
    match cli.command {
        Command::Up(args) => up::run(globals, &args).await?,
        Command::Down => down::run(globals).await?,
        Command::Sandbox(command) => return sandbox::run(globals, command).await,
        Command::Snapshot(command) => return snapshot::run(globals, command).await,
        Command::Template(command) => template::run(globals, command).await?,
        Command::Bench(args) => bench::run(globals, &args).await?,
        Command::Jail => unreachable!("main starts the jail before there is a runtime"),
    }
    Ok(ExitCode::SUCCESS)
}
