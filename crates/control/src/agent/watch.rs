//! What the agent tells by itself.

use std::time::Duration;

use futures::{Stream, stream};
use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, SandboxId};

use super::{AgentClient, SHORT, from_agent, unlimited, within};

/// After so long without a word the agent, or the way to it, is held for dead: it says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// What may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Anything.
    All,
    /// These.
    Of(Vec<SandboxId>),
}

impl AgentClient {
    /// Listens to what changes, from now on. It ends with the connection, or when nothing is heard any more.
    pub(crate) async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<Change, Fault>> + Send + use<>, Fault> {
        let lease = self.connections.lease();
        let request = rpc::WatchSandboxesRequest::default();
        let opened = lease
            .client()
            .watch_sandboxes_with_options(request, unlimited());
        let messages = within(SHORT, opened).await.map_err(from_agent)?;
        Ok(stream::try_unfold(
            (messages, lease),
            |(mut messages, lease)| async move {
                let message = within(SILENCE, messages.message())
                    .await
                    .map_err(from_agent)?;
                match message {
                    Some(message) => {
                        let change = read(message.to_owned_message());
                        Ok(Some((change, (messages, lease))))
                    }
                    None => match messages.error().cloned() {
                        Some(error) => Err(from_agent(error)),
                        None => Ok(None),
                    },
                }
            },
        ))
    }
}

fn read(message: rpc::WatchSandboxesResponse) -> Change {
    if message.all {
        return Change::All;
    }
    // What nobody can name is in no row either.
    let ids = message.sandbox_ids.iter().filter_map(|id| id.parse().ok());
    Change::Of(ids.collect())
}
