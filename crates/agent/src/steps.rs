//! The steps by which a sandbox gets a virtual machine, as values, and the executor that runs them forwards and backwards.
//!
//! Steps of one stage run side by side; stages run one after the other. Unmaking runs the stages in reverse. To unmake a
//! step it takes nothing but the record, it may be done twice, and it may be done to a step that was never made.

mod parts;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use wrenn_envd_client::Connector;
use wrenn_model::{ErrorKind, NetworkPolicy};
use wrenn_sys::durable;
use wrenn_vmm::{CpuShare, Identity, Machine, MemorySource, Qcow2Disk, SavedState, VmDisk, VmSpec};

use crate::failure::{Failed, StepError, stepping};
use crate::record::{Keys, Origin, Record, Vm};
use crate::{Host, guest, metrics};

pub(crate) use parts::{Guest, Parts, Ready};

/// One step on the way to a running guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The sandbox's folder with a link to the base image.
    Folder,
    /// The generation to go on from: whole, and of a machine like this one.
    Check,
    /// The network slot.
    Slot,
    /// The VM's folder with its copy-on-write disk layer.
    Layer,
    /// The VMM's process, with its jail.
    Machine,
    /// The same up to the state, which it loads when it is told to.
    StandBy,
    /// The guest agent: up, and told who it is.
    Guest,
    /// A virtual machine that stood ready becomes the sandbox's.
    Take,
    /// Its network, closed so far, is put under the sandbox's policy.
    Policy,
    /// The guest has come up and has nothing to do any more.
    Settle,
    /// The guest agent has done once what a caller will ask of it first, and stands still.
    Touch,
}

impl Step {
    /// Its name in logs and errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Check => "check",
            Self::Slot => "slot",
            Self::Layer => "layer",
            Self::Machine => "machine",
            Self::StandBy => "standby",
            Self::Guest => "guest",
            Self::Take => "take",
            Self::Policy => "policy",
            Self::Settle => "settle",
            Self::Touch => "touch",
        }
    }
}

/// A list of stages, and what comes before the names of its steps in failpoints.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Such as `resume.`.
    pub prefix: &'static str,
    /// The stages in their order.
    pub stages: &'static [&'static [Step]],
}

impl Plan {
    /// The failpoint of one of its steps.
    pub(crate) fn point(&self, step: Step) -> String {
        format!("{}{}", self.prefix, step.name())
    }

    fn operation(&self) -> &'static str {
        self.prefix.strip_suffix('.').unwrap_or(metrics::CREATE)
    }
}

/// How a sandbox comes to be by a boot.
pub const CREATE: Plan = Plan {
    prefix: "",
    stages: &[
        &[Step::Folder, Step::Slot],
        &[Step::Layer],
        &[Step::Machine],
        &[Step::Guest],
    ],
};

/// How one comes to be from what another was at one instant, with its memory or from its disk.
pub const CLONE: Plan = Plan {
    prefix: "clone.",
    stages: &[
        &[Step::Folder, Step::Slot],
        &[Step::Check],
        &[Step::Layer],
        &[Step::Machine],
        &[Step::Guest],
    ],
};

/// How one gets a virtual machine that stood ready.
pub const TAKE: Plan = Plan {
    prefix: "take.",
    stages: &[&[Step::Policy], &[Step::Take], &[Step::Guest]],
};

/// How a virtual machine comes to be of which a boot image is made.
pub const SETTLE: Plan = Plan {
    prefix: "settle.",
    stages: &[
        &[Step::Folder, Step::Slot],
        &[Step::Layer],
        &[Step::Machine],
        &[Step::Settle],
    ],
};

/// How one comes to be that will stand ready.
pub const FILL: Plan = Plan {
    prefix: "fill.",
    stages: &[
        &[Step::Folder, Step::Slot],
        &[Step::Check],
        &[Step::Layer],
        &[Step::Machine],
        &[Step::Touch],
    ],
};

