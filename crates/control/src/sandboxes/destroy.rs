//! Unmaking a sandbox: the wish is written first, so that it comes true whoever crashes in between.

use wrenn_model::{ErrorKind, Fault, SandboxId, Status, Transition};
use wrenn_store::Sandbox;

use super::create::broken;
use super::{Sandboxes, unwritten};
use crate::fault::store_fault;
use crate::reconcile::rules;
use crate::request::carried;

/// What became of a wish to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// Nothing of it exists any more.
    Gone,
    /// Its host cannot be reached. The reconciler finishes it.
    Accepted,
}

impl Sandboxes {
    /// Unmakes a sandbox, whatever its status. One that has stopped already is gone.
    ///
    /// # Errors
    /// `not_found`, `db_error`, or what the agent says; a wish once written stays one.
    pub async fn delete(&self, id: &SandboxId) -> Result<Deleted, Fault> {
        self.core.open_for_work()?;
        let work = self.clone().destroy(id.clone());
        self.core
            .tasks
            .spawn(carried(work))
            .await
            .unwrap_or_else(|error| Err(broken(&error)))
    }

    async fn destroy(self, id: SandboxId) -> Result<Deleted, Fault> {
        let _flight = self.core.flights.begin(&id);
        let row = self.row(&id).await?;
        let Some(row) = self.mark(row, rules::DESTROYED).await? else {
            return Ok(Deleted::Gone);
        };
        match self.core.agent.destroy(&id).await {
            Ok(()) => {
                self.bury(&row).await?;
                Ok(Deleted::Gone)
            }
            Err(fault) if matches!(fault.kind, ErrorKind::Unavailable | ErrorKind::Timeout) => {
                tracing::info!(sandbox = %id, %fault, "to be destroyed when its host is back");
                Ok(Deleted::Accepted)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Writes the wish, and why; one that is there already stays. `None` when the sandbox has stopped already.
    pub(super) async fn mark(&self, row: Sandbox, reason: &str) -> Result<Option<Sandbox>, Fault> {
        let marked = self.change(row, |row| {
            if row.status == Status::Stopped || row.transition == Some(Transition::Stopping) {
                return Ok(false);
            }
            row.transition = Some(Transition::Stopping);
            reason.clone_into(&mut row.status_reason);
            Ok(true)
        });
        Ok(Some(marked.await?).filter(|row| row.status != Status::Stopped))
    }

    /// Writes that nothing of it exists any more. Where somebody else has written, it was the same.
    pub(super) async fn bury(&self, row: &Sandbox) -> Result<(), Fault> {
        let mut gone = rules::stopped(row, &row.status_reason, self.core.store.now_ms());
        let written = self.core.store().update(&mut gone).await;
        let done = format!("sandbox {} is destroyed", row.id);
        written
            .map(drop)
            .map_err(|error| unwritten(&done, store_fault(&error)))
    }
}
