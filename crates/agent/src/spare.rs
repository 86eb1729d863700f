//! Virtual machines that no sandbox has: those of which boot images are made, and those that stand ready for sandboxes to come.
//!
//! No record speaks of one. It is known by its VM's id for as long as this process has it, and a start of the agent sweeps what
//! a former one had.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Weak};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use wrenn_guest_image::Template;
use wrenn_model::{MiB, NetworkPolicy, OnTimeout, SandboxId, SandboxSpec, TemplateName, VmId};
use wrenn_snapshot::{Generation, Generations};
use wrenn_vmm::{CpuShare, Machine};

use crate::Host;
#[cfg(test)]
use crate::admission::Admission;
use crate::admission::Place;
use crate::capture::{self, Capture};
use crate::failure::StepError;
use crate::library::Lent;
use crate::record::{self, Home, Origin, Record};
use crate::slots::Slot;
use crate::steps::{self, Leave, Making, Parts, Plan, Ready, SETTLE, STAND_BY, Timings, in_ms};
use crate::table::{Table, Unowned};

/// What sandboxes of one kind have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// What they are made from.
    pub template: TemplateName,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory.
    pub memory: MiB,
}

impl Shape {
    pub(crate) fn of(spec: &SandboxSpec) -> Self {
        Self {
            template: spec.template.clone(),
            vcpus: spec.vcpus,
            memory: spec.memory,
        }
    }

    /// A sandbox of this shape that is nobody's, and that the network is closed to.
    pub(crate) fn spec(&self) -> SandboxSpec {
        SandboxSpec {
            id: SandboxId::random(),
            template: self.template.clone(),
            vcpus: self.vcpus,
            memory: self.memory,
            timeout_sec: 0,
            on_timeout: OnTimeout::None,
            auto_resume: false,
            hostname: "sandbox".to_owned(),
            metadata: Default::default(),
            envs: Default::default(),
            owner_id: String::new(),
            network: NetworkPolicy {
                internet: false,
                ..NetworkPolicy::default()
            },
            parent: None,
        }
    }
}

/// A text that is no shape, or says not how many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not like minimal:1:512=2 or minimal:1:512=2+1: a template, virtual CPUs, MiB of memory, and how many"
)]
pub struct InvalidShape(String);

/// How many of a shape are to stand ready, written `minimal:1:512=2+1`: sandboxes, and VMMs that only have to load a boot image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSize {
    /// Which shape.
    pub shape: Shape,
    /// Sandboxes that were restored, used once and stopped.
    pub ready: usize,
    /// Processes that stand by behind them.
    pub started: usize,
}

impl FromStr for PoolSize {
    type Err = InvalidShape;

    fn from_str(text: &str) -> Result<Self, InvalidShape> {
        let read = || {
            let (shape, count) = text.split_once('=')?;
            let (ready, started) = count.split_once('+').unwrap_or((count, "0"));
            let mut parts = shape.split(':');
            let size = Self {
                shape: Shape {
                    template: parts.next()?.parse().ok()?,
                    vcpus: parts.next()?.parse().ok().filter(|count| *count > 0)?,
                    memory: MiB(parts.next()?.parse().ok()?),
                },
                ready: ready.parse().ok()?,
                started: started.parse().ok()?,
            };
            parts.next().is_none().then_some(size)
        };
        read().ok_or_else(|| InvalidShape(text.to_owned()))
    }
}

impl fmt::Display for PoolSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape {
            template,
            vcpus,
            memory,
        } = &self.shape;
        write!(f, "{template}:{vcpus}:{}={}", memory.0, self.ready)?;
        match self.started {
            0 => Ok(()),
            started => write!(f, "+{started}"),
        }
    }
}

/// Where spare ones are made and unmade: the work goes on whoever hangs up, and the end of the agent waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) host: Weak<Host>,
    pub(crate) table: Arc<Table>,
    pub(crate) tasks: TaskTracker,
    /// Nothing is made any more.
    pub(crate) closing: CancellationToken,
}

/// One. It is given on, or unmade when it is dropped.
#[derive(Debug)]
pub(crate) struct Spare {
    whole: Option<Box<Whole>>,
    workshop: Workshop,
    /// The agent's end waits until it is given on or unmade, in whosever hands it is.
    _waited_for: TaskTrackerToken,
}

