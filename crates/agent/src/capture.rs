//! How what a virtual machine is at one instant becomes a generation, in steps. Up to the rename that makes it true every
//! failure is undone by letting the guest go on; after it the capture has happened, whatever comes.
//!
//! ```text
//!            pause snapshot fork image
//! quiesce      x      x      x     x    all that can be done beforehand; the guest syncs, but for a fork
//! freeze       x      x      x     x    vCPUs stopped, the disk drained
//! memory       x      x      x     x    device state and dirty memory into next/
//! disk         x      x      x     x    the disk layer into next/
//! thaw                x      x          the guest goes on: what it was is captured
//! sync         x      x      x     x    everything on the platter
//! publish      x      x      x     x    next/ renamed to generations/<id>
//! ```
//!
//! After a pause and an image the VM is given back, which counts as `retire` among a pause's timings.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;
use wrenn_model::{ErrorKind, Platform};
use wrenn_snapshot::{Facts, Generation, Generations, Next, Root};
use wrenn_sys::extents::Piece;
use wrenn_vmm::{Machine, RunState};

use crate::Host;
use crate::failure::{Failed, StepError, stepping};
use crate::record::{Record, Vm};
use crate::steps::{Parts, Timings, in_ms};
use crate::time::now_ms;
use wrenn_model::chain;

/// One step of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CaptureStep {
    /// The guest writes out what it holds back.
    Quiesce,
    /// Its vCPUs stop; what they wrote to the disk is complete.
    Freeze,
    /// Device state and dirty memory are captured.
    Memory,
    /// The disk layer is captured.
    Disk,
    /// The guest goes on.
    Thaw,
    /// What was captured is made durable.
    Sync,
    /// It becomes a generation.
    Publish,
}

impl CaptureStep {
    /// Its name in logs and answers; with the capture's name before it, its failpoint.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiesce => "quiesce",
            Self::Freeze => "freeze",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Thaw => "thaw",
            Self::Sync => "sync",
            Self::Publish => "publish",
        }
    }
}

/// What a virtual machine is captured for, and the steps of that in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// Its name in metrics, and before the names of its steps in failpoints.
    pub name: &'static str,
    /// What is done.
    pub steps: &'static [CaptureStep],
    /// Whether the guest is asked to sync: its disk may be booted from alone.
    syncs: bool,
    /// Whether others than its sandbox go on from it: then it has the keys of its guest in it, and nothing of what its creator
    /// gave the sandbox to know.
    for_others: bool,
}

impl Capture {
    /// The failpoint of one of its steps.
    pub(crate) fn point(&self, step: CaptureStep) -> String {
        format!("{}.{}", self.name, step.name())
    }

    /// Those of all its steps.
    pub(crate) fn points(&self) -> Vec<String> {
        self.steps.iter().map(|step| self.point(*step)).collect()
    }
}

/// Of a VM that goes on.
const GOING_ON: &[CaptureStep] = &[
    CaptureStep::Quiesce,
    CaptureStep::Freeze,
    CaptureStep::Memory,
    CaptureStep::Disk,
    CaptureStep::Thaw,
    CaptureStep::Sync,
    CaptureStep::Publish,
];

/// Of one that ends.
const ENDING: &[CaptureStep] = &[
    CaptureStep::Quiesce,
    CaptureStep::Freeze,
    CaptureStep::Memory,
    CaptureStep::Disk,
    CaptureStep::Sync,
    CaptureStep::Publish,
];

/// A sandbox's own newest generation.
pub const PAUSE: Capture = Capture {
    name: "pause",
    steps: ENDING,
    syncs: true,
    for_others: false,
};

/// A template of a sandbox that runs on.
pub const SNAPSHOT: Capture = Capture {
    name: "snapshot",
    steps: GOING_ON,
    syncs: true,
    for_others: true,
};

/// What the children of a sandbox that runs on begin from.
pub const FORK: Capture = Capture {
    name: "fork",
    steps: GOING_ON,
    // They go on from its memory.
    syncs: false,
    for_others: true,
};

/// What a guest is that nobody has introduced themselves to.
pub const IMAGE: Capture = Capture {
    name: "image",
    steps: ENDING,
    // Nothing ran in it that could have written anything, and nobody may ask it yet.
    syncs: false,
    for_others: false,
};

/// For a guest to sync; its disk is as slow as the host's.
const SYNC_LIMIT: Duration = Duration::from_secs(30);

/// What a capture did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) timings: Timings,
    /// How long the guest stood still, where it went on.
    pub(crate) frozen: Duration,
    /// Bytes of memory that the generation wrote.
    pub(crate) memory: u64,
    /// Bytes of the disk layer that the generation wrote.
    pub(crate) disk: u64,
}

/// A capture under way.
struct Capturing<'a> {
    host: &'a Host,
    record: &'a Record,
    vm: &'a Vm,
    parts: &'a Parts,
    machine: &'a Arc<dyn Machine>,
    platform: Platform,
    capture: Capture,
    /// Whose newest generation it becomes.
    into: Generations,
    /// What the VM was started from, and what this generation is based on.
    parent: Option<Generation>,
    /// The image under its disk, and what its blocks sum to.
    base: Option<(PathBuf, Root)>,
    next: Option<Next>,
    published: Option<Generation>,
    report: Report,
}

