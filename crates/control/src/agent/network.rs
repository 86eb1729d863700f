//! Network policies in the agent's words and in ours.

use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, MiB, NetworkPolicy, SandboxId, Subnet};

use super::{AgentClient, SHORT, from_agent, moving, options, unnamed, within};

impl AgentClient {
    /// Puts a sandbox with so much memory under another policy, once what is under way with it has ended.
    pub(crate) async fn set_network(
        &self,
        id: &SandboxId,
        memory: MiB,
        policy: &NetworkPolicy,
    ) -> Result<rpc::Sandbox, Fault> {
        let lease = self.connections.lease();
        let request = rpc::SetNetworkRequest {
            sandbox_id: id.to_string(),
            network: to_message(policy).into(),
            ..Default::default()
        };
        let answer = within(
            SHORT + moving(memory),
            lease.client().set_network_with_options(request, options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        answer
            .sandbox
            .into_option()
            .ok_or_else(|| unnamed("changed"))
    }
}

/// A policy as it travels.
pub(crate) fn to_message(policy: &NetworkPolicy) -> rpc::NetworkPolicy {
    let texts = |ranges: &[Subnet]| ranges.iter().map(Subnet::to_string).collect();
    rpc::NetworkPolicy {
        internet: policy.internet,
        allow: texts(&policy.allow),
        deny: texts(&policy.deny),
        ..Default::default()
    }
}

/// What the agent says that a sandbox is under. `None` when it does not say, or nothing that makes sense.
pub(crate) fn from_message(sandbox: &rpc::Sandbox) -> Option<NetworkPolicy> {
    let message = sandbox.network.as_option()?;
    let ranges = |texts: &[String]| -> Option<Vec<Subnet>> {
        texts.iter().map(|text| text.parse().ok()).collect()
    };
    Some(NetworkPolicy {
        internet: message.internet,
        allow: ranges(&message.allow)?,
        deny: ranges(&message.deny)?,
    })
}
