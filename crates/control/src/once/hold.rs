//! What this server has in hand, and says now and then that it has, all of it in one statement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use wrenn_store::{Once, Store};

/// How often a server says that it is still at work on its calls.
const HELD_EVERY: Duration = Duration::from_secs(5);

/// A call's team and key.
type Name = (String, String);

/// How often each call is held here: who only tries to take it holds it as well.
type Names = Mutex<HashMap<Name, usize>>;

/// The calls that this server has in hand.
#[derive(Debug)]
pub(super) struct Holds {
    names: Arc<Names>,
    _saying: AbortOnDropHandle<()>,
}

/// A call in hand, for as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    names: Arc<Names>,
    name: Name,
}

impl Holds {
    pub(super) fn start(store: Store, holder: Arc<str>) -> Arc<Self> {
        let names = Arc::<Names>::default();
        let saying = tokio::spawn(say(store, holder, Arc::downgrade(&names)));
        Arc::new(Self {
            names,
            _saying: AbortOnDropHandle::new(saying),
        })
    }

    /// Before it is taken in the store: a call that the store has as this server's, and nobody holds here, is a dead one's.
    pub(super) fn hold(&self, call: &Once) -> Held {
        let name = (call.team.clone(), call.key.clone());
        *lock(&self.names).entry(name.clone()).or_default() += 1;
        Held {
            names: self.names.clone(),
            name,
        }
    }

    pub(super) fn has(&self, call: &Once) -> bool {
        let name = (call.team.clone(), call.key.clone());
        lock(&self.names).contains_key(&name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut names = lock(&self.names);
        if let Some(count) = names.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.name);
            }
        }
    }
}

/// Says it for as long as anybody may have something in hand.
async fn say(store: Store, holder: Arc<str>, names: Weak<Names>) {
    loop {
        tokio::time::sleep(HELD_EVERY).await;
        let Some(names) = names.upgrade() else {
            return;
        };
        let names: Vec<_> = lock(&names).keys().cloned().collect();
        if let Err(error) = store.hold_once(&holder, &names, store.now_ms()).await {
            tracing::debug!(%error, "calls are not said to be held");
        }
    }
}

fn lock(names: &Names) -> MutexGuard<'_, HashMap<Name, usize>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}
