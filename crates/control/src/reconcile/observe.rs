//! What the agent has, looked at no more often than somebody needs to know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, SandboxId};

use crate::agent::AgentClient;

/// What the agent had, of those that it was asked for, at some moment.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) sandboxes: HashMap<SandboxId, rpc::Sandbox>,
    /// When the question was asked.
    asked: Instant,
}

impl Observation {
    /// What the agent has of these now. Of others it says nothing.
    pub(crate) async fn of(agent: &AgentClient, ids: &[SandboxId]) -> Result<Self, Fault> {
        let asked = Instant::now();
        let sandboxes = agent.list(ids).await?;
        Ok(Self { sandboxes, asked })
    }
}

/// The last observation of everything. However many ask, the agent is asked once.
#[derive(Debug, Default)]
pub(crate) struct Observer(Mutex<Option<Arc<Observation>>>);

impl Observer {
    /// An observation no older than this.
    pub(crate) async fn look(
        &self,
        agent: &AgentClient,
        max_age: Duration,
    ) -> Result<Arc<Observation>, Fault> {
        let wanted_since = Instant::now();
        let mut last = self.0.lock().await;
        // Those who waited for the lock take what the one before them has just learned.
        if let Some(seen) = &*last
            && (seen.asked >= wanted_since || seen.asked.elapsed() < max_age)
        {
            return Ok(Arc::clone(seen));
        }
        let asked = Instant::now();
        let sandboxes = agent.list(&[]).await?;
        let seen = Arc::new(Observation { sandboxes, asked });
        *last = Some(Arc::clone(&seen));
        Ok(seen)
    }
}
