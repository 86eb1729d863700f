//! `wrenn agent`: the host's agent as a program of its own. Sandboxes, their timeouts and their pauses are its work, with
//! or without a control plane.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::User;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wrenn_agent::{
    Agent, Config, DataDir, Host, IdentityFile, ServerSocket, Store, TlsError, TlsListener,
};

use super::server::address;
use super::signals::Signals;
use crate::agent_rpc::AgentRpc;
use crate::cli::{AgentArgs, Globals, GuestArgs};
use crate::install;
use crate::progress::Told;
use crate::report::Advised;
use crate::terminal::{print_json, print_line};

/// Runs until a signal comes or `wrenn down` asks.
pub(crate) async fn run(globals: &Globals, args: &AgentArgs) -> Result<()> {
    install::require_root("wrenn agent")?;
    let server = args
        .server_user
        .as_deref()
        .map(|user| server_socket(user, args))
        .transpose()?;
    let tls = match args.listen_tls {
        Some(address) => Some(listen_tls(globals, address).await?),
        None => None,
    };
    let port = tls.as_ref().map(TlsListener::address).transpose()?;
    let mut signals = Signals::new()?;
    let data = install::data_dir(globals)?;
    let dir = data.path().to_owned();
    let agent = tokio::select! {
        agent = start(data, globals, &args.guests) => agent?,
        () = signals.wait() => return Ok(()),
    };
    let shutdown = CancellationToken::new();
    let mut sockets = agent.listen(server.as_ref())?;
    if let Some(tls) = tls {
        sockets = sockets.with_tls(tls);
    }
    let mut serving = tokio::spawn(sockets.serve(shutdown.clone()));
    let announced = async {
        let health = AgentRpc::new(&dir).ready().await;
        let path = server.as_ref().map(|server| &server.path);
        announce(
            globals,
            &health.isolation,
            path.unwrap_or(&dir.join("agent.sock")),
            port,
        )?;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = signals.wait() => {}
        ended = &mut serving => return ended?.context("the agent does not serve any more"),
        refused = announced => return refused,
    }
    shutdown.cancel();
    tokio::select! {
        ended = serving => Ok(ended??),
        () = signals.wait() => {
            tracing::warn!("asked a second time: calls under way are cut off");
            Ok(())
        }
    }
}

/// All that a sandbox needs is there when this returns; what is missing is made.
pub(super) async fn start(data: DataDir, globals: &Globals, guests: &GuestArgs) -> Result<Agent> {
    install::spare_agent();
    let progress = Told::new();
    let store = Store::open(data, &globals.cache).await?;
    if let Err(error) = install::ensure_template(store.images(), &progress).await {
        // The error that led here is the one to tell.
        drop(store.close().await);
        return Err(error);
    }
    let config = Config {
        limits: guests.limits(),
        network: guests.network(),
        warm: guests.warm(),
        vmm: guests.vmm,
        firecracker: guests.firecracker.clone(),
        ..install::agent_config(globals)
    };
    let host = Host::open(store, &config, &progress).await?;
    progress.done();
    Ok(Agent::start(host)?)
}

fn announce(
    globals: &Globals,
    isolation: &str,
    socket: &Path,
    tls: Option<SocketAddr>,
) -> Result<()> {
    if globals.json {
        return print_json(&json!({
            "agent": format!("unix:{}", socket.display()),
            "tls": tls,
            "isolation": isolation,
        }));
    }
    if let Some(address) = tls {
        print_line(&format!(
            "It answers the control plane that it has joined on {address}: `wrenn server --agent tls:HOST:{}` there.",
            address.port()
        ))?;
    }
    print_line(&format!(
        "Wrenn's agent works on {dir} and answers on {socket}.\n\
         Serve its API with `wrenn server --agent unix:{socket}`. Ctrl-C stops the agent and leaves the sandboxes running; \
         `wrenn down` ends them.",
        dir = globals.dir.display(),
        socket = socket.display(),
    ))
}

/// The port for a control plane on another machine, taken before any long work.
async fn listen_tls(globals: &Globals, address: SocketAddr) -> Result<TlsListener> {
    let tcp = address::bind(address, "--listen-tls").await?;
    TlsListener::new(tcp, IdentityFile::of(&globals.dir)).map_err(|error| {
        let (message, remedy) = match &error {
            TlsError::NotJoined { .. } => (
                "this host has joined no control plane, and is nobody without its certificate",
                "make a token with `wrenn host invite` on the control plane's machine, then run `wrenn agent join` here",
            ),
            TlsError::Unreadable { .. } | TlsError::Damaged { .. } => (
                "this host's certificate is no use",
                "join again: `wrenn agent join`, with a new token from `wrenn host invite`",
            ),
        };
        Advised::new(message, remedy).because(error).into()
    })
}

/// The socket for a user by name or number.
fn server_socket(user: &str, args: &AgentArgs) -> Result<ServerSocket> {
    let (uid, gid) = match user.parse::<u32>() {
        Ok(uid) => {
            let known = User::from_uid(uid.into())?;
            (uid, known.map_or(uid, |user| user.gid.as_raw()))
        }
        Err(_) => {
            let known = User::from_name(user)?.ok_or_else(|| {
                Advised::new(
                    format!("there is no user {user:?}"),
                    format!("make it with `useradd --system {user}`, or give a user id"),
                )
            })?;
            (known.uid.as_raw(), known.gid.as_raw())
        }
    };
    Ok(ServerSocket {
        path: std::path::absolute(&args.server_socket)?,
        uid,
        gid,
    })
}
