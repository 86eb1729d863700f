//! A VMM without virtual machines: each of its machines is a process of its own that holds what a VM holds, a cgroup, the
//! slot's TAP, a namespace behind it, memory, and in it a guest agent that answers. It boots in milliseconds.
//!
//! The process is the caller's own executable, started anew; [`run_if_asked`] has to be the first thing that it calls. It
//! outlives whoever started it and is adopted as QEMU is.
//!
//! | command in the guest | what it does |
//! |---|---|
//! | `count` | prints a [`Count`] as JSON and begins to look for a longest gap anew |
//! | `keep TEXT` | keeps it in the guest's memory |
//! | `kept` | prints it |
//! | `true` | ends with 0 |

mod agent;
mod control;
mod machine;
mod memory;
mod network;
mod process;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wrenn_model::{InstanceId, Isolation, Mismatch, Platform, VmId, VmmKind};
use wrenn_sys::cgroup::{Cgroup, Hierarchies, Limits};
use wrenn_sys::durable;
use wrenn_sys::process as host;
use wrenn_sys::process::Process;
use wrenn_vmm::{Capabilities, Error, Identity, Machine, MemorySource, SavedState, VmSpec, Vmm};

use control::Control;
use machine::FakeMachine;

pub use memory::Count;
pub use process::run_if_asked;

/// How long a machine may take to answer, and its processes to end.
const START_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(10);
/// How often a machine that starts is asked.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// What a machine may use: enough for a process that counts.
const LIMITS: Limits = Limits {
    memory: 64 << 20,
    cpu_milli: 1000,
    pids: 64,
};

/// The names in a VM's folder.
const BIRTH_NOTE: &str = "fake-vm.json";
const LOG: &str = "fake-vm.log";
const PAGES: &str = "fake-vm.pages";
const KEPT: &str = "build";
/// What links keep, beside where the VMs' folders are.
const BUILD: &str = "fake-build";
/// What a saved device state begins with.
const STATE: &str = "fake-vm state 1\n";

/// What a machine's process has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Birth {
    /// Where it listens for [`Control`].
    control: String,
    /// The files of its cgroup into which it writes itself.
    doors: Vec<PathBuf>,
    /// The memory image, and its size in bytes.
    image: PathBuf,
    memory: u64,
    /// It was not booted but is what the image holds, and stands still.
    restored: bool,
    mac: [u8; 6],
}

/// The driver.
#[derive(Debug)]
pub struct FakeVmm {
    instance: InstanceId,
    helper: PathBuf,
    hierarchies: Hierarchies,
    build: PathBuf,
    platform: Platform,
}

impl FakeVmm {
    /// A VMM for an instance whose VMs have their folders below `state`. `helper` is a program that calls
    /// [`run_if_asked`] first.
    ///
    /// # Errors
    /// The kernel has no cgroups, or `state` can not be written.
    pub fn open(instance: InstanceId, helper: PathBuf, state: &Path) -> Result<Self, Error> {
        let build = state.join(BUILD);
        fs::write(&build, STATE).map_err(io_error("writing the build's marker"))?;
        Ok(Self {
            instance,
            helper,
            hierarchies: Hierarchies::find()?,
            build,
            platform: Platform {
                vmm: VmmKind::Qemu,
                build: "fake".into(),
                isolation: Isolation::Emulated,
                machine: "none".into(),
                cpu_model: "none".into(),
                host_cpu: "none".into(),
                cpu_features: [].into(),
                tsc_khz: 1_000_000,
            },
        })
    }

    fn parent(&self) -> String {
        format!("wrenn-{}", self.instance)
    }

    fn cgroup(&self, vm: &VmId) -> Cgroup {
        self.hierarchies.group(&self.parent(), vm.as_str())
    }

    /// Runs a machine; a failure leaves nothing.
    async fn launch(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        restored: bool,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        match self.begin(spec, memory, restored, tap).await {
            Ok(machine) => Ok(Arc::new(machine)),
            Err(error) => {
                // The error that led here is the one to tell.
                drop(self.remove(&spec.vm, &spec.dir).await);
                Err(error)
            }
        }
    }

