//! What can be said of hosts on other machines.

use clap::{Args, Subcommand};

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
