//! Sandboxes that come and go, several at a time: how long each takes, and what is left of all of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use wrenn_client::api::CreateSandbox;
use wrenn_client::{Client, Error};

use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::{Bench, server_memory};
use crate::agent_rpc::AgentRpc;

/// How many come and go.
const SANDBOXES: u32 = 50;
/// How many of them are there at a time.
const AT_ONCE: u32 = 10;
/// How often one is asked for again that a busy host sent away.
const TRIES: u32 = 20;

/// The figures of coming and going, of what is left, and of what the server takes when it has nothing to do.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let none = Samples::default();
    let mut idle = Samples::default();
    let mut note_idle = || server_memory::idle(&bench.data).map(|mib| idle.push(mib));
    note_idle();
    let before = inventory(bench).await?;
    tracing::info!("churn: {SANDBOXES} sandboxes, {AT_ONCE} at a time");
    let (create, delete) = come_and_go(bench).await?;
    note_idle();
    let mut figures = vec![
        Figure::new("create, 10 at a time", "ms", Goal::None, &create, &none),
        Figure::new("delete, 10 at a time", "ms", Goal::None, &delete, &none),
        Figure::new(
            "agent and server, idle",
            "MiB",
            Goal::Below(60.0),
            &idle,
            &none,
        ),
    ];
    if let (Some(before), Some(after)) = (before, inventory(bench).await?) {
        let left: Vec<_> = after.difference(&before).collect();
        for (kind, name) in &left {
            tracing::warn!(kind, name, "left over");
        }
        let mut count = Samples::default();
        count.push(f64::from(u32::try_from(left.len()).unwrap_or(u32::MAX)));
        figures.push(Figure::new(
            "left of 50 sandboxes",
            "things",
            Goal::AtMost(0.0),
            &count,
            &none,
        ));
    }
    Ok(figures)
}

/// Everything that the instance has of the host, by kind and name, as the agent's sweep finds it; none where only the API is
/// asked.
pub(super) async fn inventory(bench: &Bench) -> Result<Option<BTreeSet<(String, String)>>> {
    if bench.hand.is_none() {
        return Ok(None);
    }
    let found = AgentRpc::new(&bench.data).sweep(true).await?;
    // What stands ready is replaced by others of other names.
    let spares = std::fs::read_dir(bench.data.join("store/spares"))?;
    let spares: Vec<String> = spares
        .filter_map(|spare| spare.ok()?.file_name().into_string().ok())
        .collect();
    let ready = |name: &str| spares.iter().any(|spare| name.contains(spare.as_str()));
    let names = found.into_iter().filter(|one| !ready(&one.name));
    Ok(Some(names.map(|one| (one.kind, one.name)).collect()))
}

async fn come_and_go(bench: &Bench) -> Result<(Samples, Samples)> {
    let mut lanes = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, template) = (bench.client.clone(), bench.template.clone());
        lanes.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..SANDBOXES / AT_ONCE {
                times.push(once(&client, &template).await?);
            }
            anyhow::Ok(times)
        });
    }
    let (mut create, mut delete) = (Samples::default(), Samples::default());
    while let Some(times) = lanes.join_next().await {
        for (made, gone) in times?? {
            create.push_ms(made);
            delete.push_ms(gone);
        }
    }
    Ok((create, delete))
}

/// One comes and goes: how long either took.
async fn once(client: &Client, template: &str) -> Result<(Duration, Duration)> {
    let request = CreateSandbox {
        template: Some(template.to_owned()),
        ..Default::default()
    };
    let begun = Instant::now();
    let mut tries = 0;
    let sandbox = loop {
        tries += 1;
        match client.create_sandbox(&request).await {
            Ok(sandbox) => break sandbox,
            Err(Error::Api(busy)) if tries < TRIES && busy.retry_after_sec.is_some() => {
                let wait = busy.retry_after_sec.unwrap_or(1);
                tokio::time::sleep(Duration::from_secs(wait.into())).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let made = begun.elapsed();
    let begun = Instant::now();
    client.delete_sandbox(&sandbox.id).await?;
    Ok((made, begun.elapsed()))
}
