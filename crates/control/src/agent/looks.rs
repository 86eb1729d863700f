//! Looks at single sandboxes. Those that come while others are on their way to the agent are asked for together: a call costs
//! what a call costs, and does not ask for how many.
//!
//! Nobody waits for company, and nobody is told what was seen before they asked.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, SandboxId};

use super::{AgentClient, SHORT, from_agent, within};
use crate::fault::stopping;

/// The most sandboxes of a call.
const GROUP: usize = 256;
/// Calls that are on their way at a time: one that takes long does not hold up all who come later.
const AT_ONCE: usize = 2;

type Seen = Result<Option<rpc::Sandbox>, Fault>;

/// The queue of looks.
#[derive(Debug)]
pub(crate) struct Looks(mpsc::Sender<Look>);

/// One that waits for its turn.
#[derive(Debug)]
struct Look {
    id: SandboxId,
    answer: oneshot::Sender<Seen>,
}

impl Looks {
    /// Asks this agent, until the control plane closes.
    pub(crate) fn start(
        agent: AgentClient,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(GROUP);
        let asking = ask_on(agent, waiting);
        tasks.spawn(async move { closing.run_until_cancelled(asking).await });
        Self(queue)
    }

    /// What the agent has of this sandbox now.
    ///
    /// # Errors
    /// What the agent says, or why it says nothing; `unavailable` once the control plane closes.
    pub(crate) async fn find(&self, id: &SandboxId) -> Seen {
        let (answer, answered) = oneshot::channel();
        let id = id.clone();
        let told = async {
            let queued = self.0.send(Look { id, answer }).await;
            Ok(match queued {
                Ok(()) => answered.await.unwrap_or_else(|_| Err(stopping())),
                Err(_) => Err(stopping()),
            })
        };
        // With its turn: behind an agent that hangs the queue hardly moves.
        within(SHORT, told).await.map_err(from_agent)?
    }
}

async fn ask_on(agent: AgentClient, mut waiting: mpsc::Receiver<Look>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    // Nobody closes it.
    while let Ok(turn) = Arc::clone(&turns).acquire_owned().await {
        let mut group = Vec::new();
        if waiting.recv_many(&mut group, GROUP).await == 0 {
            return;
        }
        // Who has stopped waiting wants to know nothing.
        group.retain(|look| !look.answer.is_closed());
        let agent = agent.clone();
        tokio::spawn(async move {
            let _turn = turn;
            ask(&agent, group).await;
        });
    }
}

async fn ask(agent: &AgentClient, group: Vec<Look>) {
    let ids: Vec<SandboxId> = group.iter().map(|look| look.id.clone()).collect();
    let seen = agent.some(&ids).await;
    for Look { id, answer } in group {
        let told = match &seen {
            Ok(seen) => Ok(seen.get(&id).cloned()),
            Err(fault) => Err(fault.clone()),
        };
        // It may have stopped waiting.
        drop(answer.send(told));
    }
}
