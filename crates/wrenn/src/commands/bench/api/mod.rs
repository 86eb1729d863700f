//! What the control plane itself does and takes: thousands of calls that come when they come, whether those before are answered
//! or not, a list of thousands, hundreds of listeners. Machines have no part in it: it is measured over an agent that has none.

mod load;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;
use wrenn_client::api::{CreateSandbox, ExecRequest};
use wrenn_client::{Client, EventStream, Told};

use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::{Bench, server_memory};
use crate::agent_rpc::AgentRpc;

/// Looks at a sandbox, a second and in all.
const GETS: (u32, u32) = (1000, 10_000);
/// Creates a second; how many in all, the caller says.
const CREATES: u32 = 100;
/// Lists of a page of the default size.
const LISTS: u32 = 200;
/// Commands, through the API and straight to the agent in turns.
const EXECS: u32 = 500;
/// Event streams that are open at a time.
const STREAMS: u32 = 500;
/// How soon each of them is told of something.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Sandboxes that are deleted at a time, after all.
const DELETES_AT_ONCE: u32 = 32;
/// Durable writes by hand.
const WRITES: u32 = 200;

/// The figures. The sandboxes that it makes are gone afterwards.
pub(super) async fn measure(bench: &Bench, sandboxes: u32) -> Result<Vec<Figure>> {
    let none = Samples::default();
    let by_hand = durable_writes(&bench.data)?;
    let mut ids = Vec::new();
    let create = create(bench, sandboxes, &mut ids).await;
    let measured = async {
        let create = create?;
        let first = ids.first().context("no sandbox was made")?.clone();
        let get = get(bench, &ids).await?;
        let list = list(bench).await?;
        let (exec, straight) = exec(bench, &first).await?;
        let memory = listened_to(bench, &mut ids).await?;
        Ok(vec![
            Figure::new(
                "get, 1000 a second",
                "ms",
                Goal::P99Below(20.0),
                &get,
                &none,
            ),
            Figure::new(
                "create, 100 a second",
                "ms",
                Goal::P99Below(100.0),
                &create,
                &by_hand,
            ),
            Figure::new("list of 1000", "ms", Goal::Below(50.0), &list, &none),
            Figure::new(
                "exec in the control plane",
                "ms",
                Goal::MoreAtMost(1.0),
                &exec,
                &straight,
            ),
            Figure::new(
                "server, 500 streams open",
                "MiB",
                Goal::Below(200.0),
                &memory,
                &none,
            ),
        ])
    };
    let measured: Result<Vec<Figure>> = measured.await;
    let deleted = delete(&bench.client, ids).await;
    let measured = measured?;
    deleted?;
    Ok(measured)
}

/// Notes those that it has made, also when some could not be.
async fn create(bench: &Bench, count: u32, ids: &mut Vec<String>) -> Result<Samples> {
    tracing::info!("api: {count} creates, {CREATES} a second");
    let request = Arc::new(CreateSandbox {
        template: Some(bench.template.clone()),
        ..Default::default()
    });
    let made = load::run(CREATES, count, || {
        let (client, request) = (bench.client.clone(), request.clone());
        async move { Ok(client.create_sandbox(&request).await?.id) }
    });
    let (mut times, mut failed) = (Samples::default(), None);
    for call in made.await {
        match call {
            Ok((took, id)) => {
                times.push_ms(took);
                ids.push(id);
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(times), Err)
}

/// Of all that were made, in turns.
async fn get(bench: &Bench, ids: &[String]) -> Result<Samples> {
    let (rate, count) = GETS;
    tracing::info!("api: {count} gets, {rate} a second");
    let mut ids = ids.iter().cycle().cloned();
    let calls = load::run(rate, count, || {
        let (client, id) = (bench.client.clone(), ids.next().unwrap_or_default());
        async move { Ok(client.sandbox(&id).await?) }
    });
    let mut times = Samples::default();
    for call in calls.await {
        times.push_ms(call?.0);
    }
    Ok(times)
}

async fn list(bench: &Bench) -> Result<Samples> {
    tracing::info!("api: {LISTS} lists");
    let mut times = Samples::default();
    for _ in 0..LISTS {
        let begun = Instant::now();
        bench.client.newest_sandboxes().await?;
        times.push_ms(begun.elapsed());
    }
    Ok(times)
}

/// The same command through the API, and straight to the agent.
async fn exec(bench: &Bench, id: &str) -> Result<(Samples, Samples)> {
    tracing::info!("api: {EXECS} commands");
    let agent = AgentRpc::new(&bench.data);
    let request = ExecRequest {
        cmd: "true".to_owned(),
        ..Default::default()
    };
    let [mut through, mut straight] = <[Samples; 2]>::default();
    for _ in 0..EXECS {
        let begun = Instant::now();
        bench.client.exec(id, &request).await?;
        through.push_ms(begun.elapsed());
        let begun = Instant::now();
        agent.exec_true(id).await?;
        straight.push_ms(begun.elapsed());
    }
    Ok((through, straight))
}

/// What the server takes while all streams are open, once each has been told of something.
async fn listened_to(bench: &Bench, ids: &mut Vec<String>) -> Result<Samples> {
    tracing::info!("api: {STREAMS} event streams");
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(bench.client.follow_events(None, None).await?);
    }
    let happens = bench.create().await?.id;
    ids.push(happens.clone());
    let mut listeners = JoinSet::new();
    for stream in streams {
        listeners.spawn(tokio::time::timeout(
            TOLD_WITHIN,
            told_of(stream, happens.clone()),
        ));
    }
    let mut open = Vec::new();
    while let Some(listener) = listeners.join_next().await {
        open.push(listener?.context("an event did not come in time")??);
    }
    let server = server_memory::server(&bench.data, bench.state.as_deref());
    let mut taken = Samples::default();
    taken.push(server.context("no server works in the data directory, or in WRENN_STATE")?);
    drop(open);
    Ok(taken)
}

/// The stream, once it has told of this sandbox.
async fn told_of(mut stream: EventStream, id: String) -> Result<EventStream> {
    while let Some(told) = stream.next().await? {
        if matches!(told, Told::Event(event) if event.sandbox_id == id) {
            return Ok(stream);
        }
    }
    anyhow::bail!("the stream has ended")
}

async fn delete(client: &Client, ids: Vec<String>) -> Result<()> {
    tracing::info!("api: {} sandboxes go", ids.len());
    let mut lanes = JoinSet::new();
    let ids = Arc::new(std::sync::Mutex::new(ids.into_iter()));
    for _ in 0..DELETES_AT_ONCE {
        let (client, ids) = (client.clone(), ids.clone());
        lanes.spawn(async move {
            let next = || ids.lock().ok()?.next();
            while let Some(id) = next() {
                ensure!(client.delete_sandbox(&id).await?, "{id} is still there");
            }
            anyhow::Ok(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

/// Two writes of a block each that a power cut does not take back, one after the other: what a create does not get around.
fn durable_writes(folder: &Path) -> Result<Samples> {
    let path = folder.join(format!("bench-{}", std::process::id()));
    let written = write_durably(&path);
    std::fs::remove_file(&path)?;
    written
}

fn write_durably(path: &Path) -> Result<Samples> {
    let mut file = File::create_new(path)?;
    let mut times = Samples::default();
    for _ in 0..WRITES {
        let begun = Instant::now();
        for _ in 0..2 {
            file.write_all(&[1; 4096])?;
            file.sync_data()?;
        }
        times.push_ms(begun.elapsed());
    }
    Ok(times)
}
