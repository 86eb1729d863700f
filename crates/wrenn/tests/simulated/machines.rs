//! A VMM without processes: its machines are entries in the world's table, so that they outlive the agent as real ones do.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, broadcast};
use wrenn_model::{Isolation, Mismatch, Platform, VmId, VmmKind};
use wrenn_sys::durable;
use wrenn_sys::extents::Piece;
use wrenn_sys::process::{Birth, FileId};
use wrenn_vmm::{
    Capabilities, Capture, CpuShare, Ended, Error, Identity, Machine, MemorySource, RunState,
    SavedState, VmEvent, VmSpec, Vmm,
};

use super::world::{Memory, Virtual, World, sandbox_of};

/// Where a guest keeps what it knows: a page of JSON behind its length.
const HOME: u64 = 64 << 10;
const PAGE: usize = 4096;
/// What a saved device state is.
const STATE: &[u8] = b"simulated";
/// The file of a machine's pages while they are captured.
const PAGES: &str = "pages";
/// How long things take at the most, in milliseconds.
const START: u64 = 300;
const BOOT: u64 = 2_000;
const WORD: u64 = 20;
const SILENCE: u64 = 200_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct SimulatedVmm {
    world: World,
    build: PathBuf,
    platform: Platform,
}

impl SimulatedVmm {
    /// A VMM whose build is kept in this folder.
    pub(crate) fn open(world: World, store: &Path) -> io::Result<Self> {
        let build = store.join("simulated-build");
        fs::write(&build, STATE)?;
        Ok(Self {
            world,
            build,
            platform: Platform {
                vmm: VmmKind::Qemu,
                build: "simulated".into(),
                isolation: Isolation::Kvm,
                machine: "none".into(),
                cpu_model: "none".into(),
                host_cpu: "none".into(),
                cpu_features: [].into(),
                tsc_khz: 1_000_000,
            },
        })
    }

    async fn launch(
        &self,
        spec: &VmSpec,
        memory: Memory,
        run: RunState,
    ) -> Result<Arc<dyn Machine>, Error> {
        let sandbox = sandbox_of(&spec.dir).unwrap();
        let number = self.world.lock().fate(&sandbox).number;
        let mut dice = self.world.dice(&format!("start {number}"));
        tokio::time::sleep(dice.millis(START)).await;
        if self.world.strikes(&mut dice, 6) {
            self.world
                .tell(format!("{sandbox}: machine {} is refused", spec.vm));
            return Err(Error::Start {
                said: "it was refused".into(),
            });
        }
        let identity = Identity {
            vm: spec.vm.clone(),
            dir: spec.dir.clone(),
            isolation: self.platform.isolation,
            pid: i32::MAX,
            birth: Birth {
                boot_id: wrenn_sys::process::boot_id().unwrap(),
                start_time: 0,
            },
            exe: FileId { dev: 0, ino: 0 },
            cgroup: "none".into(),
            memory: None,
            pages: None,
        };
        let machine = Virtual {
            sandbox: sandbox.clone(),
            uid: spec.uid,
            run,
            ended: None,
            booted: run == RunState::Frozen,
            memory,
            events: broadcast::channel(8).0,
            changed: Arc::new(Notify::new()),
        };
        self.world.lock().put(spec.vm.clone(), machine);
        // It stands, and nobody has been told of it yet.
        tokio::time::sleep(dice.millis(START)).await;
        if self.world.strikes(&mut dice, 2) {
            self.world
                .tell(format!("{sandbox}: machine {} hangs", spec.vm));
            std::future::pending::<()>().await;
        }
        self.look_after_boot(spec.vm.clone(), dice.millis(BOOT));
        Ok(self.machine(identity))
    }

    /// What a machine does by itself after its start.
    fn look_after_boot(&self, id: VmId, takes: Duration) {
        let world = self.world.clone();
        let booting = async move {
            tokio::time::sleep(takes).await;
            let mut state = world.lock();
            state.events += 1;
            if let Some(machine) = state.machines.get_mut(&id) {
                machine.booted = true;
                machine.changed.notify_waiters();
            }
        };
        tokio::spawn(booting);
    }

