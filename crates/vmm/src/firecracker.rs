//! The driver for Firecracker, in the jail of its own jailer: under KVM, with a block device for a disk, and with memory that a
//! process of ours brings page by page.
//!
//! What it can do beside QEMU: a guest's memory costs nothing before it is touched, and is read once from the disk for all that
//! share an image. What it can not: stop a guest whose disk is full. So whoever makes the disks has to see to it that they never are.

mod api;
mod filter;
pub mod install;
mod launch;
mod layout;
mod limits;
mod machine;
mod metrics;
mod pages;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wrenn_model::{InstanceId, Isolation, Mismatch, Platform, VmId, VmmKind};
use wrenn_sys::cgroup::{Cgroup, Hierarchies};
use wrenn_sys::{clock, durable};

use crate::builds::{BUILDS, Build, Builds, Files, KEPT};
use crate::jail::Zygote;
use crate::leftovers::{self, or_nothing};
use crate::log::Log;
use crate::pipe::Pipe;
use crate::platform::{self, Told};
use crate::running::Running;
use crate::{
    Capabilities, CpuShare, Error, Identity, Machine, MemorySource, SavedState, VmDisk, VmSpec, Vmm,
};
use crate::{cgroup_of, elf, kvm};
use api::Api;
use launch::{Begin, Job};
use machine::FirecrackerMachine;
pub use pages::PageOrder;
use pages::{Pages, State};

/// Firecracker, in a build's folder.
const PROGRAM: &str = "bin/firecracker";
/// Its jailer, in a build's folder.
const JAILER: &str = "bin/jailer";
/// The list of system calls, in the state folder.
const FILTER: &str = "firecracker.filter";
/// The most virtual CPUs that it gives a guest.
const MOST_VCPUS: u32 = 32;
/// What its guests see, as a saved state depends on it.
const MACHINE: &str = "firecracker,pci=off,track-dirty-pages=on";
/// It takes the host's CPU as it is, unless it is given a template.
const CPU_MODEL: &str = "host";
/// For all processes of a VM to end.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How the driver is set up.
#[derive(Debug, Clone)]
pub struct FirecrackerConfig {
    /// Names the cgroups.
    pub instance: InstanceId,
    /// The Firecracker to use, with its jailer beside it. `None` looks for the host's.
    pub binary: Option<PathBuf>,
    /// Our own executable; run with the argument `jail` it calls [`crate::jail::main`].
    pub helper: PathBuf,
    /// The guest kernel with which KVM is tried.
    pub probe_kernel: PathBuf,
    /// A folder of root's for VMM builds. From where it lies programs can be run, and the VMs' folders are on the same
    /// file system.
    pub state_dir: PathBuf,
    /// A folder of root's for the verdict about KVM. Installations on one machine may share it.
    pub verdict_dir: PathBuf,
}

/// The driver.
#[derive(Debug)]
pub struct Firecracker {
    instance: InstanceId,
    zygote: Zygote,
    hierarchies: Hierarchies,
    builds: Arc<Builds>,
    platform: Platform,
    max_vcpus: u32,
    /// For builds that bring none of their own.
    filter: PathBuf,
}

impl Firecracker {
    /// Finds the host's Firecracker, copies it aside, and measures the clock. Wants root.
    ///
    /// # Errors
    /// Those of [`install::installed`] say what to install; [`Error::NoKvm`] and [`Error::NoUserfault`] what the host lacks.
    pub async fn open(config: FirecrackerConfig) -> Result<Self, Error> {
        let installed = install::installed(config.binary.as_deref()).await?;
        if !userfault_is_there() {
            return Err(Error::NoUserfault);
        }
        let hierarchies = Hierarchies::find()?;
        let clock = tokio::task::spawn_blocking(clock::tsc_khz);
        let filter = write_filter(&config.state_dir)?;
        let files = Files::from([
            (PROGRAM.into(), installed.firecracker),
            (JAILER.into(), installed.jailer),
        ]);
        let builds = Builds::open(files, None, config.state_dir.join(BUILDS)).await?;
        let tsc_khz = clock.await.map_err(std::io::Error::other);
        let told = Told {
            vmm: VmmKind::Firecracker,
            build: &builds.current().hash,
            machine: MACHINE,
            cpu_model: CPU_MODEL,
        };
        let tsc_khz = tsc_khz.map_err(Error::io("measuring the clock"))?;
        let platform = platform::here(told, Isolation::Kvm, tsc_khz);
        let platform = platform.map_err(Error::io("looking at the host's CPU"))?;
        let zygote = Zygote::new(&config.helper);
        zygote.start()?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let driver = Self {
            instance: config.instance.clone(),
            zygote,
            hierarchies,
            builds: Arc::new(builds),
            platform,
            max_vcpus: u32::try_from(cpus).unwrap_or(MOST_VCPUS).min(MOST_VCPUS),
            filter,
        };
        let (build, dir) = (&driver.builds.current().hash, &config.verdict_dir);
        let trial = driver.try_kvm(&config);
        match kvm::probe(VmmKind::Firecracker, build, dir, trial).await? {
            Ok(()) => {}
            Err(why) => return Err(Error::NoKvm { why }),
        }
        tracing::info!(version = %installed.version, platform = ?driver.platform, "Firecracker is ready");
        Ok(driver)
    }

    async fn try_kvm(&self, config: &FirecrackerConfig) -> Result<(), Error> {
        let start = async |vm: &VmId, dir: &Path| {
            let job = Job {
                vm: vm.clone(),
                dir: dir.to_owned(),
                uid: kvm::UID,
                vcpus: 1,
                memory: kvm::MEMORY,
                begin: Begin::Kernel {
                    kernel: config.probe_kernel.clone(),
                    initrd: None,
                },
                disk: None,
                tap: None,
                filter: None,
                share: CpuShare::Usual,
            };
            self.run(job, self.builds.current()).await
        };
        kvm::try_guest(self, &config.state_dir, start).await
    }

