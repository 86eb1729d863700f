//! Pausing and resuming: what is under way is written first, then the agent is asked, then what came of it is written.
//!
//! Either runs in a task of its own: a caller that goes away changes nothing. A second wish for the same, while the first
//! is under way, joins it, and both callers get the outcome; after it, the second is refused.

use wrenn_hostagent_api as rpc;
use wrenn_model::{ErrorKind, Fault, SandboxId, Status, Transition};
use wrenn_store::{Admitted, Sandbox};

use super::create::broken;
use super::quota::beyond;
use super::{Sandboxes, not_running, overtaken, unwritten};
use crate::fault::store_fault;
use crate::flight::Flight;
use crate::reconcile::rules;
use crate::request::carried;

/// A sandbox after its pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// As it is now.
    pub sandbox: Sandbox,
    /// How long each step took.
    pub steps: Vec<StepTime>,
    /// Bytes of memory that were written; `None` when the agent had paused it before.
    pub memory_bytes: Option<u64>,
    /// Bytes that its disk layer takes; `None` when the agent had paused it before.
    pub disk_bytes: Option<u64>,
}

/// A sandbox after its resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// As it is now.
    pub sandbox: Sandbox,
    /// How long each step took.
    pub steps: Vec<StepTime>,
}

/// How long a step took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepTime {
    /// The agent's name for it.
    pub step: String,
    /// Microseconds.
    pub micros: u64,
}

impl Sandboxes {
    /// Pauses a running sandbox. Answers when its pause is durable.
    ///
    /// # Errors
    /// `not_found`; `invalid_state` unless it runs; or what the agent says: then it runs on.
    pub async fn pause(&self, id: &SandboxId) -> Result<Paused, Fault> {
        self.core.open_for_work()?;
        let work = self.clone().put_aside(id.clone());
        let task = self.core.tasks.spawn(carried(work));
        task.await.unwrap_or_else(|error| Err(broken(&error)))
    }

    /// Resumes a sandbox that is paused, or in error after a pause. With `cold` it boots from the disk of that pause.
    ///
    /// # Errors
    /// `not_found`; `invalid_state` where there is no pause to go back to, or it runs; `conflict` where the pause does
    /// not fit the host; or what the agent says: then it stays as it was.
    pub async fn resume(&self, id: &SandboxId, cold: bool) -> Result<Resumed, Fault> {
        self.core.open_for_work()?;
        let work = self.clone().take_up(id.clone(), cold);
        let task = self.core.tasks.spawn(carried(work));
        task.await.unwrap_or_else(|error| Err(broken(&error)))
    }

    pub(super) async fn put_aside(self, id: SandboxId) -> Result<Paused, Fault> {
        let (row, flight) = self.begin(&id, Transition::Pausing).await?;
        let told = self.core.agent.pause(&id, row.memory).await;
        let (sandbox, answer) = self.end(row, Transition::Pausing, flight, told).await?;
        Ok(Paused {
            sandbox,
            steps: steps(answer.steps),
            memory_bytes: answer.memory_bytes,
            disk_bytes: answer.disk_bytes,
        })
    }

    async fn take_up(self, id: SandboxId, cold: bool) -> Result<Resumed, Fault> {
        let (row, flight) = self.begin(&id, Transition::Resuming).await?;
        let told = self.core.agent.resume(&id, row.memory, cold).await;
        let (sandbox, answer) = self.end(row, Transition::Resuming, flight, told).await?;
        Ok(Resumed {
            sandbox,
            steps: steps(answer.steps),
        })
    }

    /// Writes what is under way, if the sandbox allows it; joins the same that is under way already.
    pub(super) async fn begin(
        &self,
        id: &SandboxId,
        transition: Transition,
    ) -> Result<(Sandbox, Flight), Fault> {
        loop {
            let mut row = self.row(id).await?;
            if !allows(&row, transition) {
                // The agent may have paused or resumed it by itself since.
                row = self.seen(row).await?;
            }
            if !allows(&row, transition) {
                return Err(refusal(&row, transition));
            }
            let flight = self.core.flights.begin(id);
            if row.transition == Some(transition) {
                return Ok((row, flight));
            }
            row.transition = Some(transition);
            row.last_updated_ms = self.core.store.now_ms();
            let store = self.core.store();
            let written = match transition {
                Transition::Resuming => store.wake(&mut row).await,
                _ => store.update(&mut row).await.map(|written| match written {
                    true => Admitted::Written,
                    false => Admitted::Taken,
                }),
            };
            match written.map_err(|error| store_fault(&error))? {
                Admitted::Written => return Ok((row, flight)),
                Admitted::Refused(exceeded) => return Err(beyond(&row, exceeded)),
                Admitted::Taken => {}
            }
            // Somebody else has written in between: look again.
        }
    }

