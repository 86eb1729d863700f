//! What stands ready for creations: clones of boot images that were restored, used once by us and stopped. Of a snapshot, in
//! which processes of a user ran, there are none.
//!
//! How many there are of a shape follows from the configuration and from how many were wanted in the last minute, until somebody
//! says how many are to be: then that holds. They have places like all others, and are the first to give them back. None is older than an hour, and none outlives
//! the agent: the next one makes others.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wrenn_model::{Fault, MiB, VmId};
use wrenn_vmm::{Machine, RunState};

use crate::lately::Lately;
use crate::spare::{PoolSize, Shape, Spare};

/// How old one gets. Its guest's clock and entropy are made new when it is taken; its memory is what its image was.
pub(crate) const OLDEST: Duration = Duration::from_secs(60 * 60);
/// How long nothing is made of a shape of which nothing could be made; twice as long after each failure more, up to a limit.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How often in a row nothing could be made of a shape until whoever waits for it is told.
const IN_VAIN: u32 = 3;
/// How long one that stands ready has to say so.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// How far something is that stands ready: what is further comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// It was restored, used once and stopped.
    Ready,
    /// Its VMM has only to load the state.
    Started,
}

const LEVELS: [Level; 2] = [Level::Ready, Level::Started];

/// What stands ready of each shape.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    inner: Mutex<Inner>,
    /// Something was taken, or is wanted.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    pools: BTreeMap<Shape, Pool>,
    /// When anything was asked for last.
    asked: Option<Instant>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Pool {
    /// By the configuration, where it names the shape.
    configured: Option<Counts>,
    /// By somebody who asked for it: no more and no less.
    warmed: Option<Counts>,
    /// Nothing is made of it until it is warmed.
    drained: bool,
    /// The oldest first.
    standing: Vec<Ready>,
    asked: Lately,
    hits: u64,
    misses: u64,
    /// When nothing could be made of it last, and how often that was so in a row.
    failed: Option<Instant>,
    failures: u32,
    /// How often that was so since it was warmed or one was made, not counting what was given back, and why it was last.
    in_vain: u32,
    why: Option<Fault>,
}

/// What was to be of a pool before somebody warmed it.
#[derive(Debug)]
pub(crate) struct Former {
    warmed: Option<Counts>,
    drained: bool,
}

/// How many of each level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    ready: usize,
    started: usize,
}

impl Counts {
    fn of(size: &PoolSize) -> Self {
        Self {
            ready: size.ready,
            started: size.started,
        }
    }

    fn at(self, level: Level) -> usize {
        match level {
            Level::Ready => self.ready,
            Level::Started => self.started,
        }
    }
}

/// One that stands ready.
#[derive(Debug)]
struct Ready {
    level: Level,
    spare: Spare,
    /// The boot image that it is a clone of.
    image: String,
    since: Instant,
}

impl Ready {
    /// Whether it is of this image, and young enough to be handed out.
    fn is_good(&self, image: &str) -> bool {
        self.image == image && self.since.elapsed() < OLDEST
    }
}

/// How a pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolState {
    pub(crate) shape: Shape,
    pub(crate) wanted: usize,
    pub(crate) ready: usize,
    pub(crate) wanted_started: usize,
    pub(crate) started: usize,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) configured: bool,
}

impl Pool {
    /// How long nothing is made of it yet.
    fn rest(&self) -> Duration {
        let rest = AFTER_FAILURE.saturating_mul(1 << self.failures.saturating_sub(1).min(10));
        let since = self.failed.map(|at| at.elapsed());
        since.map_or(Duration::ZERO, |since| {
            rest.min(LONGEST_REST).saturating_sub(since)
        })
    }

    /// How many are to stand ready. Where nobody has said it, what was used lately has some, too.
    fn wanted(&self, level: Level) -> usize {
        if self.drained {
            return 0;
        }
        if let Some(warmed) = self.warmed {
            return warmed.at(level);
        }
        let lately = match level {
            Level::Ready => self.asked.count(),
            Level::Started => 0,
        };
        let configured = self.configured.unwrap_or_default().at(level);
        configured.max(lately)
    }

    fn how_many(&self, level: Level) -> usize {
        let of_level = self.standing.iter().filter(|one| one.level == level);
        of_level.count()
    }

    /// How many there are too few.
    fn lacks(&self, level: Level) -> usize {
        self.wanted(level).saturating_sub(self.how_many(level))
    }

    fn lacks_in_all(&self) -> usize {
        LEVELS.map(|level| self.lacks(level)).iter().sum()
    }

    /// Takes out the one that comes first by this, of those that are `good`.
    fn take_first<K: Ord>(
        &mut self,
        good: impl Fn(&Ready) -> bool,
        by: impl Fn(Level) -> K,
    ) -> Option<Spare> {
        let standing = self.standing.iter().enumerate();
        let good = standing.filter(|(_, one)| good(one));
        let (at, _) = good.min_by_key(|(_, one)| by(one.level))?;
        Some(self.standing.remove(at).spare)
    }

