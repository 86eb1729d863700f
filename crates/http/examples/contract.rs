//! The server that the contract tests ask (`scripts/contract-test`): the real routes over the real control plane and a real
//! database, whichever of the two it is (`wrenn_testkit::database`), with a fake agent below.
//!
//! Prints where it serves and its keys as one line of JSON, and serves until it is told to end.

use std::io::Write as _;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wrenn_control::{AgentAddress, ApiKey, ControlPlane, Limits};
use wrenn_model::MiB;
use wrenn_testkit::agent::FakeAgent;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("agent.sock");
    let agent = FakeAgent::start(&socket)?;
    // What a host has is no part of the document: this one has all that can be asked for.
    agent.set(|knobs| {
        knobs.cpus = Some(u32::MAX);
        knobs.memory_mb = Some(u32::MAX.into());
    });
    let database = wrenn_testkit::database::new(folder.path()).parse()?;
    let limits = Limits {
        // A sweep would find nothing: the fake agent's sandboxes come and go by calls alone.
        sweep_every: Duration::from_secs(3600),
        min_memory: MiB(1),
        ..Limits::default()
    };
    let control = ControlPlane::open(&database, AgentAddress::Unix(socket), limits).await?;
    let key = ApiKey::random();
    control.keys().register("contract", &key).await?;

    let mut told_to_end = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let serving = serde_json::json!({
        "url": format!("http://{}", listener.local_addr()?),
        "key": key.reveal(),
    });
    writeln!(std::io::stdout(), "{serving}")?;
    let closing = CancellationToken::new();
    let router = wrenn_http::router(control, closing.clone());
    let server = tokio::spawn(wrenn_http::serve(listener, router, closing.clone()));
    told_to_end.recv().await;
    closing.cancel();
    server.await?;
    Ok(())
}