    fn machine(&self, identity: Identity) -> Arc<dyn Machine> {
        Arc::new(SimulatedMachine {
            world: self.world.clone(),
            identity,
        })
    }
}

#[async_trait]
impl Vmm for SimulatedVmm {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_vcpus: 64,
            freezes_on_full_disk: true,
        }
    }

    fn kind(&self) -> VmmKind {
        self.platform.vmm
    }

    fn isolation(&self) -> Isolation {
        self.platform.isolation
    }

    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn own_memory(&self, _booted: u64) -> u64 {
        288 << 20
    }

    fn can_restore(&self, saved: &Platform) -> Result<(), Mismatch> {
        saved.loads_on(&self.platform)
    }

    async fn start(
        &self,
        spec: &VmSpec,
        _: MemorySource,
        _: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        self.launch(spec, Memory::default(), RunState::Running)
            .await
    }

    async fn stand_by(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        _: &SavedState,
        _: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        let image = memory.image();
        let memory = read(image).map_err(io_error("reading a guest's memory"))?;
        let sandbox = sandbox_of(&spec.dir).unwrap();
        {
            let mut state = self.world.lock();
            let kept = state.fate(&sandbox).kept;
            if memory.capture < kept {
                state.never(format!(
                    "{sandbox} comes back from capture {}, and {kept} was told to be kept",
                    memory.capture
                ));
            }
        }
        self.launch(spec, memory, RunState::Frozen).await
    }

    async fn adopt(&self, identity: &Identity) -> Result<Arc<dyn Machine>, Error> {
        let mut dice = self.world.dice("adopt");
        tokio::time::sleep(dice.millis(WORD)).await;
        if self.world.strikes(&mut dice, 5) {
            return Err(io_error("looking for a machine")(io::Error::other(
                "the kernel is busy",
            )));
        }
        let state = self.world.lock();
        match state.machines.get(&identity.vm) {
            Some(machine) if machine.ended.is_none() => {
                drop(state);
                self.look_after_boot(identity.vm.clone(), Duration::ZERO);
                Ok(self.machine(identity.clone()))
            }
            _ => Err(Error::Gone),
        }
    }

    async fn remove(&self, vm: &VmId, dir: &Path) -> Result<(), Error> {
        let mut dice = self.world.dice("remove");
        tokio::time::sleep(dice.millis(WORD)).await;
        if self.world.strikes(&mut dice, 3) {
            return Err(io_error("removing a machine")(io::Error::other(
                "the kernel is busy",
            )));
        }
        {
            let mut state = self.world.lock();
            state.end(vm, Ended::Signal(9));
            state.machines.remove(vm);
        }
        durable::remove(&dir.join(PAGES)).map_err(io_error("removing a machine's pages"))
    }

    async fn leftovers(&self) -> Result<Vec<VmId>, Error> {
        Ok(self.world.lock().machines.keys().cloned().collect())
    }

    fn keep_build(&self, _: &Platform, link: &Path) -> Result<(), Error> {
        match fs::hard_link(&self.build, link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked.map_err(io_error("keeping the build")),
        }
    }

    async fn collect_builds(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A machine as the agent holds it.
#[derive(Debug)]
struct SimulatedMachine {
    world: World,
    identity: Identity,
}

impl SimulatedMachine {
    /// A word with the VMM takes its time. Some VMMs do not answer, and some machines die just then.
    async fn talk(&self, what: &str) -> Result<(), Error> {
        let id = &self.identity.vm;
        let mut dice = self.world.dice(what);
        tokio::time::sleep(dice.millis(WORD)).await;
        if self.world.strikes(&mut dice, 2) {
            self.world
                .tell(format!("machine {id} does not answer to {what}"));
            tokio::select! {
                () = tokio::time::sleep(dice.millis(SILENCE)) => {}
                () = self.ended() => {}
            }
        }
        if self.world.strikes(&mut dice, 2) {
            let mut state = self.world.lock();
            if let Some(machine) = state.machines.get(id) {
                let sandbox = machine.sandbox.clone();
                state.fate(&sandbox).harmed = true;
            }
            state.end(id, Ended::Signal(11));
        }
        self.lives()
    }

    async fn ended(&self) {
        loop {
            let changed = match self.world.lock().machines.get(&self.identity.vm) {
                Some(machine) if machine.ended.is_none() => {
                    machine.changed.clone().notified_owned()
                }
                _ => return,
            };
            changed.await;
        }
    }

    fn lives(&self) -> Result<(), Error> {
        match self.world.lock().machines.get(&self.identity.vm) {
            Some(machine) if machine.ended.is_none() => Ok(()),
            _ => Err(Error::Gone),
        }
    }
}

#[async_trait]
impl Machine for SimulatedMachine {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn load(&self) -> Result<(), Error> {
        self.run_state().await.map(drop)
    }

    async fn freeze(&self) -> Result<(), Error> {
        self.talk("freeze").await?;
        self.world.lock().set(&self.identity.vm, RunState::Frozen);
        Ok(())
    }

    async fn thaw(&self) -> Result<(), Error> {
        self.talk("thaw").await?;
        self.world.lock().set(&self.identity.vm, RunState::Running);
        Ok(())
    }

    async fn set_share(&self, _: CpuShare) -> Result<(), Error> {
        self.talk("set the share of").await
    }

    async fn capture(&self) -> Result<Capture, Error> {
        self.talk("capture").await?;
        let memory = {
            let mut state = self.world.lock();
            let machine = state.machines.get(&self.identity.vm).ok_or(Error::Gone)?;
            if machine.run != RunState::Frozen {
                return Err(Error::NotFrozen(machine.run));
            }
            let sandbox = machine.sandbox.clone();
            let fate = state.fate(&sandbox);
            fate.captures += 1;
            let capture = fate.captures;
            state.tell(&format!("{sandbox}: capture {capture}"));
            let machine = state
                .machines
                .get_mut(&self.identity.vm)
                .ok_or(Error::Gone)?;
            machine.memory.capture = capture;
            machine.memory.clone()
        };
        let path = self.identity.dir.join(PAGES);
        let page = page(&memory);
        fs::write(&path, page).map_err(io_error("writing a guest's pages"))?;
        let memory = File::open(&path).map_err(io_error("opening a guest's pages"))?;
        durable::remove(&path).map_err(io_error("removing a guest's pages"))?;
        Ok(Capture {
            state: STATE.to_vec(),
            memory,
            pieces: vec![Piece {
                from: 0,
                to: HOME,
                len: PAGE as u64,
            }],
        })
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        self.talk("run state").await?;
        let state = self.world.lock();
        let machine = state.machines.get(&self.identity.vm).ok_or(Error::Gone)?;
        Ok(machine.run)
    }

    fn events(&self) -> broadcast::Receiver<VmEvent> {
        let state = self.world.lock();
        match state.machines.get(&self.identity.vm) {
            Some(machine) if machine.ended.is_none() => machine.events.subscribe(),
            gone => {
                // Nobody tells it again: who comes after the end has a channel that holds nothing else.
                let how = gone
                    .and_then(|machine| machine.ended)
                    .unwrap_or(Ended::Unknown);
                let (late, events) = broadcast::channel(1);
                drop(late.send(VmEvent::Ended { how }));
                events
            }
        }
    }

    async fn console(&self) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }

    async fn kill(&self) -> Result<(), Error> {
        tokio::time::sleep(self.world.dice("kill").millis(WORD)).await;
        self.world.lock().end(&self.identity.vm, Ended::Signal(9));
        Ok(())
    }
}

fn page(memory: &Memory) -> Vec<u8> {
    let text = serde_json::to_vec(memory).unwrap();
    let mut page = (text.len() as u64).to_le_bytes().to_vec();
    page.extend(text);
    page.resize(PAGE, 0);
    page
}

fn read(image: &Path) -> io::Result<Memory> {
    let mut page = [0; PAGE];
    File::open(image)?.read_exact_at(&mut page, HOME)?;
    let (length, text) = page.split_at(8);
    let length = u64::from_le_bytes(length.try_into().map_err(io::Error::other)?);
    let text = usize::try_from(length)
        .ok()
        .and_then(|length| text.get(..length));
    let text = text.ok_or_else(|| io::Error::other("there is no guest in the memory"))?;
    Ok(serde_json::from_slice(text)?)
}

/// For `map_err`: says what was being done.
fn io_error(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Io { what, source }
}