    fn fail(&mut self) {
        self.failed = Some(Instant::now());
        self.failures += 1;
    }
}

impl Pools {
    /// Has so many stand ready of a shape, as the configuration says.
    pub(crate) fn configure(&self, size: PoolSize) {
        let counts = Counts::of(&size);
        let mut inner = self.lock();
        let pool = inner.pools.entry(size.shape).or_default();
        pool.configured = Some(counts);
        drop(inner);
        self.changed.notify_one();
    }

    /// Has so many stand ready of a shape, whatever the configuration says.
    pub(crate) fn warm(&self, size: PoolSize) -> Former {
        let counts = Counts::of(&size);
        let mut inner = self.lock();
        let pool = inner.pools.entry(size.shape).or_default();
        let former = Former {
            warmed: pool.warmed.replace(counts),
            drained: pool.drained,
        };
        pool.drained = false;
        pool.failed = None;
        pool.failures = 0;
        pool.in_vain = 0;
        drop(inner);
        self.changed.notify_one();
        former
    }

    /// Takes that back, unless somebody has said something else meanwhile. What was made beyond it goes when pools are looked at.
    pub(crate) fn unwarm(&self, size: &PoolSize, former: Former) {
        let counts = Counts::of(size);
        let mut inner = self.lock();
        let pool = inner.pools.get_mut(&size.shape);
        if let Some(pool) = pool.filter(|pool| pool.warmed == Some(counts) && !pool.drained) {
            pool.warmed = former.warmed;
            pool.drained = former.drained;
        }
    }

    /// Why nothing can be made of a shape, if that was tried often enough.
    pub(crate) fn in_vain(&self, shape: &Shape) -> Option<Fault> {
        let inner = self.lock();
        let pool = inner.pools.get(shape)?;
        pool.why.clone().filter(|_| pool.in_vain >= IN_VAIN)
    }

    /// Takes one that is a clone of this image, and stands.
    pub(crate) async fn take(&self, shape: &Shape, image: &str) -> Option<Spare> {
        self.asked(shape);
        let found = loop {
            let Some(spare) = self.pop(shape, image) else {
                break None;
            };
            if stands(&spare).await {
                break Some(spare);
            }
            tracing::warn!(
                ?shape,
                "what stood ready does not answer: another one is taken"
            );
        };
        self.counted(shape, found.is_some());
        self.changed.notify_one();
        found
    }

    fn asked(&self, shape: &Shape) {
        let mut inner = self.lock();
        inner.asked = Some(Instant::now());
        inner.pools.entry(shape.clone()).or_default().asked.note();
    }

    /// Whether anything was asked for so lately.
    pub(crate) fn was_asked_within(&self, lately: Duration) -> bool {
        let asked = self.lock().asked;
        asked.is_some_and(|at| at.elapsed() < lately)
    }

    fn counted(&self, shape: &Shape, hit: bool) {
        if let Some(pool) = self.lock().pools.get_mut(shape) {
            pool.hits += u64::from(hit);
            pool.misses += u64::from(!hit);
        }
    }

    /// The oldest of this image, of what is ready, else of what is started.
    fn pop(&self, shape: &Shape, image: &str) -> Option<Spare> {
        let mut inner = self.lock();
        let pool = inner.pools.get_mut(shape)?;
        pool.take_first(|one| one.is_good(image), |level| level)
    }

    /// Adds one; what is not wanted any more comes back.
    pub(crate) fn add(
        &self,
        shape: &Shape,
        level: Level,
        image: String,
        spare: Spare,
    ) -> Result<(), Spare> {
        let mut inner = self.lock();
        let closed = inner.closed;
        match inner.pools.get_mut(shape) {
            Some(pool) if !closed && pool.lacks(level) > 0 => {
                pool.failures = 0;
                pool.in_vain = 0;
                pool.standing.push(Ready {
                    level,
                    spare,
                    image,
                    since: Instant::now(),
                });
                Ok(())
            }
            _ => Err(spare),
        }
    }

    /// One whose place somebody needs more, of the pool that has the most.
    pub(crate) fn give_back(&self) -> Option<Spare> {
        let mut inner = self.lock();
        let pools = inner.pools.values_mut();
        let fullest = pools.max_by_key(|pool| pool.standing.len())?;
        // What is worth less goes first.
        let spare = fullest.take_first(|_| true, Reverse);
        // It is not made again at once.
        if spare.is_some() {
            fullest.fail();
        }
        spare
    }

    /// The guest memory of each that stands ready.
    pub(crate) fn memories(&self) -> Vec<MiB> {
        let inner = self.lock();
        let all = inner.pools.values().flat_map(|pool| &pool.standing);
        all.map(|one| one.spare.memory()).collect()
    }

