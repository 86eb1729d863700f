//! What the agent has.

use std::collections::HashMap;

use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, SandboxId};

use crate::agent::AgentClient;

/// What the agent had, of those that it was asked for, at some moment.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) sandboxes: HashMap<SandboxId, rpc::Sandbox>,
}

impl Observation {
    /// All that the agent has now.
    pub(crate) async fn all(agent: &AgentClient) -> Result<Self, Fault> {
        let sandboxes = agent.list(&[]).await?;
        Ok(Self { sandboxes })
    }

    /// What the agent has of these now. Of others it says nothing.
    pub(crate) async fn of(agent: &AgentClient, ids: &[SandboxId]) -> Result<Self, Fault> {
        // Asked for none, the agent would tell of all.
        let sandboxes = match ids {
            [] => HashMap::new(),
            ids => agent.list(ids).await?,
        };
        Ok(Self { sandboxes })
    }
}
