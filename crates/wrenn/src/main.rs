//! Self-hosted microVM sandboxes: the one binary.

mod agent_rpc;
mod cli;
mod commands;
mod config;
mod guest_agent;
mod install;
mod logging;
mod output_file;
mod progress;
mod report;
mod server;
mod terminal;
mod traces;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use cli::{Cli, Command};
use traces::Traces;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Namespaces and ids are a process's own only while it has one thread: no runtime, no log.
    match &cli.command {
        Command::Jail => return helped(jail()),
        Command::CopyDatabase(args) => return helped(commands::backup::copy_database(args)),
        _ => {}
    }
    let json = cli.globals.json;
    let configured = cli.configured().map_err(anyhow::Error::from);
    let ended = configured.and_then(|(cli, told)| run(cli, &told));
    ended.unwrap_or_else(|error| {
        let code = report::exit_code(&error);
        if code != ExitCode::SUCCESS {
            report::failure(&error, json);
        }
        code
    })
}

/// `told` is what the reader of the log should know of the configuration.
fn run(cli: Cli, told: &[String]) -> Result<ExitCode> {
    // What a control plane gives up, a process can give up only while it has one thread.
    let prepared = match &cli.command {
        Command::Server(args) => Some(commands::server::prepare(&cli.globals, args)?),
        _ => None,
    };
    // What those who serve do is told; a command that asks one says only what goes wrong.
    let default = if cli.command.program().is_some() {
        "info"
    } else {
        "warn"
    };
    logging::start(cli.globals.log.as_deref(), default, cli.globals.log_json)?;
    for line in told {
        tracing::warn!("{line}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        let traces = match cli.command.traces(&cli.globals) {
            Some((endpoint, origin)) => Some(Traces::start(endpoint, &origin)?),
            None => None,
        };
        let done = commands::run(cli, prepared).await;
        if let Some(traces) = traces {
            traces.end().await;
        }
        done
    });
    // A read of standard input that nobody waits for any more must not hold the end up.
    runtime.shutdown_background();
    done
}

fn jail() -> Result<()> {
    match wrenn_vmm::jail::main(&wrenn_agent::serve_pages)? {}
}

/// How a hidden helper ended, for who started it.
fn helped(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::failure(&error, false);
            ExitCode::FAILURE
        }
    }
}
