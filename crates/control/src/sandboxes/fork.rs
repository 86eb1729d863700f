//! Making other sandboxes of what one is at one instant. Each child has a row before the agent is asked, once for all; then
//! each comes to be or fails by itself, as a sandbox that is created does.
//!
//! It runs in a task of its own. As with a creation, a caller that goes away before the children run has them unwound; the
//! source goes on as it was, whatever happens.

use std::collections::BTreeMap;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use wrenn_hostagent_api as rpc;
use wrenn_model::{ErrorKind, Fault, SandboxId, Status, Transition};
use wrenn_store::{Admitted, Sandbox};

use super::Sandboxes;
use super::create::broken;
use super::pause::{StepTime, steps};
use super::quota::beyond;
use crate::agent::Children;
use crate::derived::children;
use crate::fault::store_fault;
use crate::flight::Flight;
use crate::request::carried;
use crate::shape::within;

/// The children that a caller asks for. What is `None` is as the source has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewFork {
    /// What their ids follow from, where that was chosen before.
    pub planned: Option<SandboxId>,
    /// How many.
    pub count: u32,
    /// The caller's own labels of each.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds without activity after which `on_timeout` happens to a child.
    pub timeout_sec: Option<u32>,
}

/// What came of a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// Each child, in their order.
    pub children: Vec<Result<Sandbox, Fault>>,
    /// How long each step took on the source's part.
    pub steps: Vec<StepTime>,
    /// For how many microseconds the source stood still.
    pub frozen_micros: u64,
}

/// A child that is in the store, and is worked on here.
struct Child {
    row: Sandbox,
    _flight: Flight,
}

/// What came of the call for all children.
enum Told {
    /// What came of each.
    Each(Children, Box<rpc::ForkResponse>),
    /// The same of all.
    All(Fault),
    /// Nobody waits for it any more.
    Nobody,
}

impl Sandboxes {
    /// Makes children of a sandbox that runs or is paused. Answers when each runs, or has failed.
    ///
    /// # Errors
    /// `not_found`; `invalid_state` unless it runs or is paused; `invalid_request` beyond the host's bounds; and where no child
    /// came to be, what became of the first.
    pub async fn fork(&self, id: &SandboxId, new: NewFork) -> Result<Forked, Fault> {
        self.core.open_for_work()?;
        let gone = CancellationToken::new();
        let work = self.clone().divide(id.clone(), new, gone.clone());
        let task = self.core.tasks.spawn(carried(work));
        // Dropped with this future when the caller hangs up.
        let _caller = gone.drop_guard();
        task.await.unwrap_or_else(|error| Err(broken(&error)))
    }

    async fn divide(
        self,
        id: SandboxId,
        new: NewFork,
        gone: CancellationToken,
    ) -> Result<Forked, Fault> {
        let source = self.row(&id).await?;
        let timeout_sec = new.timeout_sec.unwrap_or(source.timeout_sec);
        within(
            "timeout_sec",
            timeout_sec,
            1,
            self.core.limits.max_timeout_sec,
        )?;
        self.room_on_disk(&source).await?;
        let (source, flight) = self.begin(&id, Transition::Forking).await?;
        let admitted = self.admit_all(&source, &new, timeout_sec).await;
        let told = self.ask(&source, &admitted, gone).await;
        let failed = match &told {
            Told::All(fault) => Some(fault.clone()),
            Told::Each(..) | Told::Nobody => None,
        };
        let (steps, frozen_micros) = match &told {
            Told::Each(_, answer) => (steps(answer.steps.clone()), answer.frozen_micros),
            Told::All(_) | Told::Nobody => (Vec::new(), 0),
        };
        let children = self.settle_all(admitted, told).await;
        drop(flight);
        self.released(source, failed.as_ref()).await;
        let forked = Forked {
            children,
            steps,
            frozen_micros,
        };
        match forked.children.first() {
            Some(Err(fault)) if forked.children.iter().all(Result::is_err) => Err(fault.clone()),
            _ => Ok(forked),
        }
    }

    /// Writes the rows of all children that the team may have. They are in the store in their order.
    async fn admit_all(
        &self,
        source: &Sandbox,
        new: &NewFork,
        timeout_sec: u32,
    ) -> Vec<Result<Child, Fault>> {
        let planned = new.planned.clone().unwrap_or_else(SandboxId::random);
        let now = self.core.store.now_ms();
        let ids = children(&planned, new.count).into_iter();
        let rows = ids.map(|id| child(source, id, new.metadata.as_ref(), timeout_sec, now));
        // Those that wait for the same commit share it.
        join_all(rows.map(|row| self.admit_child(row))).await
    }

