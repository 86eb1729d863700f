//! The command line: what can be said, and to which command it goes. One module a family of commands.

mod bench;
mod events;
mod host;
mod kernel;
mod key;
mod manual;
mod pool;
mod programs;
mod sandbox;
mod snapshot;
mod template;
mod upkeep;

use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use wrenn_guest_image::DEFAULT_KERNEL;

pub(crate) use bench::{BenchArgs, Measured};
pub(crate) use events::EventsArgs;
pub(crate) use host::{HostCommand, InviteArgs};
pub(crate) use kernel::{BuildKernelArgs, KernelCommand};
pub(crate) use key::{CreateKeyArgs, KeyCommand, SetTeamArgs, TeamCommand};
pub(crate) use manual::{CompletionsArgs, ManArgs, Shell};
pub(crate) use pool::{DrainArgs, PoolCommand, WarmArgs};
pub(crate) use programs::{
    AgentArgs, AgentCommand, DatabaseArgs, GuestArgs, JoinArgs, ListenArgs, STATE, ServerArgs,
    UpArgs,
};
pub(crate) use sandbox::{
    CopyArgs, CreateArgs, ExecArgs, ForkArgs, ListArgs, PauseArgs, RemoveArgs, ResumeArgs,
    SandboxCommand, SandboxNetworkArgs,
};
pub(crate) use snapshot::{
    CreateSnapshotArgs, ExportArgs, ImportArgs, KindArg, SnapshotCommand, VerifyArgs,
};
pub(crate) use template::{BuildArgs, TemplateCommand};
pub(crate) use upkeep::{BackupArgs, CopyDatabaseArgs, DoctorArgs, GcArgs, RestoreArgs};

use crate::config::Settings;
use crate::report::Advised;
use crate::traces::{Endpoint, Origin};

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

impl Cli {
    /// The same command line over the file `wrenn.toml`, and what the reader of the log should know of it.
    ///
    /// # Errors
    /// The file, or a variable of the founding system, is not usable.
    pub(crate) fn configured(self) -> Result<(Self, Vec<String>), Advised> {
        let mut told = Vec::new();
        // What the program says about itself is the same on every machine.
        if matches!(self.command, Command::Completions(_) | Command::Man(_)) {
            return Ok((self, told));
        }
        let mut settings = Settings::load(self.globals.config.as_deref())?;
        if let Some(program) = self.command.program() {
            told = settings.put_founding(program, |name| std::env::var(name).ok())?;
            settings.put_standard(|name| std::env::var(name).ok())?;
        }
        let mut command = command(&settings);
        let matches = command.clone().get_matches();
        let mut cli = Self::from_arg_matches(&matches)
            .unwrap_or_else(|error| error.format(&mut command).exit());
        cli.globals.state = std::env::var_os("WRENN_STATE")
            .map(PathBuf::from)
            .or_else(|| settings.get("server.state").map(PathBuf::from));
        Ok((cli, told))
    }
}

/// The command line whose defaults are these settings.
fn command(settings: &Settings) -> clap::Command {
    let command = settings.as_defaults(Cli::command());
    if settings.get("agent.server_user").is_some() {
        return command;
    }
    let needs_user = |socket: clap::Arg| socket.requires("server_user");
    command.mut_subcommand("agent", |agent| agent.mut_arg("server_socket", needs_user))
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
    /// The Debian package that guests' kernel is made from; `wrenn kernel build` makes it.
    #[arg(
        long,
        env = "WRENN_KERNEL_PACKAGE",
        value_name = "PACKAGE",
        default_value = DEFAULT_KERNEL,
        global = true
    )]
    pub(crate) kernel: String,
    /// The configuration; without it /etc/wrenn/wrenn.toml is read where it exists.
    #[arg(long, env = "WRENN_CONFIG", value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to log, in the form of RUST_LOG, which it wins over.
    #[arg(long, env = "WRENN_LOG", value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// Log in JSON.
    #[arg(
        long,
        env = "WRENN_LOG_JSON",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        hide_possible_values = true,
        global = true
    )]
    pub(crate) log_json: bool,
    /// The folder of a `wrenn server`, where it was said.
    #[arg(skip)]
    pub(crate) state: Option<PathBuf>,
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
    /// Write the whole installation into one file: database, keys, templates, and what is paused. Works beside a running
    /// Wrenn; of a sandbox that runs it has the last pause, or nothing, and says so. Needs root.
    Backup(BackupArgs),
    /// Make an installation out of such a file, in an empty data directory. Needs root.
    Restore(RestoreArgs),
    /// Let agents on other machines join this control plane.
    #[command(subcommand)]
    Host(HostCommand),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// List teams, whose keys and sandboxes are, and say what each may have.
    #[command(subcommand)]
    Team(TeamCommand),
    /// Make, use and end sandboxes.
    #[command(subcommand, visible_alias = "sb")]
    Sandbox(SandboxCommand),
    /// Make, list and remove templates of what sandboxes are; check, export and import the pauses of sandboxes.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// List, fill and give back what stands ready for new sandboxes.
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Build, list and remove templates.
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Build the kernel that guests boot.
    #[command(subcommand)]
    Kernel(KernelCommand),
    /// What became of sandboxes, and what becomes of them.
    Events(EventsArgs),
    /// Look at this machine: what helps, hinders or endangers sandboxes here, and what to do. Fails when none can run.
    Doctor(DoctorArgs),
    /// Measure Wrenn beside the same work done by hand.
    Bench(BenchArgs),
    /// Print the script by which a shell completes these commands, such as `source <(wrenn completions bash)`.
    Completions(CompletionsArgs),
    /// Print the manual page of a command, such as `wrenn man sandbox exec | man -l -`.
    Man(ManArgs),
    /// Start a VMM inside its jail; the agent runs this.
    #[command(hide = true)]
    Jail,
    /// Copy a control plane's database as the user whose it is; `wrenn backup` runs this.
    #[command(hide = true)]
    CopyDatabase(CopyDatabaseArgs),
}

impl Command {
    /// Its name, where it is a program that serves.
    pub(crate) fn program(&self) -> Option<&'static str> {
        match self {
            Self::Up(_) => Some("up"),
            Self::Agent(args) if args.command.is_none() => Some("agent"),
            Self::Server(_) => Some("server"),
            _ => None,
        }
    }

    /// Who collects its traces, and who it is in them, where it is a program that serves.
    pub(crate) fn traces<'a>(&self, globals: &'a Globals) -> Option<(&Endpoint, Origin<'a>)> {
        let agent = Origin {
            service: "wrenn-agent",
            data: Some(&globals.dir),
        };
        let server = Origin {
            service: "wrenn-server",
            data: None,
        };
        let (args, origin) = match self {
            Self::Up(args) => (&args.traces, agent),
            Self::Agent(args) if args.command.is_none() => (&args.traces, agent),
            Self::Server(args) => (&args.traces, server),
            _ => return None,
        };
        Some((args.endpoint()?, origin))
    }
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