/// How one comes to be that will load its state when it is taken.
pub const STAND_BY: Plan = Plan {
    prefix: "standby.",
    stages: &[
        &[Step::Folder, Step::Slot],
        &[Step::Check],
        &[Step::Layer],
        &[Step::StandBy],
    ],
};

/// How a paused one comes back.
pub const RESUME: Plan = Plan {
    prefix: "resume.",
    stages: &[
        &[Step::Check],
        &[Step::Slot, Step::Layer],
        &[Step::Machine],
        &[Step::Guest],
    ],
};

/// What is to be left when steps are unmade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Nothing: the sandbox goes.
    Nothing,
    /// The sandbox's folder with its generations: the VM goes with all that it had.
    Home,
    /// The VM's disk layer too: it may be all that there is.
    Disk,
}

impl Leave {
    /// Whether what this step made stays. What makes nothing leaves nothing to unmake.
    pub(crate) fn spares(self, step: Step) -> bool {
        match self {
            _ if !matches!(
                step,
                Step::Folder | Step::Slot | Step::Layer | Step::Machine
            ) =>
            {
                true
            }
            Self::Nothing => false,
            Self::Home => step == Step::Folder,
            Self::Disk => matches!(step, Step::Folder | Step::Layer),
        }
    }

    /// The failpoint of a step that is unmade.
    pub(crate) fn point(self, step: Step) -> String {
        format!("{}.{}", self.operation(), step.name())
    }

    fn operation(self) -> &'static str {
        match self {
            Self::Nothing => "destroy",
            Self::Home => "retire",
            Self::Disk => "release",
        }
    }
}

/// A sandbox that is getting a virtual machine.
pub(crate) struct Making<'a> {
    pub(crate) host: &'a Host,
    pub(crate) record: &'a Record,
    pub(crate) vm: &'a Vm,
    pub(crate) parts: &'a Parts,
    /// What its machine gets of the processors at first.
    pub(crate) share: CpuShare,
}

/// Among timings: the wait for the turn to start, before the first step.
pub(crate) const QUEUE: &str = "queue";

/// Among timings: what a creation wrote into the journal, at its begin and at its end.
pub(crate) const JOURNAL: &str = "journal";

/// How long each step took.
pub(crate) type Timings = Vec<(&'static str, Duration)>;

/// As a log line tells it: `slot 3.1, layer 0.4`.
pub(crate) fn in_ms(timings: &Timings) -> String {
    let told = timings
        .iter()
        .map(|(step, took)| format!("{step} {:.1}", took.as_secs_f64() * 1e3));
    told.collect::<Vec<_>>().join(", ")
}

/// Runs all stages. It looks for a cancellation between them, and in the long wait for the guest.
pub(crate) async fn make(plan: Plan, making: &Making<'_>) -> Result<Timings, StepError> {
    let (metrics, work) = (&making.host.metrics, run(plan, making));
    let _start = making.starts(plan).then(|| metrics.starts.begin());
    metrics
        .timed(plan.operation(), |error| error.kind, work)
        .await
}

async fn run(plan: Plan, making: &Making<'_>) -> Result<Timings, StepError> {
    let mut timings = Timings::new();
    for stage in plan.stages {
        if making.parts.cancel.is_cancelled() {
            return Err(cancelled(stage[0]));
        }
        let steps = stage.iter().map(|step| making.make(plan, *step));
        // Each comes to its end, also beside one that failed: what goes on in a thread of its own would come after its
        // unmaking.
        for made in join_all(steps).await {
            timings.push(made?);
        }
    }
    Ok(timings)
}

fn cancelled(step: Step) -> StepError {
    StepError {
        step: step.name(),
        kind: ErrorKind::Conflict,
        reason: "nobody waits for it any more".into(),
        remedy: None,
    }
}

/// Unmakes everything but what is to be left. It goes on past failures and tells them at the end.
pub(crate) async fn unmake(host: &Host, record: &Record, leave: Leave) -> Result<(), String> {
    let began = Instant::now();
    let mut failures = Vec::new();
    for stage in CREATE.stages.iter().rev() {
        let steps = stage.iter().filter(|step| !leave.spares(**step));
        let unmade = steps.map(|step| unmake_step(*step, leave, host, record));
        let results = join_all(unmade).await;
        let failed = results.into_iter().filter_map(Result::err);
        failures.extend(failed.map(|error| error.to_string()));
    }
    let error = (!failures.is_empty()).then_some(ErrorKind::AgentError);
    host.metrics
        .operation(leave.operation(), began.elapsed(), error);
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; "))
    }
}

