//! The newest events, read once for all who follow them.
//!
//! Who writes an event here is heard at once; what other servers write is looked for every second. Whoever is further behind than
//! what is kept here reads the store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use wrenn_store::{Event, EventFilter, Store, StoreError};

/// How soon what other servers write is told here.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at what is written here, so that many writes are told at once.
const PACE: Duration = Duration::from_millis(5);
/// How many events are kept.
const KEPT: usize = 1024;

/// The end of the history, as it is told to who follows.
#[derive(Debug, Default, Clone)]
pub(crate) struct End {
    /// The number of the newest event.
    pub(crate) newest: i64,
    /// The last events, without holes, up to the newest.
    recent: Arc<VecDeque<Arc<Event>>>,
    /// The last time that the history went back.
    pub(crate) restored: Restored,
}

/// The database was restored under us: of what had been told, events are missing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restored {
    /// How often.
    times: u64,
    /// The number of the newest event that there was then.
    pub(crate) newest: i64,
}

/// Tells the end of the history to who follows it.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    end: watch::Sender<End>,
    joined: Notify,
    /// The greatest number that anybody here has seen of this database.
    seen: AtomicI64,
}

impl Tail {
    /// What is told from now on.
    pub(crate) fn follow(&self) -> watch::Receiver<End> {
        let told = self.end.subscribe();
        self.joined.notify_one();
        told
    }

    /// This is the number of an event that was told.
    pub(crate) fn saw(&self, newest: i64) {
        self.seen.fetch_max(newest, Ordering::Relaxed);
    }

    /// Brings the end up to date.
    async fn read(&self, store: &Store) -> Result<(), StoreError> {
        // Before the database is: what others see meanwhile may be newer.
        let seen = self.seen.load(Ordering::Relaxed);
        let newest = store.newest_event().await?;
        let mut end = self.end.borrow().clone();
        let restored = newest < seen;
        if newest == end.newest && !restored {
            return Ok(());
        }
        if restored {
            end.restored = Restored {
                times: end.restored.times + 1,
                newest,
            };
            self.seen.store(newest, Ordering::Relaxed);
        } else {
            self.saw(newest);
        }
        if restored || newest < end.newest || newest - end.newest > KEPT as i64 {
            // After a while without followers, or in a database that was restored.
            end.newest = newest;
            end.recent = Arc::default();
        } else {
            let filter = EventFilter {
                after: end.newest,
                up_to: newest,
                sandbox: None,
                owner: None,
                limit: u32::MAX,
            };
            let new = store.events(&filter).await?;
            let recent = Arc::make_mut(&mut end.recent);
            recent.extend(new.into_iter().map(Arc::new));
            recent.drain(..recent.len().saturating_sub(KEPT));
            end.newest = newest;
        }
        self.end.send_replace(end);
        Ok(())
    }
}

impl End {
    /// What comes after this number; `None` where that is not kept here any more.
    pub(crate) fn after(&self, seq: i64) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let oldest = self.recent.front()?.seq;
        (seq + 1 >= oldest).then(|| self.recent.iter().skip_while(move |event| event.seq <= seq))
    }
}

/// Reads on, until the control plane closes.
pub(crate) async fn run(tail: Arc<Tail>, store: Store, closing: CancellationToken) {
    let wrote = store.wrote();
    loop {
        let followed = tail.end.receiver_count() > 0;
        tokio::select! {
            () = closing.cancelled() => return,
            () = wrote.notified() => {}
            () = tail.joined.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY), if followed => {}
        }
        if tail.end.receiver_count() == 0 {
            continue;
        }
        if let Err(error) = tail.read(&store).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "events are told later"
            );
        }
        tokio::time::sleep(PACE).await;
    }
}
