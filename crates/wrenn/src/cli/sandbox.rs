//! What can be said of sandboxes.

use clap::{Args, Subcommand};
use wrenn_client::api::Network;

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
    /// Make sandboxes of what one is now, with its memory, disk and processes; prints their ids. It goes on as it was.
    Fork(ForkArgs),
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
    /// Boot it, though something may stand ready, or the template have memory to go on from.
    #[arg(long)]
    pub(crate) cold: bool,
    /// Do not wait until it runs.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// The sandbox, running or paused.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// How many children; 1 without it.
    #[arg(long, short)]
    pub(crate) count: Option<u32>,
    /// A label of each child, in the place of the sandbox's; may be given again.
    #[arg(long = "metadata", short = 'm', value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Seconds without activity after which what the sandbox's --on-timeout says happens to a child; the sandbox's without it.
    #[arg(long = "timeout", value_name = "SECONDS")]
    pub(crate) timeout_sec: Option<u32>,
    /// Say how long each step took, and for how long the sandbox stood still.
    #[arg(long, short = 'v')]
    pub(crate) timings: bool,
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
    /// Give the command a terminal and lend it this one: keys go to it as they are, Ctrl-C too, and it draws as it likes,
    /// whatever that does to your terminal.
    #[arg(long, short, conflicts_with_all = ["json", "attach"])]
    pub(crate) tty: bool,
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

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it has the form KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

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
    fn pairs_are_checked() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