    fn cgroup(&self, vm: &VmId) -> Cgroup {
        self.hierarchies
            .group(&cgroup_of(&self.instance), vm.as_str())
    }

    /// Runs it with this build, which is given a list of system calls where it lets all of them pass, whichever the host has now.
    async fn run(&self, mut job: Job, build: &Build) -> Result<FirecrackerMachine, Error> {
        let headers = elf::headers(&build.dir.join(PROGRAM));
        let headers = headers.map_err(Error::io("looking at Firecracker"))?;
        job.filter = headers.gnu.then(|| self.filter.clone());
        let cgroup = self.cgroup(&job.vm);
        job.run(build, cgroup, &self.zygote).await
    }

    /// Runs a VM with this build; a failure leaves nothing.
    async fn launch(
        &self,
        spec: &VmSpec,
        build: &str,
        begin: Begin,
        tap: OwnedFd,
    ) -> Result<FirecrackerMachine, Error> {
        let VmDisk::Device(disk) = spec.disk else {
            return Err(Error::Spec(
                "Firecracker has block devices for disks".into(),
            ));
        };
        let job = Job {
            vm: spec.vm.clone(),
            dir: spec.dir.clone(),
            uid: spec.uid,
            vcpus: spec.vcpus,
            memory: spec.memory,
            begin,
            disk: Some(disk),
            tap: Some((tap, spec.mac)),
            filter: None,
            share: spec.share,
        };
        launch::check(&job, self.max_vcpus)?;
        let started = async {
            let build = self.builds.keep(build, &spec.dir.join(KEPT))?;
            self.run(job, &build).await
        };
        or_nothing(self, spec, started.await).await
    }
}

/// Whether a process without rights can have its page faults handled by another, through the device that it is given or by a
/// system call that needs none.
fn userfault_is_there() -> bool {
    let allowed = std::fs::read_to_string("/proc/sys/vm/unprivileged_userfaultfd");
    Path::new("/dev/userfaultfd").exists() || allowed.is_ok_and(|value| value.trim() == "1")
}

/// The list of system calls for builds that let all of them pass.
fn write_filter(dir: &Path) -> Result<PathBuf, Error> {
    let path = dir.join(FILTER);
    let written = filter::file().and_then(|file| durable::write(&path, &file, 0o444));
    written.map_err(Error::io("writing the list of system calls"))?;
    Ok(path)
}

#[async_trait]
impl Vmm for Firecracker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_vcpus: self.max_vcpus,
            freezes_on_full_disk: false,
        }
    }

    fn kind(&self) -> VmmKind {
        VmmKind::Firecracker
    }

    fn isolation(&self) -> Isolation {
        Isolation::Kvm
    }

    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn own_memory(&self, _booted: u64) -> u64 {
        launch::OWN
    }

    fn can_restore(&self, saved: &Platform) -> Result<(), Mismatch> {
        saved.loads_on(&self.platform)?;
        self.builds.can_be_found(&saved.build)
    }

    async fn start(
        &self,
        spec: &VmSpec,
        _memory: MemorySource,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        let begin = Begin::Kernel {
            kernel: spec.kernel.clone(),
            initrd: Some(spec.initrd.clone()),
        };
        let build = &self.platform.build;
        Ok(Arc::new(self.launch(spec, build, begin, tap).await?))
    }

    async fn stand_by(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        saved: &SavedState,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        self.can_restore(&saved.platform)?;
        let begin = Begin::State {
            state: saved.state.clone(),
            memory,
        };
        let build = &saved.platform.build;
        Ok(Arc::new(self.launch(spec, build, begin, tap).await?))
    }

    async fn adopt(&self, identity: &Identity) -> Result<Arc<dyn Machine>, Error> {
        let cgroup = self.cgroup(&identity.vm);
        let process = identity.process_in(&cgroup)?;
        let pages = Pages::adopt(identity)?;
        let running = Running::new(identity.clone(), process, cgroup);
        let lost = pages.as_ref().map(|pages| pages.state(&identity.dir)) == Some(State::Lost);
        if lost {
            // It hangs, and whoever asked it would, too.
            running.kill().await?;
            return Err(Error::Gone);
        }
        let socket = launch::socket(&identity.vm);
        let api = Api::open(identity.pid, Path::new(&socket));
        let api = api.map_err(Error::io("looking for the VMM's socket"))?;
        let serial = Pipe::open(&identity.dir.join(layout::SERIAL)).ok();
        let log = Log::open(&identity.vm, &identity.dir).ok().map(Log::chatty);
        let machine = FirecrackerMachine::new(running, api, pages, true, serial, log).await;
        machine.run_state().await?;
        Ok(Arc::new(machine))
    }

    async fn remove(&self, vm: &VmId, dir: &Path) -> Result<(), Error> {
        self.cgroup(vm).end(END_LIMIT).await?;
        for name in layout::ALL {
            durable::remove(&dir.join(name))
                .map_err(Error::io(format!("removing {name} in {}", dir.display())))?;
        }
        Ok(())
    }

    async fn leftovers(&self) -> Result<Vec<VmId>, Error> {
        leftovers::vms(&self.hierarchies, &self.instance)
    }

    fn keep_build(&self, platform: &Platform, link: &Path) -> Result<(), Error> {
        self.builds.keep(&platform.build, link).map(drop)
    }

    async fn collect_builds(&self) -> Result<(), Error> {
        Builds::collect_all(&self.builds).await
    }
}
