//! Calls that are done once, however often they are sent: `Idempotency-Key`.
//!
//! A call is taken in hand in the store before it is done, and what came of it written there before its caller hears it. Who sends it
//! again gets that answer. What a server had in hand when it died is taken over by the next one that is asked: done again
//! where twice is as once, and otherwise told as unknown.

mod hold;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use wrenn_model::{ErrorKind, Fault, SandboxId, TeamName, random_text};
use wrenn_store::{Once, Store, StoredAnswer, millis};

use self::hold::{Held, Holds};
use crate::fault::{stopping, store_fault};
use crate::request::carried;

/// How long an answer is known.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3600);
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
    holds: Arc<Holds>,
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
    /// It was begun by a server that died: whether it was done, nobody knows. What it makes would have the id that it names, or
    /// one that follows from it.
    Unknown(InHand),
    /// It was done.
    Done(StoredAnswer),
}

/// A call that this server does. Others are kept from it as long as this lives.
#[derive(Debug)]
pub struct InHand {
    store: Store,
    call: Once,
    _held: Held,
}

/// What is found of a call.
enum Found {
    /// Nothing: it is this caller's now.
    Ours(Held),
    /// Somebody has it, or had.
    First(Once),
}

impl Calls {
    pub(crate) fn new(store: Store, tasks: TaskTracker) -> Self {
        let holder: Arc<str> = random_text(16).into();
        Self {
            holds: Holds::start(store.clone(), holder.clone()),
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
            let first = match self.take(call.clone()).await? {
                Found::Ours(held) => return Ok(Turn::Do(self.in_hand(call, held))),
                Found::First(first) => first,
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
            // The wait may have been long, and others judge by this.
            let call = Once {
                held_at_ms: self.store.now_ms(),
                ..call
            };
            let held = self.holds.hold(&call);
            let taken = self.store.take_over(&last, &call).await;
            if taken.map_err(|error| store_fault(&error))? {
                let call = Once {
                    sandbox_id: last.sandbox_id,
                    created_at_ms: last.created_at_ms,
                    ..call
                };
                return Ok(Turn::Unknown(self.in_hand(call, held)));
            }
        }
    }

    /// Takes a call, or says who has it. A caller that hangs up in between has begun nothing.
    async fn take(&self, call: Once) -> Result<Found, Fault> {
        let (give, taken) = oneshot::channel();
        let (store, held) = (self.store.clone(), self.holds.hold(&call));
        self.tasks.spawn(async move {
            let forgotten = call.created_at_ms.saturating_sub(millis(KEPT));
            let begun = store.begin_once(&call, forgotten).await;
            let found = begun.map(|first| first.map_or(Found::Ours(held), Found::First));
            // It is held until it has been given out of hand: nobody takes it for a dead one's meanwhile.
            if let Err(Ok(Found::Ours(_held))) = give.send(found)
                && let Err(error) = store.release_once(&call).await
            {
                tracing::warn!(%error, "a call that nobody waits for stays in hand");
            }
        });
        let found = taken.await.map_err(|_| stopping())?;
        found.map_err(|error| store_fault(&error))
    }

    /// Waits until a call that somebody has is done, or who has it is dead; `None` when it was given out of hand.
    ///
    /// How long nobody has said that they are at work on it is told by the database's clock, since whoever waits may be gone
    /// within a second and ask anew; and by this server's, since the database's may have been set back.
    async fn outcome(&self, first: Once, deadline: Instant) -> Result<Option<Once>, Fault> {
        let mut since = Instant::now();
        let mut last = first;
        let mut pause = LOOK_EVERY;
        loop {
            let is_dead = if *last.holder == *self.holder {
                !self.holds.has(&last)
            } else {
                let silent_ms = self.store.now_ms().saturating_sub(last.held_at_ms);
                !self.store.is_shared()
                    || silent_ms > millis(DEAD_AFTER)
                    || since.elapsed() > DEAD_AFTER
            };
            if last.answer.is_some() || is_dead {
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

    fn in_hand(&self, call: Once, held: Held) -> InHand {
        InHand {
            store: self.store.clone(),
            call,
            _held: held,
        }
    }
}

impl InHand {
    /// The sandbox that this makes, if it makes one; what names of other things that it makes follow from.
    #[must_use]
    pub fn sandbox(&self) -> Option<SandboxId> {
        self.call.sandbox_id.parse().ok()
    }

    /// When it was first asked, in milliseconds since the epoch.
    #[must_use]
    pub fn asked_at_ms(&self) -> i64 {
        self.call.created_at_ms
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

    /// What comes of it is not known yet, and nobody waits here to learn it: who sends it again takes it over at once.
    ///
    /// # Errors
    /// `unavailable` or `db_error`.
    pub async fn let_go(self) -> Result<(), Fault> {
        let written = self.store.let_go_once(&self.call).await;
        written.map_err(|error| store_fault(&error))
    }
}