    async fn begin(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        restored: bool,
        tap: OwnedFd,
    ) -> Result<FakeMachine, Error> {
        let image = memory.image().to_owned();
        let cgroup = self.cgroup(&spec.vm);
        cgroup.create(LIMITS)?;
        self.keep_build(&self.platform, &spec.dir.join(KEPT))?;
        let birth = Birth {
            control: control::address(&spec.vm),
            doors: cgroup.doors(),
            image,
            memory: spec.memory.bytes(),
            restored,
            mac: spec.mac,
        };
        let note = spec.dir.join(BIRTH_NOTE);
        let text = serde_json::to_vec(&birth).map_err(|error| Error::Spec(error.to_string()))?;
        fs::write(&note, text).map_err(io_error("writing the machine's birth note"))?;
        let log = fs::File::create(spec.dir.join(LOG)).map_err(io_error("making the log"))?;
        let child = host::spawn_helper(&self.helper, process::asking(&note), tap, log.into());
        let child = child.map_err(io_error("starting the machine's process"))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let process = Process::open(pid.ok_or(Error::Gone)?)
            .map_err(io_error("watching the machine's process"))?
            .ok_or(Error::Gone)?;
        let control = Control::new(&spec.vm);
        greet(&control, &process, &spec.dir).await?;
        let look = || io_error("looking at the machine's process");
        let identity = Identity {
            vm: spec.vm.clone(),
            dir: spec.dir.clone(),
            isolation: self.platform.isolation,
            pid: process.pid(),
            birth: host::birth(process.pid())
                .map_err(look())?
                .ok_or(Error::Gone)?,
            exe: host::exe(process.pid())
                .map_err(look())?
                .ok_or(Error::Gone)?,
            cgroup: cgroup.path(),
            memory: None,
            pages: None,
        };
        Ok(FakeMachine::new(identity, process, cgroup, control))
    }
}

/// Waits until the machine answers.
async fn greet(control: &Control, process: &Process, dir: &Path) -> Result<(), Error> {
    let answers = async {
        while control.run_state().await.is_err() {
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    let ended = || Error::Start {
        said: fs::read_to_string(dir.join(LOG)).unwrap_or_default(),
    };
    tokio::select! {
        answered = tokio::time::timeout(START_LIMIT, answers) => {
            answered.map_err(|_| timed_out("the start of a machine", START_LIMIT))
        }
        _ = process.ended() => Err(ended()),
    }
}

#[async_trait]
impl Vmm for FakeVmm {
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
        memory: MemorySource,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        self.launch(spec, memory, false, tap).await
    }

    /// A machine that is restored stands still, and has its memory from the beginning.
    async fn stand_by(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        saved: &SavedState,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        self.can_restore(&saved.platform)?;
        let state = fs::read_to_string(&saved.state).map_err(io_error("reading the state"))?;
        if state != STATE {
            return Err(Error::Restore { said: state });
        }
        self.launch(spec, memory, true, tap).await
    }

    async fn adopt(&self, identity: &Identity) -> Result<Arc<dyn Machine>, Error> {
        let process = identity.process()?;
        let control = Control::new(&identity.vm);
        control.run_state().await?;
        let cgroup = self.cgroup(&identity.vm);
        let machine = FakeMachine::new(identity.clone(), process, cgroup, control);
        Ok(Arc::new(machine))
    }

    async fn remove(&self, vm: &VmId, dir: &Path) -> Result<(), Error> {
        self.cgroup(vm).end(END_LIMIT).await?;
        for name in [BIRTH_NOTE, LOG, PAGES, KEPT] {
            durable::remove(&dir.join(name)).map_err(io_error("removing what a machine had"))?;
        }
        Ok(())
    }

    async fn leftovers(&self) -> Result<Vec<VmId>, Error> {
        let names = self.hierarchies.children(&self.parent())?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn keep_build(&self, _: &Platform, link: &Path) -> Result<(), Error> {
        match fs::hard_link(&self.build, link) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(io_error("keeping the build")),
        }
    }

    async fn collect_builds(&self) -> Result<(), Error> {
        // There is one, and it is the host's current one.
        Ok(())
    }
}

/// For `map_err`: says what was being done.
fn io_error(what: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Io { what, source }
}

fn timed_out(what: &str, limit: Duration) -> Error {
    Error::TimedOut {
        what: what.into(),
        limit,
    }
}
