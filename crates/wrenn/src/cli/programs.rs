//! What the programs that serve are told: `wrenn up`, `wrenn agent`, `wrenn server`.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};
use wrenn_agent::{GuestNetwork, Limits, MemoryOvercommit, PoolSize, VmmChoice, Warm};
use wrenn_control::AgentAddress;
use wrenn_model::{MiB, Subnet};
use wrenn_pki::{HostName, Token};

use crate::traces::{Endpoint, Target};

/// The folder of a control plane that runs alone.
pub(crate) const STATE: &str = "/var/lib/wrenn-server";

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    #[command(flatten)]
    pub(crate) guests: GuestArgs,
    #[command(flatten)]
    pub(crate) traces: TracesArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AgentCommand>,
    #[command(flatten)]
    pub(crate) guests: GuestArgs,
    /// The user that `wrenn server` runs as: beside root, nobody else may connect. Without it root alone may.
    #[arg(long, env = "WRENN_SERVER_USER", value_name = "NAME|UID")]
    pub(crate) server_user: Option<String>,
    /// The socket for that user, in a folder of its own.
    #[arg(
        long,
        env = "WRENN_SERVER_SOCKET",
        value_name = "PATH",
        default_value = "/run/wrenn/agent.sock"
    )]
    pub(crate) server_socket: PathBuf,
    /// Serve a `wrenn server` on another machine as well, over mutual TLS. The host has to have joined it before.
    #[arg(long, env = "WRENN_LISTEN_TLS", value_name = "ADDR:PORT")]
    pub(crate) listen_tls: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) traces: TracesArgs,
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
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Its own folder, for the first API key, and for the database where that is SQLite's.
    #[arg(
        long,
        env = "WRENN_STATE",
        value_name = "DIR",
        default_value = STATE
    )]
    pub(crate) state: PathBuf,
    #[command(flatten)]
    pub(crate) traces: TracesArgs,
    /// As `wrenn up` starts it, as root: the listener is standard input, the API key is the data directory's, and before
    /// anything is served it becomes this user, who sees the folders of database and socket alone.
    #[arg(long, value_name = "UID", hide = true)]
    pub(crate) confine: Option<u32>,
}

/// Where the control plane keeps what it knows.
#[derive(Args)]
pub(crate) struct DatabaseArgs {
    /// The database: sqlite:PATH, postgres://USER@HOST/NAME, or postgres:///NAME?host=FOLDER for a Unix socket, which is what
    /// `wrenn up` takes. Without it, it is wrenn.db in the server's own folder. Other users of this machine see a command's
    /// arguments: the variable hides a password from them.
    #[arg(
        long,
        env = "WRENN_DATABASE_URL",
        hide_env_values = true,
        hide_default_value = true,
        value_name = "URL"
    )]
    pub(crate) database_url: Option<String>,
}

impl fmt::Debug for DatabaseArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There may be a password in it.
        f.debug_struct("DatabaseArgs").finish_non_exhaustive()
    }
}

/// How long the control plane knows what is over.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct KeepArgs {
    /// How many days a sandbox that stopped, or failed with nothing left of it, stays in lists.
    #[arg(
        long,
        env = "WRENN_KEEP_STOPPED",
        value_name = "DAYS",
        default_value = "7"
    )]
    pub(crate) keep_stopped: NonZeroU16,
    /// How many days events may be asked for.
    #[arg(
        long,
        env = "WRENN_KEEP_EVENTS",
        value_name = "DAYS",
        default_value = "30"
    )]
    pub(crate) keep_events: NonZeroU16,
    /// How many days the record of calls is kept.
    #[arg(
        long,
        env = "WRENN_KEEP_AUDIT",
        value_name = "DAYS",
        default_value = "365"
    )]
    pub(crate) keep_audit: NonZeroU16,
}

impl KeepArgs {
    /// The same as the control plane takes it, with what else holds.
    pub(crate) fn limits(self) -> wrenn_control::Limits {
        let days = |days: NonZeroU16| Duration::from_secs(u64::from(days.get()) * 24 * 3600);
        wrenn_control::Limits {
            keep_stopped: days(self.keep_stopped),
            keep_events: days(self.keep_events),
            keep_audit: days(self.keep_audit),
            ..wrenn_control::Limits::default()
        }
    }
}

/// Where the API is served.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Where to serve the API.
    #[arg(long, env = "WRENN_ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) addr: SocketAddr,
    /// Allow an address that other machines can reach. The API speaks plain HTTP: put TLS in front of it.
    #[arg(
        long,
        env = "WRENN_LISTEN_PUBLIC",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        hide_possible_values = true
    )]
    pub(crate) listen_public: bool,
}

