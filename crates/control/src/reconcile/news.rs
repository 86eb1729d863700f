//! What the agent has told to have changed, until it is looked at.
//!
//! News only says where to look. What is to be done follows from the row and from what the agent has then, as for a sweep, so
//! that news which is lost, late or doubled costs time and nothing else; and a slow sweep finds what no news told of.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio::sync::Notify;
use wrenn_model::{ErrorKind, Fault, SandboxId};

use crate::agent::Change;
use crate::plane::Core;

/// Between two tries to listen.
const AGAIN: Duration = Duration::from_secs(1);
/// The same, where the agent tells nothing by itself.
const UPGRADED: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct News {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Debug, Default)]
struct State {
    listening: bool,
    all: bool,
    of: HashSet<SandboxId>,
}

impl News {
    /// Returns when there is something to look at, or may be.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    /// Whether the agent would tell of what changes.
    pub(super) fn is_listening(&self) -> bool {
        self.lock().listening
    }

    /// What there is to look at, once. Of what somebody here is at work on, it is told when that has ended: who works on it may not
    /// have seen what has happened since.
    pub(super) fn take(&self, is_busy: impl Fn(&SandboxId) -> bool) -> Option<Change> {
        let mut state = self.lock();
        let of: Vec<SandboxId> = state.of.extract_if(|id| !is_busy(id)).collect();
        if std::mem::take(&mut state.all) {
            return Some(Change::All);
        }
        (!of.is_empty()).then_some(Change::Of(of))
    }

    /// It is too early to look at these.
    pub(super) fn put_back(&self, ids: impl IntoIterator<Item = SandboxId>) {
        self.lock().of.extend(ids);
    }

    /// Whether there is something that was not told yet.
    pub(super) fn is_pending(&self) -> bool {
        let state = self.lock();
        state.all || !state.of.is_empty()
    }

    fn add(&self, change: Change) {
        let mut state = self.lock();
        match change {
            Change::All => state.all = true,
            Change::Of(ids) if ids.is_empty() => return,
            Change::Of(ids) => state.of.extend(ids),
        }
        drop(state);
        self.came.notify_one();
    }

    fn listen(&self, listening: bool) {
        self.lock().listening = listening;
        self.came.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens to the agent until the control plane closes.
pub(crate) async fn listen(core: Arc<Core>) {
    let closing = core.closing.clone();
    let listening = async {
        loop {
            let ended = follow(&core).await;
            core.news.listen(false);
            let again = match ended {
                // It is of a former version, until it is upgraded. The sweep goes on finding what changes.
                Err(fault) if fault.kind == ErrorKind::NotSupported => UPGRADED,
                Err(fault) => {
                    tracing::debug!(%fault, "the agent is not listened to");
                    AGAIN
                }
                Ok(()) => AGAIN,
            };
            tokio::time::sleep(again).await;
        }
    };
    tokio::select! {
        () = listening => {}
        () = closing.cancelled() => {}
    }
}

async fn follow(core: &Core) -> Result<(), Fault> {
    let mut changes = pin!(core.agent.watch().await?);
    while let Some(change) = changes.try_next().await? {
        // The first says that anything may have changed.
        core.news.add(change);
        core.news.listen(true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_busy_is_told_when_it_is_not_any_more() {
        let news = News::default();
        let (busy, idle) = (SandboxId::random(), SandboxId::random());
        assert_eq!(news.take(|_| false), None);
        news.add(Change::Of(vec![busy.clone(), idle.clone()]));
        news.add(Change::Of(vec![idle.clone()]));
        assert_eq!(news.take(|id| *id == busy), Some(Change::Of(vec![idle])));
        assert!(news.is_pending());
        assert_eq!(news.take(|_| false), Some(Change::Of(vec![busy.clone()])));
        news.put_back([busy.clone()]);
        news.add(Change::All);
        assert_eq!(news.take(|_| true), Some(Change::All));
        assert_eq!(news.take(|_| false), Some(Change::Of(vec![busy])));
        assert!(!news.is_pending());
    }
}