    /// Writes what came of it.
    async fn end<T>(
        &self,
        row: Sandbox,
        transition: Transition,
        flight: Flight,
        told: Result<(rpc::Sandbox, T), Fault>,
    ) -> Result<(Sandbox, T), Fault> {
        match told {
            Ok((seen, answer)) => {
                let done = format!("sandbox {} is {}", row.id, seen.status);
                let row = self.follow(row, &seen).await;
                Ok((row.map_err(|fault| unwritten(&done, fault))?, answer))
            }
            Err(fault) => {
                tracing::info!(sandbox = %row.id, transition = transition.as_str(), %fault, "did not come to its end");
                drop(flight);
                self.undo(row, transition, &fault).await?;
                Err(fault)
            }
        }
    }

    /// The row as the agent has its sandbox now, unless somebody wants it gone.
    async fn follow(&self, row: Sandbox, seen: &rpc::Sandbox) -> Result<Sandbox, Fault> {
        let followed = self.change(row, |row| {
            overtaken(row)?;
            row.status = Status::from_name(&seen.status).unwrap_or(row.status);
            row.transition = None;
            rules::refresh(row, seen);
            Ok(true)
        });
        followed.await
    }

    /// Nothing is under way any more. Where nobody knows, the reconciler finds out.
    ///
    /// # Errors
    /// `conflict` where a destroy overtook it, whatever the agent called that.
    pub(super) async fn undo(
        &self,
        row: Sandbox,
        transition: Transition,
        fault: &Fault,
    ) -> Result<(), Fault> {
        if matches!(fault.kind, ErrorKind::Unavailable | ErrorKind::Timeout) {
            return Ok(());
        }
        self.over(row, transition).await
    }

    /// Writes that this is not under way any more; the sandbox is as it was.
    pub(super) async fn over(&self, row: Sandbox, transition: Transition) -> Result<(), Fault> {
        let undone = self.change(row, |row| {
            overtaken(row)?;
            if row.transition != Some(transition) {
                return Ok(false);
            }
            row.transition = None;
            Ok(true)
        });
        undone.await.map(drop)
    }
}

/// Whether this may begin, or be joined.
fn allows(row: &Sandbox, transition: Transition) -> bool {
    let free = row
        .transition
        .is_none_or(|under_way| under_way == transition);
    free && match transition {
        Transition::Pausing => row.status == Status::Running,
        Transition::Resuming => match row.status {
            Status::Paused => true,
            Status::Error => row.paused_at_ms.is_some(),
            _ => false,
        },
        Transition::Snapshotting | Transition::Forking => {
            matches!(row.status, Status::Running | Status::Paused)
        }
        Transition::Starting | Transition::Stopping => false,
    }
}

fn refusal(row: &Sandbox, transition: Transition) -> Fault {
    match (row.transition, transition, row.status) {
        (Some(under_way), ..) => Fault::new(
            ErrorKind::InvalidState,
            format!("sandbox {} is {}", row.id, under_way.as_str()),
            "wait until it has no transition, and look at its status then",
        ),
        (None, Transition::Resuming, Status::Running) => Fault::new(
            ErrorKind::InvalidState,
            format!("sandbox {} is running", row.id),
            "use it: there is nothing to resume",
        ),
        (None, Transition::Resuming, Status::Error) => Fault::new(
            ErrorKind::InvalidState,
            format!(
                "sandbox {} has no pause to go back to: {}",
                row.id, row.status_reason
            ),
            "create another with POST /v1/sandboxes",
        ),
        _ => not_running(row),
    }
}

pub(super) fn steps(steps: Vec<rpc::StepTime>) -> Vec<StepTime> {
    let one = |step: rpc::StepTime| StepTime {
        step: step.step,
        micros: step.micros,
    };
    steps.into_iter().map(one).collect()
}
