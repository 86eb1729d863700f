//! Which sandboxes have changed, told to whoever listens. It is told by id: what became of one is looked up, so that it does not
//! matter how late the news comes or whether two have become one.

use std::time::Duration;

use connectrpc::ConnectError;
use futures::{Stream, stream};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{self, Receiver};
use tokio_util::sync::CancellationToken;
use wrenn_hostagent_api as rpc;
use wrenn_model::SandboxId;

/// How many changes a listener may be behind before it is told that anything may have changed.
const BEHIND: usize = 1024;
/// The most ids in a message.
const MESSAGE: usize = 256;
/// How often a listener hears something, so that it knows that it still would.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug)]
pub(crate) struct News {
    changes: broadcast::Sender<SandboxId>,
    ended: CancellationToken,
}

impl Default for News {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(BEHIND),
            ended: CancellationToken::new(),
        }
    }
}

impl News {
    /// This one has changed, come or gone.
    pub(crate) fn tell(&self, id: &SandboxId) {
        // It is nobody's fault that nobody listens.
        drop(self.changes.send(id.clone()));
    }

    /// Sends the listeners away: they would keep an agent that wants to end.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// What is told from now on, after one message that says `all`.
    pub(crate) fn follow(
        &self,
    ) -> impl Stream<Item = Result<rpc::WatchSandboxesResponse, ConnectError>> + Send + use<> {
        let (changes, ended) = (self.changes.subscribe(), self.ended.clone());
        stream::unfold((changes, true), move |(mut changes, first)| {
            let ended = ended.clone();
            async move {
                let message = tokio::select! {
                    biased;
                    () = ended.cancelled() => return None,
                    message = next(&mut changes, first) => message?,
                };
                Some((Ok(message), (changes, false)))
            }
        })
    }
}

async fn next(
    changes: &mut Receiver<SandboxId>,
    first: bool,
) -> Option<rpc::WatchSandboxesResponse> {
    let mut message = rpc::WatchSandboxesResponse {
        all: first,
        ..Default::default()
    };
    if first {
        return Some(message);
    }
    match tokio::time::timeout(SIGN_OF_LIFE, changes.recv()).await {
        Ok(Ok(id)) => message.sandbox_ids.push(id.to_string()),
        Ok(Err(RecvError::Lagged(_))) => message.all = true,
        Ok(Err(RecvError::Closed)) => return None,
        Err(_) => return Some(message),
    }
    while message.sandbox_ids.len() < MESSAGE {
        match changes.try_recv() {
            Ok(id) => message.sandbox_ids.push(id.to_string()),
            Err(TryRecvError::Lagged(_)) => message.all = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    message.sandbox_ids.sort_unstable();
    message.sandbox_ids.dedup();
    Some(message)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_listener_hears_of_each_once_and_that_nothing_happens() {
        let news = News::default();
        let (first, second) = (SandboxId::random(), SandboxId::random());
        news.tell(&first);
        let mut told = std::pin::pin!(news.follow());
        assert!(told.next().await.unwrap().unwrap().all);
        for id in [&first, &second, &first] {
            news.tell(id);
        }
        let message = told.next().await.unwrap().unwrap();
        let mut both = [first.to_string(), second.to_string()];
        both.sort();
        assert_eq!(
            (message.sandbox_ids.as_slice(), message.all),
            (&both[..], false)
        );
        let begun = tokio::time::Instant::now();
        assert_eq!(
            told.next().await.unwrap().unwrap(),
            rpc::WatchSandboxesResponse::default()
        );
        assert_eq!(begun.elapsed(), SIGN_OF_LIFE);
        news.end();
        assert!(told.next().await.is_none());
    }

    #[tokio::test]
    async fn who_is_too_far_behind_is_told_to_look_at_everything() {
        let news = News::default();
        let mut told = std::pin::pin!(news.follow());
        assert!(told.next().await.unwrap().unwrap().all);
        for _ in 0..=BEHIND {
            news.tell(&SandboxId::random());
        }
        assert!(told.next().await.unwrap().unwrap().all);
    }
}
