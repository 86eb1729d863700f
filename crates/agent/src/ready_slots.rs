//! Network slots that stand ready for virtual machines to come.
//!
//! Each has the id and the number of the virtual machine that will have it, and the usual policy; another one is put over it
//! when it is taken. No VMM holds its TAP before that, so that nothing passes through it. It takes nothing of what is promised
//! but a number, of which there are more than any host has memory for. No record speaks of one: a start of the agent sweeps
//! what a former one had.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;
use wrenn_model::{Fault, NetworkPolicy, VmId};

use crate::admission::SlotIndex;
use crate::failure::{Failed, internal};
use crate::lately::Lately;
use crate::refill::{GIVE_WAY, LOOK_EVERY};
use crate::slots::Slot;
use crate::spare::Workshop;
use crate::steps::RETRY;
use crate::table::Unowned;
use crate::{Agent, Host};

/// How long none is made after one could not be made.
const REST: Duration = Duration::from_secs(5);

/// Those of a host.
#[derive(Debug)]
pub(crate) struct ReadySlots {
    /// How many there are to be; more where more were asked for lately. With none there never is one.
    least: usize,
    inner: Mutex<Inner>,
    /// Something was taken.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// The oldest first.
    standing: VecDeque<ReadySlot>,
    asked: Lately,
    failed: Option<Instant>,
    closed: bool,
}

/// One. It is given on, or taken away when it is dropped.
#[derive(Debug)]
pub(crate) struct ReadySlot {
    whole: Option<Whole>,
    workshop: Workshop,
    /// The agent's end waits until it is given on or taken away.
    _waited_for: TaskTrackerToken,
}

/// All that there is of one.
#[derive(Debug)]
pub(crate) struct Whole {
    /// The virtual machine that will have it.
    pub(crate) vm: VmId,
    pub(crate) index: SlotIndex,
    pub(crate) slot: Slot,
    /// It is known as nobody's until it is known as a sandbox's.
    pub(crate) known: Unowned,
}

impl ReadySlots {
    /// At least so many are to stand ready, or none at all.
    pub(crate) fn at_least(least: usize) -> Self {
        Self {
            least,
            inner: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Takes the oldest.
    pub(crate) fn take(&self) -> Option<Whole> {
        let mut inner = self.lock();
        inner.asked.note();
        let ready = inner.standing.pop_front();
        drop(inner);
        self.changed.notify_one();
        ready?.whole.take()
    }

    /// How many stand ready.
    pub(crate) fn count(&self) -> usize {
        self.lock().standing.len()
    }

    /// Takes out all, for good.
    pub(crate) fn close(&self) -> Vec<ReadySlot> {
        let mut inner = self.lock();
        inner.closed = true;
        inner.standing.drain(..).collect()
    }

    /// Takes out what is more than is wanted.
    fn beyond(&self) -> Vec<ReadySlot> {
        let mut inner = self.lock();
        let beyond = inner.standing.len().saturating_sub(self.wanted(&inner));
        inner.standing.drain(..beyond).collect()
    }

    fn lacks(&self) -> bool {
        let inner = self.lock();
        let rests = inner.failed.is_some_and(|at| at.elapsed() < REST);
        !inner.closed && !rests && inner.standing.len() < self.wanted(&inner)
    }

    fn wanted(&self, inner: &Inner) -> usize {
        match self.least {
            0 => 0,
            least => least.max(inner.asked.count()),
        }
    }

    /// Adds one, which goes again where none is wanted any more.
    fn add(&self, ready: ReadySlot) {
        let mut inner = self.lock();
        if !inner.closed {
            inner.failed = None;
            inner.standing.push_back(ready);
        }
    }

    fn failed(&self) {
        self.lock().failed = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadySlot {
    async fn make(host: &Host, workshop: &Workshop) -> Result<Self, Fault> {
        let index = host.admission.slot_index();
        let index = index.ok_or_else(|| internal("all slots are taken"))?;
        let vm = VmId::random();
        let known = workshop
            .table
            .own(Some((vm.clone(), host.uid(index.get()))));
        let plan = host.network.plan(index.get(), &vm);
        let usual = NetworkPolicy::default();
        let slot = host.network.create(&plan, &usual).await;
        let slot = slot.map_err(|error| Failed::from(error).fault())?;
        Ok(Self {
            whole: Some(Whole {
                vm,
                index,
                slot,
                known,
            }),
            workshop: workshop.clone(),
            _waited_for: workshop.tasks.token(),
        })
    }
}

impl Drop for ReadySlot {
    fn drop(&mut self) {
        let Some(whole) = self.whole.take() else {
            return;
        };
        // Without a host or a runtime the process ends, and its next start sweeps.
        let runtime = tokio::runtime::Handle::try_current();
        if let (Some(host), Ok(runtime)) = (self.workshop.host.upgrade(), runtime) {
            let unmaking = async move { whole.unmake(&host).await };
            drop(self.workshop.tasks.spawn_on(unmaking, &runtime));
        }
    }
}

impl Whole {
    /// Its number is given back when all of it is gone.
    async fn unmake(self, host: &Host) {
        while let Err(error) = host.network.remove(&self.slot.plan).await {
            tracing::error!(%error, "a slot that stood ready could not be taken away; trying again");
            tokio::time::sleep(RETRY).await;
        }
        drop((self.index, self.known));
    }
}

impl Agent {
    /// Has as many slots stand ready as are to, until the agent is taken down.
    pub(crate) async fn keep_slots(&self) {
        let ready = &self.host.ready_slots;
        if ready.least == 0 {
            return;
        }
        self.recovered().await;
        while !self.closing.is_cancelled() {
            drop(ready.beyond());
            if !ready.lacks() {
                tokio::select! {
                    () = ready.changed.notified() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.closing.cancelled() => {}
                }
            } else if self.host.admission.has_waiting() {
                tokio::time::sleep(GIVE_WAY).await;
            } else {
                self.make_slot().await;
            }
        }
    }

    async fn make_slot(&self) {
        let (agent, workshop) = (self.clone(), self.workshop());
        // The agent's end waits for what is being made.
        let making = self.spares.spawn(async move {
            let made = ReadySlot::make(&agent.host, &workshop).await?;
            agent.host.ready_slots.add(made);
            Ok(())
        });
        if let Err(fault) = making.await.unwrap_or_else(|error| Err(internal(error))) {
            self.host.ready_slots.failed();
            tracing::info!(%fault, "no slot can stand ready for now");
        }
    }
}
