//! The steps of a pause as values, up to the rename that makes it true. Before that, every failure is undone by letting the
//! guest go on; after it the pause has happened, whatever comes.
//!
//! ```text
//! quiesce   the guest synced; connections to it were closed when the pause was announced
//! freeze    vCPUs stopped, the disk drained
//! memory    device state and dirty memory into next/
//! disk      the disk layer into next/
//! sync      everything on the platter
//! publish   next/ renamed to generations/<id>
//! ```
//!
//! What is left then is to give the VM back, which counts as `retire` among the timings.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use wrenn_disk::Qcow2;
use wrenn_model::{ErrorKind, Platform};
use wrenn_snapshot::{Facts, Generation, Generations, Next, Root};
use wrenn_sys::extents::Piece;
use wrenn_vmm::{Machine, RunState};

use crate::Host;
use crate::failure::{Failed, StepError, stepping};
use crate::record::{Origin, Record, Vm};
use crate::steps::{Parts, Timings, in_ms};
use crate::time::now_ms;
use wrenn_model::chain;

/// One step of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PauseStep {
    /// The guest, which nobody is connected to any more, writes out what it holds back.
    Quiesce,
    /// Its vCPUs stop; what they wrote to the disk is complete.
    Freeze,
    /// Device state and dirty memory are captured.
    Memory,
    /// The disk layer is captured.
    Disk,
    /// What was captured is made durable.
    Sync,
    /// It becomes the sandbox's newest generation.
    Publish,
}

/// A pause, in its order.
pub const PAUSE: &[PauseStep] = &[
    PauseStep::Quiesce,
    PauseStep::Freeze,
    PauseStep::Memory,
    PauseStep::Disk,
    PauseStep::Sync,
    PauseStep::Publish,
];

impl PauseStep {
    /// Its name in logs and answers; with `pause.` before it, its failpoint.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiesce => "quiesce",
            Self::Freeze => "freeze",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Sync => "sync",
            Self::Publish => "publish",
        }
    }

    /// Its failpoint.
    pub(crate) fn point(self) -> String {
        format!("pause.{}", self.name())
    }
}

/// For a guest to sync; its disk is as slow as the host's.
const SYNC_LIMIT: Duration = Duration::from_secs(30);

/// What a pause did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) timings: Timings,
    /// Bytes of memory that the generation wrote.
    pub(crate) memory: u64,
    /// Bytes of the disk layer that the generation wrote.
    pub(crate) disk: u64,
}

/// A pause under way.
struct Pausing<'a> {
    host: &'a Host,
    record: &'a Record,
    vm: &'a Vm,
    parts: &'a Parts,
    machine: &'a Arc<dyn Machine>,
    platform: &'a Platform,
    /// What the VM was started from, and what this pause is based on.
    parent: Option<Generation>,
    /// The image under its disk, and what its blocks sum to.
    base: Option<(PathBuf, Root)>,
    next: Option<Next>,
    published: Option<Generation>,
    report: Report,
}

/// Runs the steps of a pause. After an error the VM may stand still, and `next/` may be there.
pub(crate) async fn pause(
    host: &Host,
    record: &Record,
    parts: &Parts,
) -> Result<(Generation, Report), StepError> {
    let work = run(host, record, parts);
    host.metrics.timed("pause", |error| error.kind, work).await
}

