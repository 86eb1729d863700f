//! What can be said of API keys and of teams.

use clap::{Args, Subcommand, ValueEnum};
use wrenn_client::api::KeyScope;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it; it is shown this once.
    Create(CreateKeyArgs),
    /// List keys, newest first; those too that have expired or were revoked.
    Ls,
    /// Take from keys all that they open.
    Revoke {
        /// What `wrenn key ls` names them by.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateKeyArgs {
    /// What to call it, for people.
    pub(crate) name: String,
    /// Whose it is; the team of the key that is used, without it.
    #[arg(long)]
    pub(crate) team: Option<String>,
    /// What it is for; may be given again, or several with commas between. Without it: read and sandboxes.
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    pub(crate) scopes: Vec<ScopeArg>,
    /// Seconds for which it is good; for ever without it.
    #[arg(long = "ttl", value_name = "SECONDS")]
    pub(crate) ttl_sec: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeArg {
    /// To look at what is there.
    Read,
    /// To make, use, change and end sandboxes.
    Sandboxes,
    /// To change what sandboxes are made from.
    Templates,
    /// To decide who else may do what; it has all others in it.
    Admin,
}

impl From<ScopeArg> for KeyScope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Self::Read,
            ScopeArg::Sandboxes => Self::Sandboxes,
            ScopeArg::Templates => Self::Templates,
            ScopeArg::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum TeamCommand {
    /// Say what a team may have, in the place of what was said before: what is left out has no limit. Makes the team where
    /// there is none.
    Set(SetTeamArgs),
    /// List teams and what each may have.
    Ls,
}

#[derive(Debug, Args)]
pub(crate) struct SetTeamArgs {
    /// The team.
    pub(crate) name: String,
    /// Sandboxes that are pending, run or are paused.
    #[arg(long, value_name = "COUNT")]
    pub(crate) sandboxes: Option<u32>,
    /// Virtual CPUs of those that are pending or run.
    #[arg(long, value_name = "COUNT")]
    pub(crate) vcpus: Option<u32>,
    /// Memory of the same in MiB.
    #[arg(long = "memory", value_name = "MIB")]
    pub(crate) memory_mb: Option<u32>,
    /// Disk of all that are not gone in MiB: what their guests wrote, and their pauses.
    #[arg(long = "storage", value_name = "MIB")]
    pub(crate) storage_mb: Option<u32>,
    /// Sandboxes made in any minute.
    #[arg(long, value_name = "COUNT")]
    pub(crate) creates_per_min: Option<u32>,
}
