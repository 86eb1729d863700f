//! The command line: what can be said, and to which command it goes. One module a family of commands.

mod bench;
mod host;
mod programs;
mod sandbox;
mod snapshot;
mod template;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use bench::{BenchArgs, Measured};
pub(crate) use host::{HostCommand, InviteArgs};
pub(crate) use programs::{
    AgentArgs, AgentCommand, GuestArgs, JoinArgs, ListenArgs, ServerArgs, UpArgs,
};
pub(crate) use sandbox::{
    CopyArgs, CreateArgs, ExecArgs, ListArgs, PauseArgs, RemoveArgs, ResumeArgs, SandboxCommand,
    SandboxNetworkArgs,
};
pub(crate) use snapshot::{ExportArgs, ImportArgs, SnapshotCommand, VerifyArgs};
pub(crate) use template::{BuildArgs, TemplateCommand};
pub(crate) use upkeep::GcArgs;

/// Self-hosted microVM sandboxes.
#[derive(Debug, Parser)]
#[command(
    name = "wrenn",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command knows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Where the server is.
    #[arg(
        long,
        env = "WRENN_URL",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    pub(crate) url: String,
    /// The API key; without it, the file api-key in the data directory is read.
    #[arg(long, env = "WRENN_API_KEY", hide_env_values = true, global = true)]
    pub(crate) api_key: Option<String>,
    /// The data directory.
    #[arg(
        long,
        env = "WRENN_DIR",
        default_value = "/var/lib/wrenn",
        global = true
    )]
    pub(crate) dir: PathBuf,
    /// Where slow results, such as built templates, are kept for the next time.
    #[arg(
        long,
        env = "WRENN_CACHE",
        default_value = "/var/cache/wrenn",
        global = true
    )]
    pub(crate) cache: PathBuf,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to log, in the form of RUST_LOG, which it wins over.
    #[arg(long, value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// Log in JSON.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run Wrenn on this machine: `wrenn agent`, and a `wrenn server` that it starts and watches. Needs root.
    Up(UpArgs),
    /// Run the host's agent alone: it makes, keeps and ends virtual machines. Needs root.
    Agent(AgentArgs),
    /// Run the control plane alone, which serves the API over an agent. Needs no root, and should not have it.
    Server(ServerArgs),
    /// End every sandbox that lives and give the machine back what Wrenn took; paused ones stay on disk. Needs root.
    Down,
    /// Take away what this installation has left in the kernel and on disk and nobody owns any more, after crashes that
    /// nothing else cleaned up after. Works beside a running Wrenn and without one. Needs root.
    Gc(GcArgs),
    /// Let agents on other machines join this control plane.
    #[command(subcommand)]
    Host(HostCommand),
    /// Make, use and end sandboxes.
    #[command(subcommand, visible_alias = "sb")]
    Sandbox(SandboxCommand),
    /// Check, export and import the pauses of sandboxes. Needs root.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Build, list and remove templates.
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Look at this machine: what helps, hinders or endangers sandboxes here, and what to do. Fails when none can run.
    Doctor,
    /// Measure Wrenn beside the same work done by hand.
    Bench(BenchArgs),
    /// Start a VMM inside its jail; the agent runs this.
    #[command(hide = true)]
    Jail,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
