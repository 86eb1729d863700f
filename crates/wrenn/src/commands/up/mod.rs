//! `wrenn up`: control plane and agent in one process, over the same RPC as on a fleet.
//!
//! ```text
//!   data directory locked ─► port taken ─► store mounted ─► template there ─► kernel, VMM, network
//!     ─► agent serves its socket ─► control plane over that socket ─► API served ─► a signal, or `wrenn down`
//! ```
//!
//! What it ends with is the reverse, but for the sandboxes: they go on running.

mod address;
mod banner;
mod plane;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wrenn_agent::{Agent, DataDir, Host, Store};

use crate::agent_rpc::AgentRpc;
use crate::cli::{Globals, UpArgs};
use crate::install;
use crate::progress::Told;

/// Runs until a signal comes or `wrenn down` asks.
pub(crate) async fn run(globals: &Globals, args: &UpArgs) -> Result<()> {
    install::require_root("wrenn up")?;
    address::check(args)?;
    let mut signals = Signals::new()?;
    let data = install::data_dir(globals)?;
    let dir = data.path().to_owned();
    let listener = address::bind(args.addr).await?;
    let address = listener.local_addr()?;
    let agent = tokio::select! {
        agent = start_agent(data, globals) => agent?,
        () = signals.wait() => return Ok(()),
    };

    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let socket = serve_agent(&agent, &shutdown, &tasks);
    let plane = plane::open(&dir).await?;
    let serving = tasks.spawn(plane::serve(plane, listener, shutdown.clone()));
    let rpc = AgentRpc::new(&dir);
    let left = tokio::select! {
        biased;
        () = signals.wait() => rpc.running().await.unwrap_or(0),
        () = agent.down() => 0,
        ended = serving => return ended?.context("the API is not served any more"),
        ended = socket => return ended?.context("the agent does not serve any more"),
        refused = announce(&rpc, address, &dir, globals.json) => match refused? {},
    };
    shutdown.cancel();
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = signals.wait() => tracing::warn!("asked a second time: calls under way are cut off"),
    }
    if globals.json {
        Ok(())
    } else {
        banner::stopped(left, &dir)
    }
}

/// Says that Wrenn serves, once it does; then there is nothing left to say.
async fn announce(
    rpc: &AgentRpc,
    address: SocketAddr,
    dir: &Path,
    json: bool,
) -> Result<Infallible> {
    let health = rpc.ready().await;
    banner::serving(address, dir, &health.isolation, json)?;
    std::future::pending().await
}

/// All that a sandbox needs is there when this returns; what is missing is made.
async fn start_agent(data: DataDir, globals: &Globals) -> Result<Agent> {
    let progress = Told::new();
    let store = Store::open(data, &globals.cache).await?;
    if let Err(error) = install::ensure_template(store.images(), &progress).await {
        // The error that led here is the one to tell.
        drop(store.close().await);
        return Err(error);
    }
    let host = Host::open(store, &install::agent_config(globals)?, &progress).await?;
    progress.done();
    Ok(Agent::start(host)?)
}

type Serving = tokio::task::JoinHandle<Result<()>>;

fn serve_agent(agent: &Agent, shutdown: &CancellationToken, tasks: &TaskTracker) -> Serving {
    let (agent, shutdown) = (agent.clone(), shutdown.clone());
    tasks.spawn(async move { Ok(agent.serve(shutdown).await?) })
}

/// The signals that end Wrenn.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns when one has come.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