async fn run(
    host: &Host,
    record: &Record,
    parts: &Parts,
) -> Result<(Generation, Report), StepError> {
    let first = |reason: &str| StepError {
        step: PAUSE[0].name(),
        kind: ErrorKind::Internal,
        reason: reason.into(),
        remedy: None,
    };
    let (Some(vm), Some(machine)) = (&record.vm, parts.machine.get()) else {
        return Err(first("it has no virtual machine"));
    };
    let Some(platform) = &vm.platform else {
        return Err(first("what it runs on was never recorded"));
    };
    let mut pausing = Pausing {
        host,
        record,
        vm,
        parts,
        machine,
        platform,
        parent: None,
        base: None,
        next: None,
        published: None,
        report: Report::default(),
    };
    for step in PAUSE {
        // A rename that comes after its time was up would be a pause that nobody knows of.
        let limit = (*step != PauseStep::Publish).then(|| host.step_limit(record.spec.memory));
        let point = step.point();
        let work = Box::pin(pausing.step(*step));
        let ((), took) = stepping(host, step.name(), &point, Some(parts), limit, work).await?;
        pausing.report.timings.push((step.name(), took));
    }
    let report = pausing.report;
    tracing::info!(
        steps_ms = in_ms(&report.timings),
        memory = report.memory,
        disk = report.disk,
        "paused"
    );
    match pausing.published {
        Some(generation) => Ok((generation, report)),
        None => Err(first("nothing was published")),
    }
}