impl Making<'_> {
    /// Whether a virtual machine boots, is restored or loads its state: one that is taken has mostly done so.
    fn starts(&self, plan: Plan) -> bool {
        let mut steps = plan.stages.iter().flat_map(|stage| stage.iter());
        let stood_by = || {
            let ready = self.parts.lock_ready();
            ready.as_ref().is_some_and(|ready| !ready.loaded)
        };
        steps.any(|step| *step == Step::Machine) || stood_by()
    }

    async fn make(&self, plan: Plan, step: Step) -> Result<(&'static str, Duration), StepError> {
        let made = Box::pin(async {
            match step {
                Step::Folder => self.folder().await,
                Step::Check => self.check().await,
                Step::Slot => self.slot().await,
                Step::Layer => self.layer().await,
                // What a VMM half made is found by its name.
                Step::Machine => self.unless_cancelled(self.machine(Start::Running)).await,
                Step::StandBy => self.unless_cancelled(self.machine(Start::Waiting)).await,
                Step::Guest => self.unless_cancelled(self.guest()).await,
                Step::Take => self.take().await,
                Step::Policy => self.policy().await,
                Step::Settle => self.unless_cancelled(self.settle()).await,
                Step::Touch => self.unless_cancelled(self.touch()).await,
            }
        });
        let limit = Some(self.host.step_limit(self.record.spec.memory));
        let point = plan.point(step);
        let (_, took) = stepping(
            self.host,
            step.name(),
            &point,
            Some(self.parts),
            limit,
            made,
        )
        .await?;
        Ok((step.name(), took))
    }

    /// For waits that may be long. What is done must leave nothing behind that its unmaking would miss.
    async fn unless_cancelled(
        &self,
        work: impl Future<Output = Result<(), Failed>>,
    ) -> Result<(), Failed> {
        tokio::select! {
            made = work => made,
            () = self.parts.cancel.cancelled() => {
                Err(Failed::of(ErrorKind::Conflict, "nobody waits for it any more"))
            }
        }
    }

    async fn folder(&self) -> Result<(), Failed> {
        self.host.volume.grow_if_needed().await?;
        let home = self.record.home.clone();
        let seed = self.record.seed.as_ref().map(|seed| seed.from.clone());
        blocking(move || {
            let mut folders = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
            folders.create(&home.folder)?;
            std::fs::hard_link(&home.template_image, &home.base)?;
            if let Some(from) = seed {
                std::fs::rename(from, home.seed())?;
            }
            sync_folder(&home.folder)
        })
        .await?;
        Ok(())
    }

    /// The folder of the virtual machine that stood ready becomes the sandbox's, with all that is in it. It is not synced: with
    /// the host its virtual machine ends, and what that has to keep of its disk is synced after this.
    async fn take(&self) -> Result<(), Failed> {
        let ready = self.parts.lock_ready().take();
        let Some(Ready { machine, loaded }) = ready else {
            return Err(Failed::of(ErrorKind::Internal, "nothing stands ready"));
        };
        let from = self.host.spares().join(self.vm.id.as_str());
        let to = self.record.home.folder.clone();
        blocking(move || std::fs::rename(from, to)).await?;
        let machine = match machine.moved(&self.vm.folder) {
            Some(moved) => moved,
            None => {
                let identity = Identity {
                    dir: self.vm.folder.clone(),
                    ..machine.identity().clone()
                };
                // Its control socket has room for one.
                drop(machine);
                let machine = self.host.vmm.adopt(&identity).await?;
                self.host.watched(machine, &self.vm.layer)
            }
        };
        machine.set_share(CpuShare::Usual).await?;
        if !loaded {
            machine.load().await?;
        }
        machine.thaw().await?;
        let taken = self.parts.machine.set(machine).is_ok();
        debug_assert!(taken, "a machine is taken once");
        Ok(())
    }

    /// What stood ready is under the usual policy, and no guest of it runs yet.
    async fn policy(&self) -> Result<(), Failed> {
        match &self.record.spec.network {
            usual if *usual == NetworkPolicy::default() => Ok(()),
            policy => Ok(self.host.network.change(&self.vm.slot, policy).await?),
        }
    }

    async fn settle(&self) -> Result<(), Failed> {
        let (dialer, machine) = self.reached()?;
        let limit = self.host.boot_limit(self.record.spec.memory);
        drop(guest::wait_for_boot(dialer.as_ref(), machine.as_ref(), limit).await?);
        guest::settle(machine.identity().pid).await;
        Ok(())
    }

    /// The guest does what it will have to do when it is taken, and stands still. While it runs its network is closed; nothing
    /// passes through that of one that stands still.
    async fn touch(&self) -> Result<(), Failed> {
        self.guest().await?;
        self.parts.leave_guest();
        let (dialer, machine) = self.reached()?;
        let client = guest::patient_client(dialer, &self.vm.keys.token);
        guest::touch(&self.parts.connect(client.clone())).await?;
        let known = Some(self.vm.keys.init_key.as_str());
        guest::introduce(&client, self.record, self.vm, known).await?;
        self.parts.leave_guest();
        // Whoever takes it goes on over a connection that both ends have used.
        self.parts.keep(client);
        machine.freeze().await?;
        self.open_network().await
    }

    /// Puts a slot whose machine stands still under the policy that most ask for: whoever takes it waits for that no more.
    async fn open_network(&self) -> Result<(), Failed> {
        let (network, usual) = (&self.host.network, NetworkPolicy::default());
        Ok(network.change(&self.vm.slot, &usual).await?)
    }

    fn reached(&self) -> Result<Reached, Failed> {
        match (self.parts.slot.get(), self.parts.machine.get()) {
            (Some(slot), Some(machine)) => Ok((slot.dialer.clone(), machine.clone())),
            _ => Err(std::io::Error::other("no slot or machine").into()),
        }
    }

    async fn check(&self) -> Result<(), Failed> {
        self.host.volume.grow_if_needed().await?;
        let generations = self.record.generations(&self.vm.origin);
        let wanted = self.record.generation_of(&self.vm.origin);
        let warm = self.vm.origin.is_restored();
        let own = matches!(self.vm.origin, Origin::Generation(_));
        let keys = self.record.pause.as_ref().map(|pause| &pause.keys);
        if own && keys.is_some_and(Keys::are_lost) {
            return Err(Failed {
                kind: ErrorKind::Conflict,
                reason: "the keys that its guest knows went with a damaged journal".into(),
                remedy: Some("resume it with {\"cold\": true}, which boots from its disk alone"),
            });
        }
        let base = self.vm.layer.base.clone();
        let generation = tokio::task::spawn_blocking(move || {
            let wanted =
                wanted.ok_or_else(|| Failed::of(ErrorKind::Internal, "it has no generation"))?;
            let generation = generations.examine(wanted, |generation| {
                if warm {
                    generation.check()?;
                } else {
                    generation.check_disk()?;
                }
                Ok(generation.clone())
            })?;
            // What the VM is given has to be what was checked.
            if generation.name_base(&base)? {
                tracing::warn!(base = %base.display(), "it was not the pause's base image, and is again");
            }
            Ok::<_, Failed>(generation)
        })
        .await??;
        let platform = &generation.manifest().platform;
        let (made_by, here) = (platform.vmm, self.host.vmm.kind());
        if made_by != here {
            return Err(Failed {
                kind: ErrorKind::Conflict,
                reason: format!(
                    "it was made by {}, and its disk and memory are of that one's kind; this host runs {}",
                    made_by.as_str(),
                    here.as_str()
                ),
                remedy: Some("go on with it on a host whose `--vmm` is that one"),
            });
        }
        if warm {
            self.host
                .vmm
                .can_restore(platform)
                .map_err(|mismatch| Failed {
                    kind: ErrorKind::Conflict,
                    reason: format!("it can not go on here: {mismatch}"),
                    remedy: Some(
                        "go on where it was made, or with {\"cold\": true}, which boots from its disk alone",
                    ),
                })?;
        }
        let taken = self.parts.generation.set(generation).is_ok();
        debug_assert!(taken, "a generation is checked once");
        Ok(())
    }

    /// One that stood ready is under the usual policy.
    async fn slot(&self) -> Result<(), Failed> {
        if self.parts.slot.get().is_some() {
            return self.policy().await;
        }
        let (network, policy) = (&self.host.network, &self.record.spec.network);
        let slot = network.create(&self.vm.slot, policy).await?;
        self.parts.receive_slot(slot);
        Ok(())
    }

    async fn layer(&self) -> Result<(), Failed> {
        let (vm, generation) = (self.vm.clone(), self.parts.generation.get().cloned());
        let disks = Arc::clone(&self.host.disks);
        tokio::task::spawn_blocking(move || -> Result<(), Failed> {
            let mut folders = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
            folders.create(&vm.folder)?;
            match generation {
                None => disks.create(&vm.layer, vm.uid)?,
                Some(generation) => disks.branch(&generation.layer(), &vm.layer, vm.uid)?,
            }
            Ok(())
        })
        .await?
    }

    async fn machine(&self, start: Start) -> Result<(), Failed> {
        let vm = self.vm;
        let spec = VmSpec {
            vm: vm.id.clone(),
            vcpus: self.record.spec.vcpus,
            memory: self.record.spec.memory,
            kernel: self.host.boot.kernel.clone(),
            initrd: self.host.boot.initrd.clone(),
            disk: self.attach().await?,
            mac: wrenn_envd_api::guest::MAC,
            uid: vm.uid,
            dir: vm.folder.clone(),
            share: self.share,
        };
        let saved = self.saved();
        let platform = saved
            .as_ref()
            .map_or(self.host.vmm.platform(), |(saved, _)| &saved.platform)
            .clone();
        self.host.vmm.keep_build(&platform, &vm.build_link())?;
        let tap = self
            .parts
            .lock_tap()
            .take()
            .ok_or_else(|| std::io::Error::other("the slot has no TAP"))?;
        let machine = match saved {
            Some((saved, memory)) => {
                let vmm = &self.host.vmm;
                match start {
                    Start::Waiting => {
                        let machine = vmm.stand_by(&spec, memory, &saved, tap).await?;
                        self.open_network().await?;
                        machine
                    }
                    Start::Running => {
                        let machine = vmm.restore(&spec, memory, &saved, tap).await?;
                        machine.thaw().await?;
                        machine
                    }
                }
            }
            None => {
                let memory = self.host.empty_memory(self.record.spec.memory).await?;
                let memory = MemorySource::Image(memory);
                self.host.vmm.start(&spec, memory, tap).await?
            }
        };
        let machine = self.host.watched(machine, &vm.layer);
        let taken =
            self.parts.machine.set(machine).is_ok() && self.parts.platform.set(platform).is_ok();
        debug_assert!(taken, "a machine is started once");
        Ok(())
    }

    /// The layer as its VMM has it. With the machine it is let go.
    async fn attach(&self) -> Result<VmDisk, Failed> {
        let (disks, layer) = (Arc::clone(&self.host.disks), self.vm.layer.clone());
        let attached = tokio::task::spawn_blocking(move || disks.attach(&layer));
        Ok(match attached.await?? {
            Some(device) => VmDisk::Device(device),
            None => VmDisk::Qcow2(Qcow2Disk {
                overlay: self.vm.layer.overlay.clone(),
                base: self.vm.layer.base.clone(),
                size: self.vm.layer.virtual_size,
            }),
        })
    }

    /// What to restore, with its memory; none for a boot.
    fn saved(&self) -> Option<(SavedState, MemorySource)> {
        let generation = self.parts.generation.get()?;
        self.vm.origin.is_restored().then(|| {
            let saved = SavedState {
                state: generation.state(),
                platform: generation.manifest().platform.clone(),
            };
            let memory = MemorySource::Summed {
                image: generation.memory(),
                sums: generation.memory_sums(),
                touched: generation.touched(),
            };
            (saved, memory)
        })
    }

    async fn guest(&self) -> Result<(), Failed> {
        let token = &self.vm.keys.token;
        let client = match self.parts.take_kept() {
            Some(client) => client.with_token(token.clone()),
            None => {
                let (dialer, machine) = self.reached()?;
                let limit = self.host.boot_limit(self.record.spec.memory);
                let ready = guest::wait_for_boot(dialer.as_ref(), machine.as_ref(), limit).await?;
                guest::client_over(dialer, ready, token)
            }
        };
        let known = self.record.known_init_key(&self.vm.origin);
        guest::introduce(&client, self.record, self.vm, known).await?;
        self.parts.connect(client);
        Ok(())
    }
}

