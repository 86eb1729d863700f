//! After a start: every sandbox of the journal gets its task back. What runs goes on, what was half made is unmade, what
//! was being unmade is finished, and what belongs to this instance without being known is swept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};
use wrenn_model::lifecycle::{Event, Reason, State};
use wrenn_model::{ErrorKind, SandboxId};
use wrenn_snapshot::Generation;
use wrenn_vmm::{Identity, Machine, RunState};

use crate::failure::{Failed, StepError, stepping};
use crate::handle::Handle;
use crate::journal::Replay;
use crate::record::Record;
use crate::sandbox::{Sandbox, Start, keep_pause};
use crate::steps::{CREATE, Parts};
use crate::{Agent, Phase};
use wrenn_model::chain;

/// How long everybody waits for those whose virtual machines do not answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The steps of taking up what a former agent left, by their failpoints.
pub(crate) const RECOVER: &[&str] = &[GENERATION, MACHINE, SLOT, THAW, SWEEP];
/// Whether a pause under way was published.
const GENERATION: &str = "recover.generation";
/// The virtual machine that runs.
const MACHINE: &str = "recover.machine";
/// Its network.
const SLOT: &str = "recover.slot";
/// A guest that stands still goes on.
const THAW: &str = "recover.thaw";
/// What no record knows goes.
const SWEEP: &str = "recover.sweep";

/// How many slots are taken up at once: it is the kernel that does the work, and what waits for its turn is not late.
static SLOT_TURNS: Semaphore = Semaphore::const_new(8);

/// How often a step is tried, and how long after its first failure again; then twice as long each time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_secs(20);

impl Agent {
    /// Takes up what the journal holds. Lists are refused until it has ended.
    pub(crate) async fn recover(&self, replay: Replay) {
        let began = Instant::now();
        let (mut records, foreign) = understood(&replay);
        if replay.damaged > 0 {
            tracing::error!(damaged = replay.damaged, "the journal has damaged records");
            records = self.salvage(records, &replay).await;
        }
        if foreign || replay.damaged > 0 {
            tracing::error!("little is swept, since not every record is understood");
            self.doubtful.store(true, Ordering::Relaxed);
        }
        let holders = holders(&records);
        self.host.admission.occupy(holders.keys().copied());
        let taken = records.into_iter().filter_map(|record| {
            let held = record.vm.as_ref().map(|vm| vm.slot.index);
            let held = held.filter(|slot| holders.get(slot) == Some(&record.spec.id));
            self.take_up(record, held)
        });
        let taken: Vec<_> = taken.collect();
        let count = taken.len();
        let all = tokio::time::timeout(PATIENCE, futures::future::join_all(taken));
        let mut failed = None;
        if all.await.is_err() {
            failed = Some(ErrorKind::Timeout);
            tracing::warn!("some virtual machines do not answer: nobody else waits for them");
        }
        let sweep = async { self.sweep(false).await.map_err(Failed::from_fault) };
        if let Err(error) = stepping(&self.host, SWEEP, SWEEP, None, None, sweep).await {
            failed = Some(error.kind);
            tracing::error!(%error, "leftovers stay until the next start");
        }
        let metrics = &self.host.metrics;
        metrics.operation("recover", began.elapsed(), failed);
        self.phase.send_replace(Phase::Ready);
        if let Err(error) = self.host.vmm.collect_builds().await {
            tracing::warn!(error = chain(&error), "VMM builds that nobody needs stay");
        }
        tracing::info!(sandboxes = count, "recovered");
    }

    /// Gives a sandbox its task again, which begins by finding out what became of it; what comes back ends when it has.
    /// `slot` is the one that it holds.
    fn take_up(&self, record: Record, slot: Option<u16>) -> Option<oneshot::Receiver<()>> {
        let place = slot.map(|slot| self.host.admission.reclaim(&record.spec, slot));
        let (mut sandbox, handle) = Sandbox::new(
            self.host.clone(),
            self.journal.clone(),
            self.table.clone(),
            Start {
                record,
                plan: CREATE,
                held: None,
                place,
                waiting: None,
                parts: Parts::default(),
            },
        );
        // Two records of one id can not be: the journal is a map.
        self.table.insert(handle.clone(), None).ok()?;
        let (found_out, taken) = oneshot::channel();
        let agent = self.clone();
        self.tasks.spawn(async move {
            let first = agent.what_happened(&mut sandbox, &handle).await;
            // A former agent may not have come to it.
            if first.is_none() && matches!(sandbox.record.state, State::Error(_)) {
                sandbox.release().await;
            }
            drop(found_out);
            sandbox.run(first).await;
        });
        Some(taken)
    }