impl Pausing<'_> {
    async fn step(&mut self, step: PauseStep) -> Result<(), Failed> {
        match step {
            PauseStep::Quiesce => self.quiesce().await,
            PauseStep::Freeze => self.freeze().await,
            PauseStep::Memory => self.memory().await,
            PauseStep::Disk => self.disk().await,
            PauseStep::Sync => {
                let (next, ()) = with(self.next.take(), Next::sync).await?;
                self.next = Some(next);
                Ok(())
            }
            PauseStep::Publish => self.publish().await,
        }
    }

    /// All that can be done while the guest still runs.
    async fn quiesce(&mut self) -> Result<(), Failed> {
        let dirty = wrenn_sys::process::private_memory(self.machine.identity().pid).unwrap_or(0);
        if let Err(error) = self.host.volume.make_room(dirty).await {
            tracing::debug!(error = chain(&error), "room for the pause may be short");
        }
        self.sync_guest().await;
        let generations = Generations::of(&self.record.home.folder);
        let parent = self.vm.origin.of_disk();
        let (parent, next) = tokio::task::spawn_blocking(move || {
            let parent = match parent {
                Some(id) => Some(generations.open(id)?),
                None => None,
            };
            Ok::<_, Failed>((parent, generations.begin()?))
        })
        .await??;
        self.base = Some(self.base(parent.as_ref()).await?);
        self.parent = parent;
        self.next = Some(next);
        Ok(())
    }

    /// The image that the layer's blocks stand over, whatever has its name by now. What was summed up once stays: another
    /// sum of the same image would pass its damage on.
    async fn base(&self, parent: Option<&Generation>) -> Result<(PathBuf, Root), Failed> {
        let base = parent.map_or_else(|| self.record.home.base.clone(), Generation::base);
        let root = match parent.and_then(|parent| parent.manifest().base.root) {
            Some(root) => root,
            None => self.host.base_root(&base).await?,
        };
        Ok((base, root))
    }

    /// The guest's memory is saved with what it has not written out yet, so that a guest that will not sync is paused all
    /// the same; only a boot from the generation's disk alone misses that.
    async fn sync_guest(&self) {
        let Some(slot) = self.parts.slot.get() else {
            return;
        };
        let client = crate::guest::client(slot.dialer.clone(), &self.vm.keys.token);
        let mut events = self.machine.events();
        if !matches!(self.machine.run_state().await, Ok(RunState::Running)) {
            return;
        }
        // Whatever happens to it, it will not sync: the next step says why it can not be paused.
        let stopped = async { while matches!(events.recv().await, Err(RecvError::Lagged(_))) {} };
        tokio::select! {
            synced = client.sync(SYNC_LIMIT) => if let Err(error) = synced {
                tracing::warn!(error = chain(&error), "the guest did not sync its disks");
            },
            () = stopped => {}
            // Somebody wants the sandbox gone, and will not wait for a guest that does not sync.
            () = self.parts.doomed.cancelled() => {}
        }
    }

    async fn freeze(&mut self) -> Result<(), Failed> {
        self.machine.freeze().await?;
        self.stands_still().await
    }

    async fn stands_still(&self) -> Result<(), Failed> {
        match self.machine.run_state().await? {
            RunState::Frozen => Ok(()),
            RunState::IoError => Err(Failed::of(
                ErrorKind::HostFull,
                "the host's disk is full, and the guest has more to write",
            )),
            other => Err(Failed::of(
                ErrorKind::Conflict,
                format!("its machine does not stand still, but is {other:?}"),
            )),
        }
    }

    async fn memory(&mut self) -> Result<(), Failed> {
        let capture = self.machine.capture().await?;
        // The image that the VM maps, and what that image has sums of.
        let (mapped, parent) = match &self.vm.origin {
            Origin::Generation(_) => {
                let parent = self.parent.clone();
                let mapped = parent.as_ref().map(Generation::memory).unwrap_or_default();
                (mapped, parent)
            }
            Origin::Template | Origin::Disk(_) => {
                (self.host.empty_memory(self.record.spec.memory).await?, None)
            }
        };
        let (state, source, pieces): (Vec<u8>, File, Vec<Piece>) =
            (capture.state, capture.memory, capture.pieces);
        let (next, written) = with(self.next.take(), move |next| {
            next.put_state(&state)?;
            next.capture_memory(&mapped, parent.as_ref(), &source, &pieces)
        })
        .await?;
        self.next = Some(next);
        self.report.memory = written.bytes;
        // A process that is being ended loses its pages before it is gone: what was read is its memory only if it lives.
        self.stands_still().await
    }

    async fn disk(&mut self) -> Result<(), Failed> {
        let (layer, parent) = (self.vm.layer.clone(), self.parent.clone());
        let base = self.base.take();
        let (base, root) =
            base.ok_or_else(|| Failed::of(ErrorKind::Internal, "it has no base image"))?;
        let (next, written) = with(self.next.take(), move |next| {
            next.link_base(&base, root)?;
            next.capture_disk(&Qcow2, &layer, parent.as_ref())
        })
        .await?;
        self.host
            .vmm
            .keep_build(self.platform, &next.build_link())?;
        self.next = Some(next);
        self.report.disk = written.bytes;
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), Failed> {
        let facts = Facts {
            spec: self.record.spec.clone(),
            platform: self.platform.clone(),
            kernel: self.host.boot.kernel_name(),
            envd: self.host.boot.initrd_name(),
            created_ms: now_ms(),
        };
        let next = self
            .next
            .take()
            .ok_or_else(|| Failed::of(ErrorKind::Internal, "there is nothing to publish"))?;
        let parent = self.parent.take();
        let published = tokio::task::spawn_blocking(move || {
            let published = next.publish(facts)?;
            check_heir(&published, parent.as_ref());
            Ok::<_, Failed>(published)
        });
        self.published = Some(published.await??);
        Ok(())
    }
}

/// A generation shares what it did not write with its parent, and its parent's damage too. Only reading it tells.
fn check_heir(published: &Generation, parent: Option<&Generation>) {
    let marked = parent.is_some_and(|parent| !matches!(parent.damage(), Ok(None)));
    if marked && let Err(error) = published.verify(&|| false) {
        tracing::error!(error = chain(&error), "the pause has its parent's damage");
    }
}

/// Work on what will be the next generation, off the runtime's threads.
async fn with<T: Send + 'static>(
    next: Option<Next>,
    work: impl FnOnce(&mut Next) -> Result<T, wrenn_snapshot::Error> + Send + 'static,
) -> Result<(Next, T), Failed> {
    let mut next =
        next.ok_or_else(|| Failed::of(ErrorKind::Internal, "there is no next generation"))?;
    Ok(tokio::task::spawn_blocking(move || {
        let done = work(&mut next)?;
        Ok::<_, wrenn_snapshot::Error>((next, done))
    })
    .await??)
}
