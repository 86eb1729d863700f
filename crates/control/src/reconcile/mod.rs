//! Makes what the store says and what the agent has meet.
//!
//! [`rules`] decides, as a pure function of one row and one sandbox of the agent; here is the hand that looks and
//! writes. An agent that cannot be reached changes nothing. A sandbox that somebody here is working on is left alone.
//!
//! The agent tells what changes ([`news`]), and that is looked at at once ([`look`]); everything is, now and then, and often while
//! the agent tells nothing.
//!
//! Other servers may share the database, and reconcile at the same time. None needs to know of the others:
//!
//! - A row is read before the agent is looked at, so that what was seen is never older than the row; clocks are not compared.
//! - Every write names the version that it follows from ([`wrenn_store::Store::update`]): of two the first holds.
//! - What a row says is under way, and the agent shows nothing of, another server may be about to ask for: such a row is left
//!   alone for a while ([`wait::Waits`]).

mod look;
pub(crate) mod news;
pub(crate) mod rules;
mod wait;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, SandboxId, Status, Transition};
use wrenn_store::{Sandbox, StoreError, millis};

use crate::fault::store_fault;
use crate::plane::Core;
use crate::{agent, once};
use rules::Action;

pub(crate) use news::News;
pub(crate) use wait::Waits;

/// How soon to look again at what is under way.
const SOON: Duration = Duration::from_millis(250);
/// How much longer a sweep may be in coming while the agent tells what changes.
const SLOWER: u32 = 12;
/// Between two looks for what is too old to be told.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Looks after sandboxes until the control plane closes.
pub(crate) async fn run(core: Arc<Core>) {
    let mut away = false;
    let mut forgot: Option<Instant> = None;
    while !core.closing.is_cancelled() {
        let swept = sweep(&core).await;
        match &swept {
            Ok(_) if away => {
                tracing::info!("sandboxes are looked after again");
                away = false;
            }
            Ok(_) => {}
            Err(fault) if !away => {
                tracing::warn!(%fault, "sandboxes cannot be looked after");
                away = true;
            }
            Err(_) => {}
        }
        if forgot.is_none_or(|then| then.elapsed() >= FORGET_EVERY) {
            forget(&core).await;
            forgot = Some(Instant::now());
        }
        let (every, listening) = (core.limits.sweep_every, core.news.is_listening());
        let next = match swept {
            // What the agent is doing by itself, after a restart as a rule, ends soon.
            Ok(Swept::UnderWay) if !listening => every.min(SOON),
            Ok(_) if listening => every * SLOWER,
            _ => every,
        };
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = look::between_sweeps(&core, listening) => {}
            () = core.closing.cancelled() => return,
        }
    }
}

/// What a look at everything came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swept {
    /// All rows are what the agent has.
    Settled,
    /// Something is under way at the agent that nobody here waits for.
    UnderWay,
}

/// Looks at everything once.
pub(crate) async fn sweep(core: &Core) -> Result<Swept, Fault> {
    let clock = core.store.read_clock().await;
    clock.map_err(|error| store_fault(&error))?;
    // Rows first: see above.
    let rows = core
        .store
        .unstopped()
        .await
        .map_err(|error| store_fault(&error))?;
    let seen = core.agent.all().await?;
    let known: HashSet<&SandboxId> = rows.iter().map(|row| &row.id).collect();
    core.waits.keep(&rows);
    let mut swept = Swept::Settled;
    for row in &rows {
        let row = settle(core, row, seen.get(&row.id)).await?;
        if row.transition.is_some() && !core.flights.has(&row.id) {
            swept = Swept::UnderWay;
        }
    }
    for (id, sandbox) in seen.iter().filter(|(id, _)| !known.contains(id)) {
        match core
            .store
            .get(id)
            .await
            .map_err(|error| store_fault(&error))?
        {
            Some(row) if row.status == Status::Stopped => {
                settle(core, &row, Some(sandbox)).await?;
            }
            // It is younger than the others, and the next sweep's.
            Some(_) => {}
            None => adopt(core, id, sandbox).await?,
        }
    }
    forget_failed(core, &rows, &seen).await;
    Ok(swept)
}

