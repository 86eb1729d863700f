//! One module a command.

mod agent;
pub(crate) mod backup;
mod bench;
pub(crate) mod doctor;
mod down;
mod events;
mod gc;
mod host;
mod join;
mod kernel;
mod key;
mod manual;
mod pool;
mod restore;
mod sandbox;
pub(crate) mod server;
mod signals;
mod snapshot;
mod team;
mod template;
mod timings;
mod up;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{AgentCommand, Cli, Command};

/// Runs a command to its end; gives the exit code.
///
/// A control plane was prepared before there was a runtime.
pub(crate) async fn run(cli: Cli, prepared: Option<server::Prepared>) -> Result<ExitCode> {
    let globals = &cli.globals;
    match cli.command {
        Command::Up(args) => return up::run(globals, &args).await,
        Command::Agent(args) => match args.command {
            Some(AgentCommand::Join(args)) => join::run(globals, args).await?,
            None => agent::run(globals, &args).await?,
        },
        Command::Server(args) => match prepared {
            Some(prepared) => server::run(globals, &args, &prepared).await?,
            None => unreachable!("main prepares a control plane before there is a runtime"),
        },
        Command::Down => down::run(globals).await?,
        Command::Gc(args) => gc::run(globals, &args).await?,
        Command::Backup(args) => backup::run(globals, &args).await?,
        Command::Restore(args) => restore::run(globals, &args).await?,
        Command::Host(command) => host::run(globals, command).await?,
        Command::Key(command) => key::run(globals, command).await?,
        Command::Team(command) => team::run(globals, command).await?,
        Command::Sandbox(command) => return sandbox::run(globals, command).await,
        Command::Snapshot(command) => return snapshot::run(globals, command).await,
        Command::Pool(command) => pool::run(globals, command).await?,
        Command::Template(command) => template::run(globals, command).await?,
        Command::Kernel(command) => kernel::run(globals, command).await?,
        Command::Events(args) => events::run(globals, &args).await?,
        Command::Doctor(args) => return doctor::run(globals, &args).await,
        Command::Bench(args) => return bench::run(globals, &args).await,
        Command::Completions(args) => manual::completions(&args)?,
        Command::Man(args) => manual::man(&args)?,
        Command::Jail | Command::CopyDatabase(_) => {
            unreachable!("main runs these before there is a runtime")
        }
    }
    Ok(ExitCode::SUCCESS)
}
