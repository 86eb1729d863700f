//! `wrenn up`: the agent, and a control plane that it starts as a program of its own, over the same RPC as on a fleet.
//!
//! ```text
//!   data directory locked ─► port taken ─► store mounted ─► template there ─► kernel, VMM, network
//!     ─► agent serves its sockets ─► `wrenn server` started, confined ─► API served ─► a signal, or `wrenn down`
//! ```
//!
//! What it ends with is the reverse, but for the sandboxes: they go on running.

mod banner;
mod service;
mod state;

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use wrenn_agent::{Agent, ServerSocket};
use wrenn_control::DatabaseUrl;

use super::server::{address, database, plane};
use super::signals::Signals;
use crate::agent_rpc::AgentRpc;
use crate::cli::{Globals, UpArgs};
use crate::traces::{self, Relay};
use crate::{commands, install};
use service::{NeverServed, Service};

/// Runs until a signal comes or `wrenn down` asks. Gives the exit code.
pub(crate) async fn run(globals: &Globals, args: &UpArgs) -> Result<ExitCode> {
    install::require_root("wrenn up")?;
    address::check(&args.listen)?;
    let database = database::for_confined(&args.database)?;
    let mut signals = Signals::new()?;
    let data = install::data_dir(globals)?;
    let dir = data.path().to_owned();
    let listener = address::bind(args.listen.addr, address::ADDR)
        .await?
        .into_std()?;
    let address = listener.local_addr()?;
    // Whoever serves learns the key from the file; a file that holds none is told before long work.
    plane::key(&dir.join(plane::API_KEY))?;
    let agent = tokio::select! {
        agent = commands::agent::start(data, globals, &args.guests) => agent?,
        () = signals.wait() => return Ok(ExitCode::SUCCESS),
    };

    let shutdown = CancellationToken::new();
    let socket = server_socket(&agent, &dir);
    let otlp = Relay::beside(&socket.path);
    Relay::clear(&otlp)?;
    let mut serving = tokio::spawn(agent.listen(Some(&socket))?.serve(shutdown.clone()));
    let relay = match args.traces.endpoint() {
        Some(endpoint) => Some(Relay::start(otlp, socket.uid, endpoint)?),
        None => None,
    };
    let way = (&socket, relay.as_ref());
    let mut server = server(globals, args, database.as_ref(), &dir, way, listener)?;
    let serves = server.serves();
    let rpc = AgentRpc::new(&dir);
    let left = tokio::select! {
        biased;
        () = signals.wait() => rpc.running().await.unwrap_or(0),
        () = agent.down() => 0,
        ended = &mut serving => return ended?.context("the agent does not serve any more").map(|()| ExitCode::FAILURE),
        ended = server.keep() => return never_served(ended),
        refused = announce(&rpc, serves, address, &dir, globals.json) => match refused? {},
    };
    let ended = async {
        // It ends first: what it still does for its callers, it does with the agent.
        server.end().await?;
        shutdown.cancel();
        serving.await?.context("the agent did not end well")
    };
    tokio::select! {
        ended = ended => ended?,
        () = signals.wait() => tracing::warn!("asked a second time: calls under way are cut off"),
    }
    if !globals.json {
        banner::stopped(left, &dir)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A control plane that could not start has said why already.
fn never_served(ended: Result<Infallible>) -> Result<ExitCode> {
    match ended {
        Ok(never) => match never {},
        Err(error) if error.is::<NeverServed>() => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}

/// Says that Wrenn serves, once it does; then there is nothing left to say.
async fn announce(
    rpc: &AgentRpc,
    mut serves: tokio::sync::watch::Receiver<bool>,
    address: SocketAddr,
    dir: &Path,
    json: bool,
) -> Result<Infallible> {
    let health = rpc.ready().await;
    serves.wait_for(|serves| *serves).await?;
    banner::serving(address, dir, &health.isolation, json)?;
    std::future::pending().await
}

/// The control plane's own way to the agent.
fn server_socket(agent: &Agent, dir: &Path) -> ServerSocket {
    let uid = agent.server_uid();
    ServerSocket {
        path: dir.join("rpc/agent.sock"),
        uid,
        gid: uid,
    }
}

/// This program again, as `wrenn server`.
fn server(
    globals: &Globals,
    args: &UpArgs,
    database: Option<&DatabaseUrl>,
    dir: &Path,
    (socket, relay): (&ServerSocket, Option<&Relay>),
    listener: TcpListener,
) -> Result<Service> {
    let state = state::prepare(dir, socket.uid)?;
    let mut agent = OsString::from("unix:");
    agent.push(&socket.path);
    // The file is read once, here: one that is changed while this runs is the next start's.
    let mut given: Vec<OsString> = ["server", "--json", "--config", "/dev/null"]
        .map(OsString::from)
        .into();
    if args.listen.listen_public {
        given.push("--listen-public".into());
    }
    if globals.log_json {
        given.push("--log-json".into());
    }
    let filter = globals
        .log
        .clone()
        .or_else(|| std::env::var("RUST_LOG").ok());
    if let Some(filter) = filter.filter(|filter| !filter.is_empty()) {
        given.extend(["--log".into(), filter.into()]);
    }
    for (flag, value) in [
        ("--dir", dir.into()),
        ("--state", state.into()),
        ("--agent", agent),
        ("--addr", args.listen.addr.to_string().into()),
        ("--keep-stopped", args.keep.keep_stopped.to_string().into()),
        ("--keep-events", args.keep.keep_events.to_string().into()),
        ("--keep-audit", args.keep.keep_audit.to_string().into()),
        ("--confine", socket.uid.to_string().into()),
    ] {
        given.extend([flag.into(), value]);
    }
    let mut vars: Vec<(_, OsString)> = Vec::new();
    vars.extend(database.map(|url| (database::VARIABLE, url.reveal().into())));
    if let Some(relay) = relay {
        given.extend(["--otlp-endpoint".into(), relay.endpoint()]);
        let inherited = traces::INHERITED.map(|name| Some((name, std::env::var_os(name)?)));
        vars.extend(inherited.into_iter().flatten());
    }
    Ok(Service::new(install::SELF.into(), given, vars, listener))
}
