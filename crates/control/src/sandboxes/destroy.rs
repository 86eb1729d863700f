//! Unmaking a sandbox: the wish is written first, so that it comes true whoever crashes in between.

use wrenn_model::{ErrorKind, Fault, SandboxId, Status, Transition};
use wrenn_store::Sandbox;

use super::create::broken;
use super::{Sandboxes, store_fault};
use crate::clock::now_ms;
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
        let Some(row) = self.mark(&id).await? else {
            return Ok(Deleted::Gone);
        };
        match self.core.agent.destroy(&id).await {
            Ok(()) => {
                let mut gone = rules::stopped(&row, &row.status_reason, now_ms());
                // Another delete may have written it first.
                self.core
                    .store
                    .update(&mut gone)
                    .await
                    .map_err(|error| store_fault(&error))?;
                Ok(Deleted::Gone)
            }
            Err(fault) if matches!(fault.kind, ErrorKind::Unavailable | ErrorKind::Timeout) => {
                tracing::info!(sandbox = %id, %fault, "to be destroyed when its host is back");
                Ok(Deleted::Accepted)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Writes the wish. `None` when the sandbox has stopped already.
    async fn mark(&self, id: &SandboxId) -> Result<Option<Sandbox>, Fault> {
        loop {
            let mut row = self.row(id).await?;
            if row.status == Status::Stopped {
                return Ok(None);
            }
            if row.transition == Some(Transition::Stopping) {
                return Ok(Some(row));
            }
            row.transition = Some(Transition::Stopping);
            rules::DESTROYED.clone_into(&mut row.status_reason);
            row.last_updated_ms = now_ms();
            if self
                .core
                .store
                .update(&mut row)
                .await
                .map_err(|error| store_fault(&error))?
            {
                return Ok(Some(row));
            }
            // Somebody else has written in between: look again.
        }
    }
}
