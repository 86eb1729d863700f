//! Looks at some sandboxes: those of which the agent tells something, and those that the store has in transition.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use wrenn_model::{Fault, SandboxId};
use wrenn_store::Sandbox;

use super::{SOON, adopt, settle};
use crate::agent::{self, Change};
use crate::fault::store_fault;
use crate::plane::Core;

/// How long news is gathered, so that what happens to many at once is one look.
const GATHER: Duration = Duration::from_millis(20);
/// How many rows are read, or written, at a time.
const AT_ONCE: usize = 32;

/// Looks at what the agent tells to have changed, and now and then at what is in transition: what nobody here works on any more,
/// because it went wrong or its server has died, is no news to the agent. Returns when everything is to be looked at.
pub(super) async fn between_sweeps(core: &Core, mut listened: bool) {
    let every = core.limits.sweep_every;
    let mut unsettled = interval_at(Instant::now() + every, every);
    unsettled.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let looked = tokio::select! {
            // Without, the sweep is as soon.
            _ = unsettled.tick(), if listened => at_unsettled(core).await,
            () = came(core) => match core.news.take(|id| core.flights.has(id)) {
                Some(Change::All) => return,
                Some(Change::Of(ids)) => at(core, &ids).await,
                None => Ok(()),
            },
        };
        if let Err(fault) = looked {
            tracing::debug!(%fault, "what has changed is not looked at yet");
            return;
        }
        let listening = core.news.is_listening();
        if listened && !listening {
            return;
        }
        listened = listening;
    }
}

/// Returns when there may be news. What somebody was at work on is asked for again soon.
async fn came(core: &Core) {
    tokio::select! {
        () = core.news.came() => tokio::time::sleep(GATHER).await,
        () = tokio::time::sleep(SOON), if core.news.is_pending() => {}
    }
}

/// Brings the rows of these up to what the agent has, and adopts those that have none.
async fn at(core: &Core, ids: &[SandboxId]) -> Result<(), Fault> {
    // Rows first, as in a sweep.
    let rows: Vec<_> = ids.iter().map(|id| core.store.get(id)).collect();
    let rows = stream::iter(rows).buffer_unordered(AT_ONCE).try_collect();
    let rows: Vec<Option<Sandbox>> = rows.await.map_err(|error| store_fault(&error))?;
    let mut rows: Vec<Sandbox> = rows.into_iter().flatten().collect();
    let seen = core.agent.some(ids).await?;
    for (id, sandbox) in &seen {
        if rows.iter().all(|row| row.id != *id) {
            adopt(core, id, sandbox).await?;
        }
    }
    if core.store.is_shared() {
        // Whichever server asked the agent for it is about to write what came of it.
        let (others, ours): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.transition.is_some());
        core.news.put_back(others.into_iter().map(|row| row.id));
        rows = ours;
    }
    settle_all(core, &rows, &seen).await
}

/// Brings the rows that say that something is under way up to what the agent has.
async fn at_unsettled(core: &Core) -> Result<(), Fault> {
    let clock = core.store.read_clock().await;
    clock.map_err(|error| store_fault(&error))?;
    let rows = core.store.in_transition().await;
    let mut rows = rows.map_err(|error| store_fault(&error))?;
    rows.retain(|row| !core.flights.has(&row.id));
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<SandboxId> = rows.iter().map(|row| row.id.clone()).collect();
    let seen = core.agent.some(&ids).await?;
    settle_all(core, &rows, &seen).await
}

async fn settle_all(core: &Core, rows: &[Sandbox], seen: &agent::Sandboxes) -> Result<(), Fault> {
    let settled: Vec<_> = rows
        .iter()
        .map(|row| settle(core, row, seen.get(&row.id)))
        .collect();
    let settled = stream::iter(settled).buffer_unordered(AT_ONCE);
    settled.try_for_each(|_| async { Ok(()) }).await
}