/// All that there is of one.
#[derive(Debug)]
struct Whole {
    record: Record,
    parts: Parts,
    place: Place,
    known: Unowned,
    /// Its guest was used once; else its state is not loaded yet.
    touched: bool,
}

/// What a sandbox gets of one that it takes.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) place: Place,
    pub(crate) parts: Parts,
    /// It is known as nobody's until it is known as the sandbox's.
    pub(crate) known: Unowned,
}

impl Spare {
    /// Makes one by the steps of a plan, from a template or from what was lent. When that fails, or nobody waits for it any
    /// more, all of it goes again.
    pub(crate) async fn make(
        plan: Plan,
        host: &Host,
        workshop: &Workshop,
        shape: &Shape,
        from: From<'_>,
        place: Place,
    ) -> Result<Self, StepError> {
        let record = plan_record(host, shape, &from, place.slot_index());
        let vm = record.vm.as_ref().map(|vm| (vm.id.clone(), vm.uid));
        let spare = Self {
            whole: Some(Box::new(Whole {
                known: workshop.table.own(vm),
                record,
                parts: Parts::for_nobody(&workshop.closing),
                place,
                touched: plan.stages != STAND_BY.stages,
            })),
            workshop: workshop.clone(),
            _waited_for: workshop.tasks.token(),
        };
        let timings = spare.run(plan, host).await?;
        tracing::info!(
            steps_ms = in_ms(&timings),
            ?shape,
            "a virtual machine was made that no sandbox has"
        );
        Ok(spare)
    }

    async fn run(&self, plan: Plan, host: &Host) -> Result<Timings, StepError> {
        let whole = self.whole.as_ref();
        let Some((whole, vm)) = whole.and_then(|whole| Some((whole, whole.record.vm.as_ref()?)))
        else {
            return Ok(Timings::new());
        };
        let making = Making {
            host,
            record: &whole.record,
            vm,
            parts: &whole.parts,
            // Somebody may wait for a boot image.
            share: match plan.stages == SETTLE.stages {
                true => CpuShare::Usual,
                false => CpuShare::Background,
            },
        };
        steps::make(plan, &making).await
    }

    pub(crate) fn id(&self) -> Option<VmId> {
        let vm = self.whole.as_ref()?.record.vm.as_ref()?;
        Some(vm.id.clone())
    }

    /// What its guest may take.
    pub(crate) fn memory(&self) -> MiB {
        self.whole
            .as_ref()
            .map_or(MiB(0), |whole| whole.record.spec.memory)
    }

    pub(crate) fn machine(&self) -> Option<Arc<dyn Machine>> {
        self.whole.as_ref()?.parts.machine.get().cloned()
    }

    /// The number of its slot, and what a sandbox that takes it is begun from.
    pub(crate) fn beginning(&self) -> Option<(u16, record::Seed)> {
        let whole = self.whole.as_ref()?;
        let keys = whole.record.vm.as_ref().map(|vm| vm.keys.clone());
        let seed = record::Seed {
            keys: keys.filter(|_| whole.touched),
            ..whole.record.seed.clone()?
        };
        Some((whole.place.slot_index(), seed))
    }

    /// Makes the newest of some generations of it.
    pub(crate) async fn capture(
        &self,
        host: &Host,
        what: Capture,
        into: Generations,
    ) -> Option<Result<Generation, StepError>> {
        let whole = self.whole.as_ref()?;
        let captured = capture::capture(what, host, &whole.record, &whole.parts, into).await;
        Some(captured.map(|(generation, _)| generation))
    }

    /// Returns when all of it has gone. Whoever hangs up in between ends only the wait.
    pub(crate) async fn unmake(mut self) {
        if let Some(unmaking) = self.begin_to_unmake() {
            // It does not panic, and is not cancelled.
            drop(unmaking.await);
        }
    }

    fn begin_to_unmake(&mut self) -> Option<JoinHandle<()>> {
        let whole = self.whole.take()?;
        let host = self.workshop.host.upgrade()?;
        // Without a runtime the process ends, and its next start sweeps.
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let unmaking = async move { whole.unmake(&host).await };
        Some(self.workshop.tasks.spawn_on(unmaking, &runtime))
    }

