//! What became of sandboxes: read back from the history, or followed as it happens.

use std::sync::Arc;

use tokio::sync::watch;
use wrenn_model::{Fault, SandboxId, TeamName};
use wrenn_store::{Event, EventFilter};

use crate::Caller;
use crate::fault::{stopping, store_fault};
use crate::plane::Core;
use crate::tail::{End, Restored};

/// How many events are read at a time: as many as one who stops listening keeps from then on.
const BATCH: u32 = 64;

/// Of which sandboxes events are told. Everything that is set has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    /// Of this one.
    sandbox: Option<SandboxId>,
    /// Of this team's.
    owner: Option<TeamName>,
}

/// The history of what a caller sees. Clones are the same.
#[derive(Debug, Clone)]
pub struct Events {
    core: Arc<Core>,
    /// The only team whose sandboxes are told of, unless all are.
    only: Option<TeamName>,
}

/// Somebody who is told of events one after the other, none left out and none twice. They hold nothing but their place: who
/// reads slowly is told later, from the store.
#[derive(Debug)]
pub struct Follower {
    core: Arc<Core>,
    told: watch::Receiver<End>,
    scope: Scope,
    /// The number of the last event that they were told of, or that is not for them.
    place: i64,
    gap: bool,
    /// The last restore of the database that they know of.
    restored: Restored,
}

/// What a follower is told next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// These events.
    Events(Vec<Arc<Event>>),
    /// The database was restored, and has forgotten some of what they were told. They go on from its end as it was then, their new place.
    Gap,
}

impl Scope {
    fn holds(&self, event: &Event) -> bool {
        self.sandbox.as_ref().is_none_or(|id| *id == event.sandbox)
            && self
                .owner
                .as_ref()
                .is_none_or(|team| team.as_str() == event.owner_id)
    }
}

impl Events {
    pub(crate) fn of(core: Arc<Core>, caller: &Caller) -> Self {
        let only = caller.bound_to().cloned();
        Self { core, only }
    }

    /// The events after this number, of one sandbox or of all, the oldest first, so many at the most.
    ///
    /// # Errors
    /// `unavailable` or `db_error`.
    pub async fn history(
        &self,
        sandbox: Option<SandboxId>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Event>, Fault> {
        let filter = EventFilter {
            after,
            up_to: i64::MAX,
            sandbox,
            owner: self.only.clone(),
            limit,
        };
        let read = self.core.store.events(&filter).await;
        read.map_err(|error| store_fault(&error))
    }

    /// Whether the history that this caller sees has anything of a sandbox, also of one that has left the list.
    ///
    /// # Errors
    /// `unavailable` or `db_error`.
    pub async fn has(&self, sandbox: &SandboxId) -> Result<bool, Fault> {
        let one = self.history(Some(sandbox.clone()), 0, 1).await?;
        Ok(!one.is_empty())
    }

    /// Follows events, of one sandbox or of all, from the one after this number on; from the next one that happens, when there is none.
    ///
    /// # Errors
    /// `unavailable` or `db_error`.
    pub async fn follow(
        &self,
        sandbox: Option<SandboxId>,
        after: Option<i64>,
    ) -> Result<Follower, Fault> {
        let store = &self.core.store;
        let told = self.core.tail.follow();
        let restored = told.borrow().restored;
        let newest = store
            .newest_event()
            .await
            .map_err(|error| store_fault(&error))?;
        self.core.tail.saw(newest);
        let oldest = store
            .oldest_event()
            .await
            .map_err(|error| store_fault(&error))?;
        let first = oldest.unwrap_or(newest + 1) - 1;
        let (place, gap) = match after {
            None => (newest, false),
            Some(after) if (first..=newest).contains(&after) => (after, false),
            // Forgotten by now, or of another database.
            Some(after) => (if after < first { first } else { newest }, true),
        };
        Ok(Follower {
            core: Arc::clone(&self.core),
            told,
            scope: Scope {
                sandbox,
                owner: self.only.clone(),
            },
            place,
            gap,
            restored,
        })
    }
}

impl Follower {
    /// Where they are: to follow from here later, ask for what comes after this number.
    #[must_use]
    pub fn place(&self) -> i64 {
        self.place
    }

    /// Whether events are missing between the number that was asked for and the place where this begins.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.gap
    }

    /// The next events, as soon as there is one, or that some are gone. A call that is given up loses none.
    ///
    /// # Errors
    /// `unavailable` or `db_error`; what follows may be asked for again.
    pub async fn next(&mut self) -> Result<Heard, Fault> {
        loop {
            let end = self.told.borrow_and_update().clone();
            if end.restored != self.restored {
                self.restored = end.restored;
                // Up to there, all is as they were told.
                if self.place > end.restored.newest {
                    self.place = end.restored.newest;
                    return Ok(Heard::Gap);
                }
            }
            if self.place < end.newest {
                let (next, place) = self.after(&end).await?;
                self.place = place;
                if next.is_empty() {
                    continue;
                }
                return Ok(Heard::Events(next));
            }
            if self.told.changed().await.is_err() {
                return Err(stopping());
            }
        }
    }

    /// Events from the place on, and the place after them.
    async fn after(&self, end: &End) -> Result<(Vec<Arc<Event>>, i64), Fault> {
        if let Some(recent) = end.after(self.place) {
            let next = recent.filter(|event| self.scope.holds(event)).cloned();
            return Ok((next.collect(), end.newest));
        }
        let filter = EventFilter {
            after: self.place,
            up_to: end.newest,
            sandbox: self.scope.sandbox.clone(),
            owner: self.scope.owner.clone(),
            limit: BATCH,
        };
        let read = self.core.store.events(&filter).await;
        let next = read.map_err(|error| store_fault(&error))?;
        let place = match next.last() {
            Some(last) if next.len() == BATCH as usize => last.seq,
            _ => end.newest,
        };
        Ok((next.into_iter().map(Arc::new).collect(), place))
    }
}
