//! What the agent has, looked at no more often than somebody needs to know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, SandboxId};
use wrenn_store::Sandbox;

use crate::agent::AgentClient;
use crate::clock::now_ms;

/// All that the agent had at some moment.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) sandboxes: HashMap<SandboxId, rpc::Sandbox>,
    /// When the question was asked.
    asked: Instant,
    asked_ms: i64,
}

/// The last observation. However many ask, the agent is asked once.
#[derive(Debug, Default)]
pub(crate) struct Observer(Mutex<Option<Arc<Observation>>>);

impl Observation {
    /// Whether it is younger than the row. An older one says nothing about it.
    pub(crate) fn speaks_of(&self, row: &Sandbox) -> bool {
        // A row from the future was written before the clock was set back.
        row.last_updated_ms < self.asked_ms || row.last_updated_ms > now_ms()
    }
}

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
        let (asked, asked_ms) = (Instant::now(), now_ms());
        let sandboxes = agent.list().await?;
        let seen = Arc::new(Observation {
            sandboxes,
            asked,
            asked_ms,
        });
        *last = Some(Arc::clone(&seen));
        Ok(seen)
    }
}