    /// What became of a sandbox while nobody was there; nothing when it is as the journal says.
    async fn what_happened(&self, sandbox: &mut Sandbox, handle: &Handle) -> Option<Event> {
        let state = sandbox.record.state.clone();
        match state {
            State::Pending | State::Starting => Some(Event::BootFailed(Reason::BootFailed(
                "the agent ended while it started".into(),
            ))),
            State::Running { .. } | State::Copying(_) => {
                match self.adopt(&sandbox.record, handle).await {
                    Ok(()) => {
                        self.go_on(handle).await;
                        None
                    }
                    Err(lost) => Some(lost_vm(&sandbox.record, lost)),
                }
            }
            // Its guest may stand still: it goes on, unless the pause had happened.
            State::Pausing => Some(match self.newer_generation(sandbox).await {
                Ok(Some(generation)) => {
                    sandbox.adopt_pause(&generation);
                    Event::Published
                }
                Ok(None) => match self.adopt(&sandbox.record, handle).await {
                    Ok(()) => Event::PauseFailed,
                    Err(lost) => lost_vm(&sandbox.record, lost),
                },
                // What is there stays there for somebody to look at.
                Err(unreadable) => Event::VmEnded(Reason::VmmEnded(format!(
                    "whether its pause was published can not be said: {unreadable}"
                ))),
            }),
            State::Resuming { .. } => Some(Event::ResumeFailed),
            State::Stopping { reason, .. } | State::Stopped(reason) => Some(Event::Destroy(reason)),
            State::Paused | State::Error(_) => None,
        }
    }

    /// Finds a running sandbox's VM and everything that leads to it, or says why it is gone.
    async fn adopt(&self, record: &Record, handle: &Handle) -> Result<(), Reason> {
        let never = |what: &str| Reason::VmmEnded(format!("{what} was never recorded"));
        let vm = record.vm.as_ref().ok_or_else(|| never("it"))?;
        let identity = vm.machine.as_ref().ok_or_else(|| never("its process"))?;
        let failed = |error: StepError| Reason::VmmEnded(error.to_string());
        let parts = handle.shared.parts();
        // A former agent may have died while it held the disk up.
        if let Err(error) = self.host.let_disk_go_on(&vm.layer).await {
            tracing::error!(id = %record.spec.id, reason = error.reason, "its disk does not go on");
        }
        let machine = tokio::select! {
            machine = self.insist(MACHINE, || self.adopt_machine(identity)) => machine,
            // Somebody wants it gone, and does not wait for one that is silent.
            () = parts.cancel.cancelled() => {
                return Err(Reason::VmmEnded("it was given up before it answered".into()));
            }
        };
        let machine = machine.map_err(failed)??;
        let adopt_slot = || async {
            Ok(self
                .host
                .network
                .adopt(&vm.slot, &record.spec.network)
                .await?)
        };
        // It is never closed.
        let turn = SLOT_TURNS.acquire().await;
        let slot = self.insist(SLOT, adopt_slot).await.map_err(failed)?;
        drop(turn);
        let machine = self.host.watched(machine, &vm.layer);
        parts.adopt(slot, machine, &vm.keys.token);
        tracing::debug!(id = %record.spec.id, "adopted");
        Ok(())
    }

    /// The VM, or why it lives no more; an error when neither can be said.
    async fn adopt_machine(
        &self,
        identity: &Identity,
    ) -> Result<Result<Arc<dyn Machine>, Reason>, Failed> {
        match self.host.vmm.adopt(identity).await {
            Ok(machine) => Ok(Ok(machine)),
            Err(wrenn_vmm::Error::Gone) if identity.of_former_boot() => {
                Ok(Err(Reason::HostRebooted))
            }
            Err(wrenn_vmm::Error::OutOfMemory) => Ok(Err(Reason::OutOfMemory)),
            Err(wrenn_vmm::Error::Gone) => Ok(Err(Reason::VmmEnded(
                "it ended while the agent was away".into(),
            ))),
            Err(error) => Err(error.into()),
        }
    }

