//! Calls that are done once, however often they are sent: `Idempotency-Key`.
//!
//! A call is taken in hand in the store before it is done, and what came of it written there before its caller hears it. Who sends it
//! again gets that answer. What a server had in hand when it died is taken over by the next one that is asked: done again
//! where twice is as once, and otherwise told as unknown.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use wrenn_model::{ErrorKind, Fault, SandboxId, TeamName, random_text};
use wrenn_store::{Once, Store, StoredAnswer, millis};

use crate::fault::{stopping, store_fault};
use crate::request::carried;

/// How long an answer is known.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often a server says that it is still at work on a call.
const HELD_EVERY: Duration = Duration::from_secs(5);
/// Who has said nothing for so long works on it no more.
const DEAD_AFTER: Duration = Duration::from_secs(30);
/// How long who sends a call again waits for the first one's answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks for it, at first and at the most.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const LOOK_LONGEST: Duration = Duration::from_millis(400);

/// The calls that are done once. Clones are the same.
#[derive(Debug, Clone)]
pub struct Calls {
    store: Store,
    /// This server, from its start to its end.
    holder: Arc<str>,
    tasks: TaskTracker,
}

/// A call that is to be done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedOnce {
    /// Whose it is.
    pub team: TeamName,
    /// The caller's key for it.
    pub key: String,
    /// A digest of what is asked.
    pub asked: String,
}

/// What to do about a call.
#[derive(Debug)]
pub enum Turn {
    /// It is this caller's: do it, and say what came of it.
    Do(InHand),
    /// It was begun by a server that died: whether it was done, nobody knows. A create would have made the sandbox that it names.
    Unknown(InHand),
    /// It was done.
    Done(StoredAnswer),
}

/// A call that this server does. Others are kept from it as long as this lives.
#[derive(Debug)]
pub struct InHand {
    store: Store,
    call: Once,
    _held: AbortOnDropHandle<()>,
}

impl Calls {
    pub(crate) fn new(store: Store, tasks: TaskTracker) -> Self {
        let holder = random_text(16).into();
        Self {
            store,
            holder,
            tasks,
        }
    }

    /// Does a call to its end, whether or not its caller still waits.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn(carried(work))
    }

    /// Takes a call in hand, or waits for what comes of it where somebody has.
    ///
    /// # Errors
    /// `already_exists` where the key was used for something else; `conflict` where the first call takes too long;
    /// `unavailable` or `db_error`.
    pub async fn begin(&self, asked: AskedOnce) -> Result<Turn, Fault> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.store.now_ms();
            let call = Once {
                team: asked.team.to_string(),
                key: asked.key.clone(),
                asked: asked.asked.clone(),
                holder: self.holder.to_string(),
                held_at_ms: now,
                sandbox_id: SandboxId::random().to_string(),
                answer: None,
                created_at_ms: now,
            };
            let Some(first) = self.take(call.clone()).await? else {
                return Ok(Turn::Do(self.in_hand(call)));
            };
            if first.asked != asked.asked {
                return Err(Fault::new(
                    ErrorKind::AlreadyExists,
                    "this Idempotency-Key was given to another call",
                    "use a new key for each call, and the same one only to send that call again",
                ));
            }
            let Some(last) = self.outcome(first, deadline).await? else {
                continue;
            };
            if let Some(answer) = last.answer {
                return Ok(Turn::Done(answer));
            }
            let taken = self.store.take_over(&last, &call).await;
            if taken.map_err(|error| store_fault(&error))? {
                let call = Once {
                    sandbox_id: last.sandbox_id,
                    ..call
                };
                return Ok(Turn::Unknown(self.in_hand(call)));
            }
        }
    }

    /// Takes a call, or says who has it. A caller that hangs up in between has begun nothing.
    async fn take(&self, call: Once) -> Result<Option<Once>, Fault> {
        let (give, taken) = oneshot::channel();
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let forgotten = call.created_at_ms.saturating_sub(millis(KEPT));
            let begun = store.begin_once(&call, forgotten).await;
            let is_ours = matches!(begun, Ok(None));
            if give.send(begun).is_err()
                && is_ours
                && let Err(error) = store.release_once(&call).await
            {
                tracing::warn!(%error, "a call that nobody waits for stays in hand");
            }
        });
        let begun = taken.await.map_err(|_| stopping())?;
        begun.map_err(|error| store_fault(&error))
    }

    /// Waits until a call that somebody has is done, or who has it is dead; `None` when it was given out of hand.
    ///
    /// Clocks of servers are not compared: who does not say for a while by this server's clock that it is at work on it, is not.
    async fn outcome(&self, first: Once, deadline: Instant) -> Result<Option<Once>, Fault> {
        let mut since = Instant::now();
        let mut last = first;
        let mut pause = LOOK_EVERY;
        loop {
            let alone = *last.holder != *self.holder && !self.store.is_shared();
            if last.answer.is_some() || alone || since.elapsed() > DEAD_AFTER {
                return Ok(Some(last));
            }
            if Instant::now() >= deadline {
                return Err(Fault::new(
                    ErrorKind::Conflict,
                    "the first call with this Idempotency-Key is still under way",
                    "ask again with the same key",
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_LONGEST);
            let seen = self.store.once(&last.team, &last.key).await;
            let Some(seen) = seen.map_err(|error| store_fault(&error))? else {
                return Ok(None);
            };
            if (&seen.holder, seen.held_at_ms) != (&last.holder, last.held_at_ms) {
                since = Instant::now();
            }
            last = seen;
        }
    }

    fn in_hand(&self, call: Once) -> InHand {
        let (store, held) = (self.store.clone(), call.clone());
        let hold = tokio::spawn(async move {
            loop {
                tokio::time::sleep(HELD_EVERY).await;
                if let Err(error) = store.hold_once(&held, store.now_ms()).await {
                    tracing::debug!(%error, "a call is not said to be held");
                }
            }
        });
        InHand {
            store: self.store.clone(),
            call,
            _held: AbortOnDropHandle::new(hold),
        }
    }
}

impl InHand {
    /// The sandbox that this makes, if it makes one.
    #[must_use]
    pub fn sandbox(&self) -> Option<SandboxId> {
        self.call.sandbox_id.parse().ok()
    }

    /// Has it make another sandbox: the one that it named is over.
    ///
    /// # Errors
    /// `unavailable` or `db_error`; `conflict` when another server has taken it over.
    pub async fn renew(&mut self) -> Result<(), Fault> {
        self.call.sandbox_id = SandboxId::random().to_string();
        let renewed = self.store.renew_once(&self.call).await;
        if renewed.map_err(|error| store_fault(&error))? {
            return Ok(());
        }
        Err(Fault::new(
            ErrorKind::Conflict,
            "another server has taken this call over",
            "ask again with the same key",
        ))
    }

    /// Writes what came of it: from now on that is what who sends it again is told. `false` when another server has taken it over.
    ///
    /// # Errors
    /// `unavailable` or `db_error`: it was done, and who sends it again may not hear of that.
    pub async fn done(self, answer: &StoredAnswer) -> Result<bool, Fault> {
        let written = self.store.finish_once(&self.call, answer).await;
        written.map_err(|error| store_fault(&error))
    }

    /// Nothing was done, and it may be sent again.
    ///
    /// # Errors
    /// `unavailable` or `db_error`.
    pub async fn not_done(self) -> Result<(), Fault> {
        let written = self.store.release_once(&self.call).await;
        written.map_err(|error| store_fault(&error))
    }
}
