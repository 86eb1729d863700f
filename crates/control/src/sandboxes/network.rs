//! Putting a sandbox under another network policy: the agent does it, durably, and then its row follows. Where the row does
//! not, the reconciler sees to it: the agent's word holds.

use wrenn_model::{Fault, NetworkPolicy, SandboxId, Status};
use wrenn_store::Sandbox;

use super::create::broken;
use super::{Sandboxes, not_running, overtaken, unwritten};
use crate::agent::policy_of;
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
        let seen = self.explain(row.clone(), told).await?;
        let policy = policy_of(&seen).unwrap_or(policy);
        let changed = self.change(row, |row| {
            overtaken(row)?;
            row.network = policy.clone();
            Ok(true)
        });
        let done = format!("sandbox {id} has its new network policy");
        changed.await.map_err(|fault| unwritten(&done, fault))
    }
}