/// Runs the steps of a capture into the newest of some generations. After an error the VM may stand still, and `next/` may be
/// there.
pub(crate) async fn capture(
    capture: Capture,
    host: &Host,
    record: &Record,
    parts: &Parts,
    into: Generations,
) -> Result<(Generation, Report), StepError> {
    let work = run(capture, host, record, parts, into);
    host.metrics
        .timed(capture.name, |error| error.kind, work)
        .await
}

async fn run(
    capture: Capture,
    host: &Host,
    record: &Record,
    parts: &Parts,
    into: Generations,
) -> Result<(Generation, Report), StepError> {
    let first = |reason: &str| StepError {
        step: capture.steps[0].name(),
        kind: ErrorKind::Internal,
        reason: reason.into(),
        remedy: None,
    };
    let (Some(vm), Some(machine)) = (&record.vm, parts.machine.get()) else {
        return Err(first("it has no virtual machine"));
    };
    // One that was never announced has it nowhere else yet.
    let Some(platform) = vm.platform.as_ref().or_else(|| parts.platform.get()) else {
        return Err(first("what it runs on was never recorded"));
    };
    let mut capturing = Capturing {
        host,
        record,
        vm,
        parts,
        machine,
        platform: platform.clone(),
        capture,
        into,
        parent: None,
        base: None,
        next: None,
        published: None,
        report: Report::default(),
    };
    capturing.run().await?;
    let report = capturing.report;
    tracing::info!(
        steps_ms = in_ms(&report.timings),
        memory = report.memory,
        disk = report.disk,
        "captured for a {}",
        capture.name
    );
    match capturing.published {
        Some(generation) => Ok((generation, report)),
        None => Err(first("nothing was published")),
    }
}

impl Capturing<'_> {
    async fn run(&mut self) -> Result<(), StepError> {
        let mut frozen = None;
        for step in self.capture.steps {
            // A rename that comes after its time was up would be a generation that nobody knows of.
            let limit = (*step != CaptureStep::Publish)
                .then(|| self.host.step_limit(self.record.spec.memory));
            let (host, parts, point) = (self.host, self.parts, self.capture.point(*step));
            if *step == CaptureStep::Freeze {
                frozen = Some(Instant::now());
            }
            let work = Box::pin(self.step(*step));
            let ((), took) = stepping(host, step.name(), &point, Some(parts), limit, work).await?;
            if *step == CaptureStep::Thaw {
                self.report.frozen = frozen.map_or(Duration::ZERO, |since| since.elapsed());
            }
            self.report.timings.push((step.name(), took));
        }
        Ok(())
    }

    async fn step(&mut self, step: CaptureStep) -> Result<(), Failed> {
        match step {
            CaptureStep::Quiesce => self.quiesce().await,
            CaptureStep::Freeze => self.freeze().await,
            CaptureStep::Memory => self.memory().await,
            CaptureStep::Disk => self.disk().await,
            CaptureStep::Thaw => Ok(self.machine.thaw().await?),
            CaptureStep::Sync => {
                let (next, ()) = with(self.next.take(), Next::sync).await?;
                self.next = Some(next);
                Ok(())
            }
            CaptureStep::Publish => self.publish().await,
        }
    }

    /// All that can be done while the guest still runs.
    async fn quiesce(&mut self) -> Result<(), Failed> {
        let dirty = wrenn_sys::process::private_memory(self.machine.identity().pid).unwrap_or(0);
        if let Err(error) = self.host.volume.make_room(dirty).await {
            tracing::debug!(error = chain(&error), "room for the pause may be short");
        }
        if self.capture.syncs {
            self.sync_guest().await;
        }
        let generations = self.record.generations(&self.vm.origin);
        let parent = self.record.generation_of(&self.vm.origin);
        let into = self.into.clone();
        let (parent, next) = tokio::task::spawn_blocking(move || {
            let parent = match parent {
                Some(id) => Some(generations.open(id)?),
                None => None,
            };
            Ok::<_, Failed>((parent, into.begin()?))
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
        let (mapped, parent) = match self.parent.clone() {
            Some(parent) if self.vm.origin.is_restored() => (parent.memory(), Some(parent)),
            _ => (self.host.empty_memory(self.record.spec.memory).await?, None),
        };
        let (state, source, pieces): (Vec<u8>, File, Vec<Piece>) =
            (capture.state, capture.memory, capture.pieces);
        let keys = self.capture.for_others.then(|| self.vm.keys.to_json());
        let (next, written) = with(self.next.take(), move |next| {
            next.put_state(&state)?;
            if let Some(keys) = keys {
                next.put_keys(&keys)?;
            }
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
        let (base, disks) = (self.base.take(), Arc::clone(&self.host.disks));
        let (base, root) =
            base.ok_or_else(|| Failed::of(ErrorKind::Internal, "it has no base image"))?;
        let (next, written) = with(self.next.take(), move |next| {
            next.link_base(&base, root)?;
            next.capture_disk(disks.as_ref(), &layer, parent.as_ref())
        })
        .await?;
        self.host
            .vmm
            .keep_build(&self.platform, &next.build_link())?;
        self.next = Some(next);
        self.report.disk = written.bytes;
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), Failed> {
        let spec = if self.capture.for_others {
            self.record.spec_for_others()
        } else {
            self.record.spec.clone()
        };
        let facts = Facts {
            spec,
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