    async fn admit_child(&self, row: Sandbox) -> Result<Child, Fault> {
        let flight = self.core.flights.begin(&row.id);
        let admitted = self.core.store().admit(&row).await;
        match admitted.map_err(|error| store_fault(&error))? {
            Admitted::Written => Ok(Child {
                row,
                _flight: flight,
            }),
            Admitted::Refused(exceeded) => Err(beyond(&row, exceeded)),
            Admitted::Taken => Err(Fault::new(
                ErrorKind::Conflict,
                format!("sandbox {} is there already", row.id),
                "ask again",
            )),
        }
    }

    /// Asks the agent for all that were admitted, as long as somebody waits for them.
    async fn ask(
        &self,
        source: &Sandbox,
        children: &[Result<Child, Fault>],
        gone: CancellationToken,
    ) -> Told {
        let asked: Vec<_> = children
            .iter()
            .flatten()
            .map(|it| message(&it.row))
            .collect();
        if asked.is_empty() {
            return Told::Each(Children::new(), Box::default());
        }
        tokio::select! {
            told = self.core.agent.fork(&source.id, source.memory, asked) => match told {
                Ok((children, answer)) => Told::Each(children, Box::new(answer)),
                Err(fault) => Told::All(fault),
            },
            () = gone.cancelled() => Told::Nobody,
        }
    }

    /// Writes what came of each child, all at once.
    async fn settle_all(
        &self,
        children: Vec<Result<Child, Fault>>,
        mut told: Told,
    ) -> Vec<Result<Sandbox, Fault>> {
        let settled = children.into_iter().map(|child| {
            let came_to = match (&child, &mut told) {
                (Ok(child), Told::Each(each, _)) => each.remove(child.row.id.as_str()),
                (_, Told::All(fault)) => Some(Err(fault.clone())),
                (_, Told::Each(..) | Told::Nobody) => None,
            };
            let nobody = matches!(told, Told::Nobody);
            async move {
                let Child { row, _flight } = child?;
                match came_to {
                    Some(Ok(seen)) => self.started(row, &seen, false).await,
                    Some(Err(fault)) => {
                        self.failed(row, &fault, false).await?;
                        Err(fault)
                    }
                    None => {
                        let reason = if nobody {
                            "its creator went away"
                        } else {
                            "the host agent did not say what came of it"
                        };
                        self.unwind(row, reason).await.map(|made| made.sandbox)
                    }
                }
            }
        });
        join_all(settled).await
    }

    /// The source is no longer forked. Where nobody knows, or it can't be written, the reconciler finds out.
    async fn released(&self, source: Sandbox, failed: Option<&Fault>) {
        let id = source.id.clone();
        let written = match failed {
            Some(fault) => self.undo(source, Transition::Forking, fault).await,
            None => self.over(source, Transition::Forking).await,
        };
        if let Err(fault) = written {
            tracing::info!(sandbox = %id, %fault, "its row does not say yet that its fork is over");
        }
    }
}

/// A child's row, as its source is but for what is its own.
fn child(
    source: &Sandbox,
    id: SandboxId,
    metadata: Option<&BTreeMap<String, String>>,
    timeout_sec: u32,
    now_ms: i64,
) -> Sandbox {
    Sandbox {
        id,
        parent_id: Some(source.id.clone()),
        metadata: metadata.unwrap_or(&source.metadata).clone(),
        timeout_sec,
        status: Status::Pending,
        transition: Some(Transition::Starting),
        status_reason: String::new(),
        guest_ip: String::new(),
        host_ip: String::new(),
        isolation: String::new(),
        vmm: String::new(),
        created_at_ms: now_ms,
        started_at_ms: None,
        last_active_at_ms: None,
        paused_at_ms: None,
        lost_since_ms: None,
        last_updated_ms: now_ms,
        version: 1,
        ..source.clone()
    }
}

fn message(row: &Sandbox) -> rpc::ForkChild {
    rpc::ForkChild {
        sandbox_id: row.id.to_string(),
        metadata: row.metadata.clone().into_iter().collect(),
        timeout_sec: row.timeout_sec,
        ..Default::default()
    }
}
