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
    let listener = address::bind(args.addr).await?;
    let address = listener.local_addr()?;
    let agent = tokio::select! {
        agent = start_agent(data, globals) => agent?,
        () = signals.wait() => return Ok(()),
    };

    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let socket = serve_agent(&agent, &shutdown, &tasks);
    let plane = plane::open(&globals.dir).await?;
    let serving = tasks.spawn(plane::serve(plane, listener, shutdown.clone()));
    agent.recovered().await;
    let rpc = AgentRpc::new(&globals.dir);
    let isolation = rpc.health().await?.isolation;
    banner::serving(address, &globals.dir, &isolation, globals.json)?;

    let by_signal = tokio::select! {
        () = signals.wait() => true,
        () = agent.down() => false,
        ended = serving => return ended?.context("the API is not served any more"),
        ended = socket => return ended?.context("the agent does not serve any more"),
    };
    let left = if by_signal {
        rpc.running().await.unwrap_or(0)
    } else {
        0
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
        banner::stopped(left, &globals.dir)
    }
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
