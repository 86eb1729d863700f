//! Putting a sandbox under another network policy: the agent does it, durably, and then its row follows. Where the row does
//! not, the reconciler sees to it: the agent's word holds.

use wrenn_model::{ErrorKind, Fault, NetworkPolicy, SandboxId, Status, Transition};
use wrenn_store::Sandbox;

use super::create::broken;
use super::{Sandboxes, not_running, store_fault};
use crate::agent::policy_of;
use crate::clock::now_ms;
use crate::request::carried;

impl Sandboxes {
    /// Puts a sandbox under another policy, in the place of the one that it has. One that runs is under it when this
    /// answers, one that is paused from its resume on. It goes on when its caller goes away.
    ///
    /// # Errors
    /// `not_found`; `invalid_state` unless it runs, or is paused, or in error after a pause; `invalid_request` where the
    /// host does not take the policy; or what the agent says: then it keeps the one that it had.
    pub async fn set_network(
        &self,
        id: &SandboxId,
        policy: NetworkPolicy,
    ) -> Result<Sandbox, Fault> {
        self.core.open_for_work()?;
        let work = self.clone().put_under(id.clone(), policy);
        let task = self.core.tasks.spawn(carried(work));
        task.await.unwrap_or_else(|error| Err(broken(&error)))
    }

    async fn put_under(self, id: SandboxId, policy: NetworkPolicy) -> Result<Sandbox, Fault> {
        let row = self.row(&id).await?;
        let resumable = row.status == Status::Error && row.paused_at_ms.is_some();
        if !resumable && !matches!(row.status, Status::Running | Status::Paused) {
            return Err(not_running(&row));
        }
        let told = self.core.agent.set_network(&id, row.memory, &policy).await;
        let seen = self.explain(row, told).await?;
        let policy = policy_of(&seen).unwrap_or(policy);
        loop {
            let mut row = self.row(&id).await?;
            if row.status == Status::Stopped || row.transition == Some(Transition::Stopping) {
                return Err(Fault::new(
                    ErrorKind::Conflict,
                    format!("sandbox {id} was destroyed meanwhile"),
                    "create another",
                ));
            }
            row.network = policy.clone();
            row.last_updated_ms = now_ms();
            let written = self.core.store.update(&mut row).await;
            if written.map_err(|error| store_fault(&error))? {
                return Ok(row);
            }
            // Somebody else has written in between: look again.
        }
    }
}