/// The way to a guest, and its machine.
type Reached = (Arc<dyn Connector>, Arc<dyn Machine>);

/// How far a virtual machine goes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Running,
    /// Up to the state that it is to load.
    Waiting,
}

/// Unmakes a step, for as long as such a thing may take. One that hangs has failed, and failures are tried again.
async fn unmake_step(
    step: Step,
    leave: Leave,
    host: &Host,
    record: &Record,
) -> Result<(), StepError> {
    let unmade = async {
        unmake_once(step, host, record).await?;
        if host.failpoints.undo_twice() {
            unmake_once(step, host, record).await?;
        }
        Ok(())
    };
    let point = leave.point(step);
    let limit = Some(host.failpoints.limit().unwrap_or(UNMAKE_LIMIT));
    stepping(host, step.name(), &point, None, limit, unmade)
        .await
        .map(drop)
}

async fn unmake_once(step: Step, host: &Host, record: &Record) -> Result<(), Failed> {
    match (step, &record.vm) {
        (Step::Folder, vm) => {
            remove(&record.home.folder).await?;
            // Where what stood ready was when it was not taken yet.
            if let Some(vm) = vm {
                remove(&host.spares().join(vm.id.as_str())).await?;
            }
        }
        (Step::Machine, Some(vm)) => {
            host.let_disk_go_on(&vm.layer).await?;
            host.vmm.remove(&vm.id, &vm.folder).await?;
            let (disks, layer) = (Arc::clone(&host.disks), vm.layer.clone());
            tokio::task::spawn_blocking(move || disks.detach(&layer)).await??;
        }
        (Step::Layer, Some(vm)) => remove(&vm.folder).await?,
        (Step::Slot, Some(vm)) => host.network.remove(&vm.slot).await?,
        // They make nothing that is not one of those.
        _ => {}
    }
    Ok(())
}

async fn remove(path: &Path) -> std::io::Result<()> {
    let owned = path.to_owned();
    let removed = blocking(move || durable::remove(&owned)).await;
    removed
        .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Makes a sandbox's folder durable, and the names in it: its record speaks of them.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    durable::sync_dir(folder)?;
    folder.parent().map_or(Ok(()), durable::sync_dir)
}

/// File work off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| std::io::Error::other(error.to_string()))?
}

/// How long the executor waits before it tries again to unmake what would not go.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// How long it may take to unmake one step: a VMM has ten seconds to end, and a disk much to free.
const UNMAKE_LIMIT: Duration = Duration::from_secs(60);