    /// Gives it on to the sandbox of this handle. `None` for one that is not whole.
    pub(crate) fn give(mut self, doomed: &CancellationToken) -> Option<Given> {
        let whole = self.whole.as_ref()?;
        let slot = Slot {
            plan: whole.record.vm.as_ref()?.slot.clone(),
            tap: None,
            dialer: whole.parts.slot.get()?.dialer.clone(),
        };
        let ready = Ready {
            machine: whole.parts.machine.get()?.clone(),
            loaded: whole.touched,
        };
        let platform = whole.parts.platform.get()?.clone();
        let kept = whole.parts.take_kept();
        let parts = Parts::taken(doomed, slot, ready, kept, platform);
        let whole = self.whole.take()?;
        Some(Given {
            place: whole.place,
            parts,
            known: whole.known,
        })
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        drop(self.begin_to_unmake());
    }
}

impl Whole {
    /// Everything of it goes; what will not is tried again.
    async fn unmake(self, host: &Host) {
        while let Err(failures) = steps::unmake(host, &self.record, Leave::Nothing).await {
            tracing::error!(
                failures,
                "a virtual machine that no sandbox has could not be unmade; trying again"
            );
            tokio::time::sleep(steps::RETRY).await;
        }
        drop((self.place, self.known));
    }
}

/// What a spare one is made from.
#[derive(Debug)]
pub(crate) enum From<'a> {
    Template(&'a Template),
    Lent(&'a Lent),
}

/// What would be its sandbox's record. Its folder has the name of its VM, so that one rename makes it a sandbox's.
fn plan_record(host: &Host, shape: &Shape, from: &From<'_>, slot_index: u16) -> Record {
    let id = VmId::random();
    let folder = host.spares().join(id.as_str());
    let (origin, seed, template_image, virtual_size) = match from {
        From::Template(template) => (
            Origin::Template,
            None,
            template.image.clone(),
            template.virtual_size,
        ),
        From::Lent(lent) => (
            Origin::Seed,
            Some(lent.seed()),
            lent.generation.base(),
            lent.generation.manifest().layer.virtual_size,
        ),
    };
    let home = Home::in_folder(folder, template_image, virtual_size);
    let vm = host.name_vm(&home, id, slot_index, origin);
    Record::new(shape.spec(), home, seed, Some(vm))
}

#[cfg(test)]
impl Spare {
    /// One of this machine, with nothing else behind it.
    pub(crate) fn of_machine(machine: Arc<dyn Machine>, admission: &Arc<Admission>) -> Self {
        let shape: PoolSize = "minimal:1:128=0".parse().unwrap();
        let spec = shape.shape.spec();
        let id = machine.identity().vm.clone();
        let nowhere = std::net::Ipv4Addr::LOCALHOST;
        let home = Home::in_folder("/none".into(), "/none".into(), 0);
        let vm = record::Vm {
            id: id.clone(),
            origin: Origin::Seed,
            slot: wrenn_network::SlotPlan {
                index: 1,
                label: String::new(),
                veth: String::new(),
                host_ip: nowhere,
                veth_host: nowhere,
                veth_slot: nowhere,
            },
            uid: 0,
            folder: "/none".into(),
            layer: wrenn_disk::Layer {
                overlay: "/none".into(),
                base: "/none".into(),
                virtual_size: 0,
            },
            keys: record::Keys::random(),
            platform: None,
            machine: None,
        };
        let workshop = Workshop {
            host: Weak::new(),
            table: Arc::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        let parts = Parts::for_nobody(&workshop.closing);
        parts.machine.get_or_init(|| machine);
        Self {
            whole: Some(Box::new(Whole {
                known: workshop.table.own(Some((id, 0))),
                place: admission.reclaim(&spec, 1),
                record: Record::new(spec, home, None, Some(vm)),
                parts,
                touched: true,
            })),
            _waited_for: workshop.tasks.token(),
            workshop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_stand_ready_is_read_as_it_is_written() {
        for text in ["minimal:1:512=2", "minimal:1:512=2+1", "python:4:2048=0"] {
            assert_eq!(text.parse::<PoolSize>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "minimal",
            "minimal:1:512",
            "minimal:0:512=1",
            "minimal:1:512:3=1",
            "a b:1:512=1",
            "minimal:1:512=-1",
        ] {
            assert!(text.parse::<PoolSize>().is_err(), "{text:?}");
        }
    }
}