/// Who collects traces.
#[derive(Debug, Args)]
pub(crate) struct TracesArgs {
    /// Send traces of the API's requests to this collector, by OTLP over HTTP: http://HOST:4318, https://HOST:PORT, or
    /// unix:PATH. Without it, and with nothing in it, none are made.
    #[arg(long, env = "WRENN_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<Target>,
}

impl TracesArgs {
    /// The collector, if there is one.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        self.otlp_endpoint.as_ref()?.0.as_ref()
    }
}

/// What runs sandboxes, and what they may have of the host.
#[derive(Debug, Args)]
pub(crate) struct GuestArgs {
    /// What runs sandboxes: firecracker, qemu, qemu-kvm, qemu-emulated, or auto, which is Firecracker where all that it needs is
    /// there, else QEMU under KVM, else QEMU by emulation, and stays what it was while there are sandboxes.
    #[arg(long, env = "WRENN_VMM", value_name = "VMM", default_value_t)]
    pub(crate) vmm: VmmChoice,
    /// The Firecracker to use, with its jailer beside it; without it the one in /usr/local/bin or PATH.
    #[arg(long, env = "WRENN_FIRECRACKER", value_name = "FILE")]
    pub(crate) firecracker: Option<PathBuf>,
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
    /// What stands ready, as TEMPLATE:VCPUS:MIB=COUNT or COUNT+STARTED: so many sandboxes of a shape wait to be taken by a creation,
    /// and so many VMMs behind them have only to load its boot image, which is made ahead and kept; may be given again.
    #[arg(
        long = "pool",
        env = "WRENN_POOL",
        value_name = "SHAPE=COUNT",
        value_delimiter = ',',
        default_value = "minimal:1:512=2+1"
    )]
    pub(crate) pools: Vec<PoolSize>,
    /// How many MiB of disk boot images of other shapes may take, what was not used for longest goes first. With 0 there are no
    /// boot images, nothing stands ready, and each creation boots.
    #[arg(
        long = "boot-images",
        env = "WRENN_BOOT_IMAGES_MB",
        value_name = "MIB",
        default_value_t = 4096
    )]
    pub(crate) boot_images_mb: u32,
    /// How many network slots stand ready for what does not take one that stands ready whole; more where more are used.
    #[arg(
        long = "ready-slots",
        env = "WRENN_READY_SLOTS",
        value_name = "COUNT",
        default_value_t = 2
    )]
    pub(crate) ready_slots: u8,
}

impl GuestArgs {
    /// The same as the agent takes it.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory: self.memory_mb.map(MiB),
            memory_overcommit: self.memory_overcommit,
        }
    }

    /// What stands ready for them.
    pub(crate) fn warm(&self) -> Warm {
        Warm {
            images: MiB(self.boot_images_mb).bytes(),
            shapes: match self.boot_images_mb {
                0 => Vec::new(),
                _ => self.pools.clone(),
            },
            slots: self.ready_slots.into(),
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

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;
    use crate::config::Settings;

    #[test]
    fn what_is_over_is_kept_as_long_as_is_said_and_else_as_ever() {
        let keep = |args: &[&str]| {
            let command = crate::cli::command(&Settings::default());
            let matches = command.try_get_matches_from([&["wrenn", "server"], args].concat());
            let matches = matches.ok()?;
            let (_, server) = matches.subcommand()?;
            Some(KeepArgs::from_arg_matches(server).ok()?.limits())
        };
        let (said, ever) = (keep(&["--keep-stopped", "2"]).unwrap(), keep(&[]).unwrap());
        assert_eq!(said.keep_stopped, Duration::from_secs(2 * 24 * 3600));
        let times = |limits: &wrenn_control::Limits| {
            (limits.keep_stopped, limits.keep_events, limits.keep_audit)
        };
        assert_eq!(times(&ever), times(&wrenn_control::Limits::default()));
        assert_eq!(
            (said.keep_events, said.keep_audit),
            (ever.keep_events, ever.keep_audit)
        );
        for nonsense in ["0", "-1", "a week"] {
            assert!(keep(&["--keep-audit", nonsense]).is_none(), "{nonsense}");
        }
    }

    #[test]
    fn an_agent_serves_or_joins() {
        let agent = |args: &[&str]| {
            let command = crate::cli::command(&Settings::default());
            command.try_get_matches_from([&["wrenn", "agent"], args].concat())
        };
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
}