    async fn newer_generation(&self, sandbox: &Sandbox) -> Result<Option<Generation>, StepError> {
        let look = || async {
            let found = sandbox.newer_generation().await;
            found.map_err(|told| Failed::of(ErrorKind::AgentError, told))
        };
        self.insist(GENERATION, look).await
    }

    /// A guest that a former agent could not let go on.
    async fn go_on(&self, handle: &Handle) {
        let parts = handle.shared.parts();
        let Some(machine) = parts.machine.get() else {
            return;
        };
        let thaw = || async {
            match machine.run_state().await {
                Ok(RunState::Frozen) => Ok(machine.thaw().await?),
                // Its task is told how it ended.
                Ok(_) | Err(wrenn_vmm::Error::Gone) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        if let Err(error) = self.insist(THAW, thaw).await {
            tracing::error!(id = %handle.spec.id, %error, "the guest could not go on");
        }
    }

    /// Does a step, and again when it fails: what goes wrong for a moment costs nobody a sandbox.
    async fn insist<T, W>(&self, point: &'static str, work: impl Fn() -> W) -> Result<T, StepError>
    where
        W: Future<Output = Result<T, Failed>>,
    {
        let limit = Some(self.host.failpoints.limit().unwrap_or(TRY_LIMIT));
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match stepping(&self.host, point, point, None, limit, work()).await {
                Ok((done, _)) => return Ok(done),
                Err(error) => tracing::warn!(%error, "trying again"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let (done, _) = stepping(&self.host, point, point, None, limit, work()).await?;
        Ok(done)
    }
}

/// Whose each slot is. What ended in an error gives its slot back after that is recorded, so that the slot may still stand,
/// or may be somebody else's by now.
fn holders(records: &[Record]) -> HashMap<u16, SandboxId> {
    let mut holders = HashMap::new();
    let failed = |record: &&Record| matches!(record.state, State::Error(_));
    let living = records.iter().filter(|record| !failed(record));
    for record in living.chain(records.iter().filter(failed)) {
        // No slot has the number 0: it stands for one that nobody knows.
        if let Some(vm) = record.vm.as_ref().filter(|vm| vm.slot.index != 0) {
            let slot = holders.entry(vm.slot.index);
            slot.or_insert_with(|| record.spec.id.clone());
        }
    }
    holders
}

/// After a restart of the host everything that ran is gone, and a pause is what there is to go back to.
fn lost_vm(record: &Record, reason: Reason) -> Event {
    if reason == Reason::HostRebooted && record.pause.is_some() {
        Event::FellBack
    } else {
        keep_pause(record, Event::VmEnded(reason))
    }
}

/// The records that can be read, and whether there were others.
pub(crate) fn understood(replay: &Replay) -> (Vec<Record>, bool) {
    let mut foreign = false;
    let mut records = Vec::new();
    for (id, value) in &replay.records {
        match Record::read(value) {
            Ok(record) => records.push(record),
            Err(unreadable) => {
                foreign = true;
                tracing::error!(id, why = chain(&unreadable), "a record is left alone");
            }
        }
    }
    (records, foreign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;

    /// A sandbox that runs, in a slot.
    fn running() -> Record {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, include_bytes!("../testdata/journal-2")).unwrap();
        let (_journal, replay) = Journal::open(&path, &dir.path().join("sandboxes")).unwrap();
        let (records, foreign) = understood(&replay);
        assert!(!foreign);
        let mut records = records.into_iter();
        records
            .find(|record| matches!(record.state, State::Running { .. }))
            .unwrap()
    }

    fn failed(record: &Record) -> Record {
        let mut failed = record.clone();
        failed.spec.id = SandboxId::random();
        failed.state = State::Error(Reason::GuestPanicked);
        failed
    }

    #[test]
    fn a_slot_that_an_error_may_not_have_given_back_is_nobody_elses() {
        let living = running();
        let slot = living.vm.as_ref().unwrap().slot.index;
        let error = failed(&living);
        let alone = holders(std::slice::from_ref(&error));
        assert_eq!(alone, HashMap::from([(slot, error.spec.id.clone())]));
        // It was given back, and somebody else got it since.
        let both = [error, living.clone()];
        assert_eq!(
            holders(&both),
            HashMap::from([(slot, living.spec.id.clone())])
        );
    }

    #[test]
    fn a_slot_that_nobody_knows_is_nobodys() {
        let mut salvaged = failed(&running());
        salvaged.vm.as_mut().unwrap().slot.index = 0;
        assert!(holders(&[salvaged]).is_empty());
    }
}
