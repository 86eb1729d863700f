//! `wrenn host`: what the operator of a control plane does about hosts on other machines.

use anyhow::Result;
use wrenn_client::api::InviteHost;

use crate::cli::{Globals, HostCommand, InviteArgs};
use crate::server;
use crate::terminal::{print_json, print_line};

/// Runs one of them.
pub(crate) async fn run(globals: &Globals, command: HostCommand) -> Result<()> {
    match command {
        HostCommand::Invite(args) => invite(globals, &args).await,
    }
}

/// The token stands alone on standard output, so that it can be handed on; what to do with it goes to a person.
async fn invite(globals: &Globals, args: &InviteArgs) -> Result<()> {
    let request = InviteHost {
        ttl_sec: args.ttl_sec.map(i64::from),
    };
    let invitation = server::client(globals)?.invite_host(&request).await?;
    if globals.json {
        return print_json(&invitation);
    }
    eprintln!(
        "Good for one host, until {}. On it, as root:\n\
         WRENN_JOIN_TOKEN=TOKEN wrenn agent join {} --address HOST, where HOST is what this control plane dials it by.",
        invitation.expires_at, globals.url
    );
    print_line(&invitation.token)
}