    /// A shape of which there are fewer than are wanted, first that which lacks most.
    pub(crate) fn lacking(&self) -> Option<(Shape, Level)> {
        let inner = self.lock();
        if inner.closed {
            return None;
        }
        let lacking = inner.pools.iter();
        let lacking = lacking.filter(|(_, pool)| pool.rest().is_zero());
        let (shape, pool) = lacking.max_by_key(|(_, pool)| pool.lacks_in_all())?;
        let level = LEVELS.into_iter().find(|level| pool.lacks(*level) > 0)?;
        Some((shape.clone(), level))
    }

    /// In how much time something may be made again of which nothing could be made.
    pub(crate) fn rests(&self) -> Option<Duration> {
        let inner = self.lock();
        let lacking = inner.pools.values().filter(|pool| pool.lacks_in_all() > 0);
        lacking.map(Pool::rest).min()
    }

    /// Nothing could be made of a shape, for now.
    pub(crate) fn failed(&self, shape: &Shape, why: Fault) {
        if let Some(pool) = self.lock().pools.get_mut(shape) {
            pool.fail();
            pool.in_vain += 1;
            pool.why = Some(why);
        }
    }

    /// Takes out what is too old, or more than is wanted, or of another image than its shape's is now.
    pub(crate) fn worn(&self, image: impl Fn(&Shape) -> Option<String>) -> Vec<Spare> {
        let mut worn = Vec::new();
        let mut inner = self.lock();
        // What nobody wants any more, and has nothing ready, is forgotten.
        inner.pools.retain(|_, pool| {
            let wanted = LEVELS.iter().any(|level| pool.wanted(*level) > 0);
            pool.configured.is_some() || pool.drained || wanted || !pool.standing.is_empty()
        });
        for (shape, pool) in &mut inner.pools {
            let image = image(shape);
            for one in std::mem::take(&mut pool.standing) {
                let good = image.as_ref().is_some_and(|image| one.is_good(image));
                if good && pool.lacks(one.level) > 0 {
                    pool.standing.push(one);
                } else {
                    worn.push(one.spare);
                }
            }
        }
        worn
    }

    /// Takes out those whose virtual machine has ended or does not answer. It holds one at a time: whoever takes another meanwhile
    /// has that one's control socket for themselves.
    pub(crate) async fn dead(&self) -> Vec<Spare> {
        let ids: Vec<_> = {
            let inner = self.lock();
            let all = inner.pools.values().flat_map(|pool| &pool.standing);
            all.filter_map(|one| one.spare.id()).collect()
        };
        let mut dead = Vec::new();
        for id in ids {
            let Some(machine) = self.machine(&id) else {
                continue;
            };
            if !is_frozen(machine).await {
                dead.extend(self.remove(&id));
            }
        }
        dead
    }

    fn machine(&self, id: &VmId) -> Option<Arc<dyn Machine>> {
        let inner = self.lock();
        let mut all = inner.pools.values().flat_map(|pool| &pool.standing);
        all.find(|one| one.spare.id().as_ref() == Some(id))?
            .spare
            .machine()
    }

    fn remove(&self, id: &VmId) -> Option<Spare> {
        let mut inner = self.lock();
        let mut pools = inner.pools.values_mut();
        pools.find_map(|pool| {
            let is_it = |one: &Ready| one.spare.id().as_ref() == Some(id);
            pool.take_first(is_it, |level| level)
        })
    }

    /// Takes out all of these shapes, of which no more are made.
    pub(crate) fn drain(&self, which: impl Fn(&Shape) -> bool) -> Vec<Spare> {
        let mut drained = Vec::new();
        for (shape, pool) in &mut self.lock().pools {
            if which(shape) {
                pool.drained = true;
                drained.extend(pool.standing.drain(..).map(|one| one.spare));
            }
        }
        drained
    }

    /// The same for good.
    pub(crate) fn close(&self) -> Vec<Spare> {
        self.lock().closed = true;
        self.changed.notify_one();
        self.drain(|_| true)
    }

    pub(crate) fn states(&self) -> Vec<PoolState> {
        let inner = self.lock();
        let state = |(shape, pool): (&Shape, &Pool)| PoolState {
            shape: shape.clone(),
            wanted: pool.wanted(Level::Ready),
            ready: pool.how_many(Level::Ready),
            wanted_started: pool.wanted(Level::Started),
            started: pool.how_many(Level::Started),
            hits: pool.hits,
            misses: pool.misses,
            configured: pool.configured.is_some(),
        };
        inner.pools.iter().map(state).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what stands ready still does: its VMM may have ended, or hang.
async fn stands(spare: &Spare) -> bool {
    match spare.machine() {
        Some(machine) => is_frozen(machine).await,
        None => false,
    }
}

async fn is_frozen(machine: Arc<dyn Machine>) -> bool {
    let state = tokio::time::timeout(LOOK_LIMIT, machine.run_state()).await;
    matches!(state, Ok(Ok(RunState::Frozen)))
}

#[cfg(test)]
mod tests;
