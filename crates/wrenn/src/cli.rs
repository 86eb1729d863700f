//! The command line: what can be said, and to which command it goes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use wrenn_agent::{GuestNetwork, Limits, MemoryOvercommit};
use wrenn_client::api::Network;
use wrenn_control::AgentAddress;
use wrenn_model::{MiB, Subnet};
use wrenn_pki::{HostName, Token};

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

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Take nothing away, only say what would be and why.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List what is kept as well, and why.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) guests: GuestArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AgentCommand>,
    #[command(flatten)]
    pub(crate) guests: GuestArgs,
    /// The user that `wrenn server` runs as: beside root, nobody else may connect. Without it root alone may.
    #[arg(long, value_name = "NAME|UID")]
    pub(crate) server_user: Option<String>,
    /// The socket for that user, in a folder of its own.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/wrenn/agent.sock",
        requires = "server_user"
    )]
    pub(crate) server_socket: PathBuf,
    /// Serve a `wrenn server` on another machine as well, over mutual TLS. The host has to have joined it before.
    #[arg(long, env = "WRENN_LISTEN_TLS", value_name = "ADDR:PORT")]
    pub(crate) listen_tls: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Get this host's certificate from a control plane on another machine, by a token that `wrenn host invite` made there.
    /// The way there may be plain HTTP: neither the token's secret nor a key is sent. Needs root.
    Join(JoinArgs),
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Where the control plane's API is, such as http://10.0.0.1:8080.
    #[arg(value_name = "URL")]
    pub(crate) server: String,
    /// The token. Other users of this machine see a command's arguments: WRENN_JOIN_TOKEN hides it from them.
    #[arg(long, env = "WRENN_JOIN_TOKEN", hide_env_values = true)]
    pub(crate) token: Token,
    /// An address or a DNS name by which the control plane dials this host; may be given again.
    #[arg(long, value_name = "HOST", value_delimiter = ',', required = true)]
    pub(crate) address: Vec<HostName>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Make a one-time token, with which one host joins: `wrenn agent join` there.
    Invite(InviteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// Seconds for which it is good, a day at the most; an hour without it.
    #[arg(long = "ttl", value_name = "SECONDS")]
    pub(crate) ttl_sec: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// Where the host's agent is: a socket of this machine, or a port of another one that has joined.
    #[arg(
        long,
        env = "WRENN_AGENT",
        value_name = "unix:PATH|tls:HOST:PORT",
        default_value = "unix:/run/wrenn/agent.sock"
    )]
    pub(crate) agent: AgentAddress,
    /// Its own folder, for the database and the first API key.
    #[arg(
        long,
        env = "WRENN_STATE",
        value_name = "DIR",
        default_value = "/var/lib/wrenn-server"
    )]
    pub(crate) state: PathBuf,
    /// As `wrenn up` starts it, as root: the listener is standard input, the API key is the data directory's, and before
    /// anything is served it becomes this user, who sees the folders of database and socket alone.
    #[arg(long, value_name = "UID", hide = true)]
    pub(crate) confine: Option<u32>,
}

/// Where the API is served.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Where to serve the API.
    #[arg(long, env = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) addr: SocketAddr,
    /// Allow an address that other machines can reach. The API speaks plain HTTP: put TLS in front of it.
    #[arg(long)]
    pub(crate) listen_public: bool,
}

/// What sandboxes may have of the host.
#[derive(Debug, Args)]
pub(crate) struct GuestArgs {
    /// The most memory that sandboxes are promised together, in MiB, what runs them included; without it all that the
    /// host has, but for what its other programs use and a reserve.
    #[arg(long = "memory", env = "WRENN_MEMORY_MB", value_name = "MIB")]
    pub(crate) memory_mb: Option<u32>,
    /// How many times over memory is promised, 1 to 16. More than 1 is for who knows that guests rarely touch what they
    /// ask for: if they do, the kernel ends some of them.
    #[arg(
        long,
        env = "WRENN_MEMORY_OVERCOMMIT",
        value_name = "FACTOR",
        default_value_t
    )]
    pub(crate) memory_overcommit: MemoryOvercommit,
    /// A private range that sandboxes may be allowed to reach by their network policies, such as 192.168.7.0/24; may be
    /// given again. Without it none is.
    #[arg(
        long,
        env = "WRENN_ALLOW_PRIVATE",
        value_name = "RANGE",
        value_delimiter = ','
    )]
    pub(crate) allow_private: Vec<Subnet>,
}

