//! How the task puts its sandbox under another network policy: recorded, then in force, then told.
//!
//! | what goes wrong | what holds afterwards |
//! |---|---|
//! | the record is not written | the policy that it had |
//! | the rules are not taken | the policy that it had: the kernel takes all of them or none, and the record is written back |
//! | the agent ends between the two | the new one: recovery writes the rules that the record says before it answers anybody |

use wrenn_model::lifecycle::State;
use wrenn_model::{ErrorKind, Fault, NetworkPolicy};
use wrenn_network::Refused;

use super::Sandbox;
use crate::failure::{Failed, StepError, stepping};

/// The steps of a change of policy, by their failpoints.
pub const NETWORK: &[&str] = &["network.record", "network.apply"];

impl Sandbox {
    /// Asked for another policy. Without a virtual machine it is under it from the next one on.
    pub(super) async fn set_network(&mut self, policy: NetworkPolicy) -> Result<(), Fault> {
        self.host.network.check(&policy).map_err(refused)?;
        let resumable = self.record.pause.is_some();
        let runs = match self.record.state {
            State::Running { .. } => true,
            State::Paused => false,
            State::Error(_) if resumable => false,
            _ => return Err(self.refusal("be put under another network policy")),
        };
        let former = std::mem::replace(&mut self.record.spec.network, policy);
        let (metrics, enforced) = (&self.host.metrics, self.enforce(runs));
        if let Err(error) = metrics.timed("network", |error| error.kind, enforced).await {
            tracing::warn!(%error, "the network policy was not changed");
            self.record.spec.network = former;
            if let Err(error) = self.write().await {
                tracing::error!(
                    error = error.reason,
                    "the former network policy was not recorded again"
                );
            }
            return Err(error.fault("the sandbox keeps the network policy that it had"));
        }
        tracing::info!(network = ?self.record.spec.network, "network policy");
        self.announce();
        Ok(())
    }

    /// Records the policy, and puts what it has of a network under it.
    async fn enforce(&self, runs: bool) -> Result<(), StepError> {
        self.changing(NETWORK[0], self.write()).await?;
        let Some(vm) = self.record.vm.as_ref().filter(|_| runs) else {
            return Ok(());
        };
        let change = self
            .host
            .network
            .change(&vm.slot, &self.record.spec.network);
        self.changing(NETWORK[1], async { Ok(change.await?) }).await
    }

    async fn write(&self) -> Result<(), Failed> {
        let id = self.record.spec.id.as_str();
        Ok(self.journal.put(id, &self.record).await?)
    }

    async fn changing(
        &self,
        point: &'static str,
        work: impl Future<Output = Result<(), Failed>>,
    ) -> Result<(), StepError> {
        let limit = Some(self.host.step_limit(self.record.spec.memory));
        let parts = self.end.shared.parts();
        stepping(&self.host, point, point, Some(&parts), limit, work).await?;
        Ok(())
    }
}

/// What to say about a policy that this host does not take.
pub(crate) fn refused(refused: Refused) -> Fault {
    let remedy = match refused {
        Refused::Protected(_) => "leave it out of `allow`",
        Refused::NotOpened(_) => {
            "leave it out of `allow`, or have the host's operator start Wrenn with --allow-private and this range"
        }
    };
    Fault::new(ErrorKind::InvalidRequest, refused.to_string(), remedy)
}