/// Brings one row up to what was seen of it after it was read: `None` where the agent did not have it. Answers with what it is
/// then.
pub(crate) async fn settle(
    core: &Core,
    row: &Sandbox,
    sandbox: Option<&rpc::Sandbox>,
) -> Result<Sandbox, Fault> {
    let mut row = row.clone();
    if core.flights.has(&row.id) || core.waits.on(&row, sandbox) {
        return Ok(row);
    }
    match rules::decide(&row, sandbox, core.store.now_ms()) {
        Action::Nothing => {
            if let Some(sandbox) = sandbox {
                rules::refresh(&mut row, sandbox);
                // What the agent does by itself is told, and written once it is done.
                row.transition = row
                    .transition
                    .or_else(|| Transition::from_name(&sandbox.transition));
            }
        }
        Action::Become(mut new) => {
            if core
                .store
                .update(&mut new)
                .await
                .map_err(|error| store_fault(&error))?
            {
                tracing::info!(sandbox = %new.id, was = %row.status, is = %new.status, reason = %new.status_reason, "settled");
                return Ok(*new);
            }
            // Somebody else has written in between, and knows better.
            let written = core.store.get(&row.id).await;
            row = written.map_err(|error| store_fault(&error))?.unwrap_or(row);
        }
        Action::Destroy => {
            let _flight = core.flights.begin(&row.id);
            match core.agent.destroy(&row.id).await {
                Ok(()) => {
                    let mut gone = rules::stopped(&row, &row.status_reason, core.store.now_ms());
                    if core
                        .store
                        .update(&mut gone)
                        .await
                        .map_err(|error| store_fault(&error))?
                    {
                        return Ok(gone);
                    }
                }
                // One sandbox that cannot be unmade holds up no other.
                Err(fault) => tracing::warn!(sandbox = %row.id, %fault, "not destroyed yet"),
            }
        }
    }
    Ok(row)
}

/// A sandbox of the agent that the store has never heard of: after a restored backup, or with a new database.
async fn adopt(core: &Core, id: &SandboxId, sandbox: &rpc::Sandbox) -> Result<(), Fault> {
    if core.flights.has(id) {
        return Ok(());
    }
    let Some(row) = rules::adopted(id, sandbox, core.store.now_ms()) else {
        return Ok(());
    };
    if core
        .store
        .insert(&row)
        .await
        .map_err(|error| store_fault(&error))?
    {
        tracing::info!(sandbox = %id, "adopted");
    }
    Ok(())
}

/// Forgets what failed long ago and its host has nothing of: `seen` is what the agent had after these rows were read. What cannot be forgotten now is the
/// next time.
async fn forget_failed(core: &Core, rows: &[Sandbox], seen: &agent::Sandboxes) {
    let before = before(core, core.limits.keep_stopped);
    let past: Vec<&SandboxId> = rows
        .iter()
        .filter(|row| rules::is_past(row, seen.get(&row.id), before))
        .map(|row| &row.id)
        .collect();
    if !past.is_empty() {
        tell_forgotten(
            "failed sandboxes",
            core.store.forget_failed(&past, before).await,
        );
    }
}

/// Forgets what is too old to be told, each kind by itself. What cannot be forgotten now is the next time.
async fn forget(core: &Core) {
    let (store, limits) = (&core.store, &core.limits);
    let stopped = store.forget_stopped(before(core, limits.keep_stopped));
    tell_forgotten("stopped sandboxes", stopped.await);
    let events = store.forget_events(before(core, limits.keep_events));
    tell_forgotten("events", events.await);
    let calls = store.forget_audit(before(core, limits.keep_audit));
    tell_forgotten("calls on the record", calls.await);
    let answers = store.forget_once(before(core, once::KEPT));
    tell_forgotten("answers that may be given again", answers.await);
}

/// What is from before this time is too old, where it is kept so long.
fn before(core: &Core, keep: Duration) -> i64 {
    core.store.now_ms().saturating_sub(millis(keep))
}

fn tell_forgotten(what: &str, forgot: Result<u64, StoreError>) {
    match forgot {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "forgot {what} of long ago"),
        Err(error) => tracing::warn!(%error, "{what} of long ago are not forgotten"),
    }
}