impl GuestArgs {
    /// The same as the agent takes it.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory: self.memory_mb.map(MiB),
            memory_overcommit: self.memory_overcommit,
        }
    }

    /// What of the network the agent opens to them.
    pub(crate) fn network(&self) -> GuestNetwork {
        GuestNetwork {
            opened: self.allow_private.clone(),
            ..GuestNetwork::default()
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Make a sandbox and wait until it runs.
    Create(CreateArgs),
    /// List sandboxes, newest first.
    Ls(ListArgs),
    /// Show one sandbox.
    Get(IdArg),
    /// Show what a sandbox uses: CPU time, memory, disk, network, as its host counts them.
    Metrics(IdArg),
    /// Show where a sandbox's packets may go, or change it.
    Network(SandboxNetworkArgs),
    /// Run a command in a sandbox; its output streams, its exit code is returned.
    Exec(ExecArgs),
    /// Copy a file into or out of a sandbox.
    Cp(CopyArgs),
    /// Put a sandbox aside: memory, processes and disk, until it is resumed.
    Pause(PauseArgs),
    /// Take a paused sandbox up again, or go back to the last pause of one in error.
    Resume(ResumeArgs),
    /// Show the last of a sandbox's serial console.
    Console(IdArg),
    /// End sandboxes.
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct IdArg {
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The template to make it from.
    #[arg(default_value = "minimal")]
    pub(crate) template: String,
    /// Virtual CPUs.
    #[arg(long, value_name = "COUNT")]
    pub(crate) vcpus: Option<u32>,
    /// Memory in MiB.
    #[arg(long = "memory", value_name = "MIB")]
    pub(crate) memory_mb: Option<u32>,
    /// Seconds without activity after which what --on-timeout says happens.
    #[arg(long = "timeout", value_name = "SECONDS")]
    pub(crate) timeout_sec: Option<u32>,
    /// What happens to it then: it is destroyed (the default) or paused, or nothing.
    #[arg(long, value_name = "WHAT", value_parser = ["destroy", "pause", "none"])]
    pub(crate) on_timeout: Option<String>,
    /// While it is paused, a command, a file or a ping resumes it first.
    #[arg(long)]
    pub(crate) auto_resume: bool,
    /// A label; may be given again.
    #[arg(long = "metadata", short = 'm', value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// A variable for every process in it; may be given again.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) envs: Vec<(String, String)>,
    /// The guest's host name.
    #[arg(long)]
    pub(crate) hostname: Option<String>,
    #[command(flatten)]
    pub(crate) network: PolicyArgs,
    /// Do not wait until it runs.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// A network policy. What is not said of one is its default.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// Whether it reaches the public internet: `internet` (the default), or `none` but what --allow says.
    #[arg(long = "network", value_name = "WHAT", value_parser = ["internet", "none"])]
    pub(crate) reach: Option<String>,
    /// An IPv4 range or address that it reaches all the same; may be given again.
    #[arg(long, value_name = "RANGE", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// An IPv4 range or address that it never reaches; may be given again.
    #[arg(long, value_name = "RANGE", value_delimiter = ',')]
    pub(crate) deny: Vec<String>,
}

impl PolicyArgs {
    /// The policy, if anything of one is said.
    pub(crate) fn said(self) -> Option<Network> {
        if self.reach.is_none() && self.allow.is_empty() && self.deny.is_empty() {
            return None;
        }
        Some(Network {
            internet: self.reach.as_deref() != Some("none"),
            allow: self.allow,
            deny: self.deny,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct SandboxNetworkArgs {
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Say how long each step took.
    #[arg(long, short = 'v')]
    pub(crate) timings: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Boot it from the disk of its pause: its memory is not looked at, and what ran has ended.
    #[arg(long)]
    pub(crate) cold: bool,
    /// Say how long each step took.
    #[arg(long, short = 'v')]
    pub(crate) timings: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Stopped ones too.
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Only ids, one a line.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Take up the command that runs with this process id, instead of running one: its output from now on. Ctrl-C
    /// goes to it as always; it goes on when this ends otherwise.
    #[arg(long, value_name = "PID", conflicts_with_all = ["json", "command", "timeout_sec", "cwd", "user", "envs"])]
    pub(crate) attach: Option<u32>,
    /// Pass standard input on even when it is a terminal.
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Seconds after which the command is ended; without it there is no limit (with --json 30).
    #[arg(long = "timeout", value_name = "SECONDS")]
    pub(crate) timeout_sec: Option<u32>,
    /// The directory to run it in.
    #[arg(long, value_name = "PATH")]
    pub(crate) cwd: Option<String>,
    /// The user to run it as; root without it.
    #[arg(long, short)]
    pub(crate) user: Option<String>,
    /// A variable; may be given again.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) envs: Vec<(String, String)>,
    /// The command and its arguments; no shell stands in between.
    #[arg(
        last = true,
        required_unless_present = "attach",
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// A local path, ID:/PATH in a sandbox, or - for standard input.
    pub(crate) from: String,
    /// A local path, ID:/PATH in a sandbox, or - for standard output.
    pub(crate) to: String,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The sandboxes.
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) ids: Vec<String>,
    /// Every sandbox there is.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Read all data of last pauses and compare it with the sums; fails where something is not as it was written.
    Verify(VerifyArgs),
    /// Write the last pause of a sandbox as one packed file.
    Export(ExportArgs),
    /// Make a new, paused sandbox from such a file; prints its id, which the server knows within seconds.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The sandbox.
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) id: Option<String>,
    /// Every sandbox that has a pause.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Where to write it, or - for standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What was exported, or - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// Build a template from a recipe, on this machine. Needs root.
    Build(BuildArgs),
    /// List templates.
    Ls,
    /// Remove a template's name. Sandboxes made from it go on.
    Rm {
        /// The template.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// A recipe that comes with Wrenn (minimal, python, node), or the path of a recipe file.
    pub(crate) recipe: String,
    /// Build it anew even when the same recipe has been built before.
    #[arg(long)]
    pub(crate) refresh: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    pub(crate) what: Measured,
    /// How often each is done.
    #[arg(short, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) n: u32,
    /// The template of the sandboxes that are measured.
    #[arg(long, default_value = "minimal")]
    pub(crate) template: String,
    /// Measure through the API alone: no root is needed, and nothing stands beside the figures.
    #[arg(long)]
    pub(crate) api_only: bool,
    /// Exit with 1 when a goal is missed.
    #[arg(long)]
    pub(crate) check: bool,
}

/// What `wrenn bench` can measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Measured {
    /// From the request for a sandbox to the first exit code out of it.
    Create,
    /// One short command.
    Exec,
    /// 256 MiB up and down.
    Transfer,
    /// Until nothing of a sandbox exists.
    Delete,
    /// Memory and disk put aside, and until the first exit code after that.
    Pause,
    /// The jail, and what of a create is no step of it.
    Overhead,
    /// 50 sandboxes that come and go, 10 at a time, and what is left of them; agent and server when idle.
    Churn,
    /// All of them.
    All,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it has the form KEY=VALUE".to_owned()),
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

    #[test]
    fn a_command_keeps_its_own_flags() {
        let cli = Cli::try_parse_from(["wrenn", "sandbox", "exec", "sb-1", "--", "ls", "--json"])
            .unwrap();
        assert!(!cli.globals.json);
        let Command::Sandbox(SandboxCommand::Exec(exec)) = cli.command else {
            panic!("another command")
        };
        assert_eq!(exec.command, ["ls", "--json"]);
    }

    #[test]
    fn a_command_is_run_or_taken_up() {
        let parse = |args: &[&str]| {
            Cli::try_parse_from([&["wrenn", "sandbox", "exec", "sb-1"], args].concat()).is_ok()
        };
        assert!(parse(&["--attach", "7"]) && parse(&["--", "ls"]));
        for wrong in [
            &[][..],
            &["--attach", "7", "--", "ls"],
            &["--attach", "x"],
            &["--attach", "7", "--user", "me"],
        ] {
            assert!(!parse(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn an_agent_serves_or_joins() {
        let agent = |args: &[&str]| Cli::try_parse_from([&["wrenn", "agent"], args].concat());
        assert!(agent(&["--server-user", "wrenn"]).is_ok());
        assert!(agent(&["--server-socket", "/run/x/agent.sock"]).is_err());
        assert!(agent(&["--listen-tls", "10.0.0.5:7443"]).is_ok());
        assert!(agent(&["--listen-tls", "7443"]).is_err());
        let token = Token::random().reveal();
        let join = ["join", "http://10.0.0.1:8080", "--token", &token];
        assert!(agent(&[&join[..], &["--address", "10.0.0.5,host-a"]].concat()).is_ok());
        assert!(agent(&join).is_err(), "a host has a name");
        assert!(agent(&[&join[..], &["--address", "10.0.0.5:7443"]].concat()).is_err());
        assert!(agent(&[&["--listen-tls", "10.0.0.5:7443"], &join[..]].concat()).is_err());
    }

    #[test]
    fn pairs_are_checked() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
