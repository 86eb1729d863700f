//! The driver for QEMU's microvm machine, under KVM where that works, else by emulation.

mod args;
mod host;
mod launch;
mod machine;
mod memory;
mod qmp;
mod state;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wrenn_model::{InstanceId, Isolation, Mismatch, Platform, VmId, VmmKind};
use wrenn_sys::cgroup::{Cgroup, Hierarchies};
use wrenn_sys::{clock, durable};

use crate::builds::{BUILDS, Builds, KEPT};
use crate::cgroup_of;
use crate::jail::Zygote;
use crate::leftovers::{self, or_nothing};
use crate::log::Log;
use crate::platform::{self, Told};
use crate::running::Running;
use crate::{
    Capabilities, CpuShare, Error, Identity, Machine, MemorySource, SavedState, VmDisk, VmSpec, Vmm,
};
use crate::{console, kvm, log};
use launch::{Boot, Job};
use machine::QemuMachine;
use qmp::Link;

/// The most that the machine type has.
const MOST_VCPUS: u32 = 288;
/// For all processes of a VM to end.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What guests run under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accel {
    /// KVM where a trial guest gets anywhere under it, else emulation.
    #[default]
    Auto,
    /// KVM, or an error.
    Kvm,
    /// Emulation.
    Tcg,
}

/// How the driver is set up.
#[derive(Debug, Clone)]
pub struct QemuConfig {
    /// Names the cgroups.
    pub instance: InstanceId,
    /// The QEMU to use. `None` looks for the host's.
    pub binary: Option<PathBuf>,
    /// Our own executable; run with the argument `jail` it calls [`crate::jail::main`].
    pub helper: PathBuf,
    /// What guests run under.
    pub accel: Accel,
    /// The guest kernel with which KVM is tried.
    pub probe_kernel: PathBuf,
    /// A folder of root's for VMM builds. From where it lies programs can be run, and the VMs' folders are on the same
    /// file system.
    pub state_dir: PathBuf,
    /// A folder of root's for the verdict about KVM. Installations on one machine may share it.
    pub verdict_dir: PathBuf,
}

impl Default for QemuConfig {
    /// An instance of its own; the folder and the kernel have to be named.
    fn default() -> Self {
        Self {
            instance: InstanceId::random(),
            binary: None,
            helper: PathBuf::from("/proc/self/exe"),
            accel: Accel::Auto,
            probe_kernel: PathBuf::new(),
            state_dir: PathBuf::new(),
            verdict_dir: PathBuf::new(),
        }
    }
}

/// The QEMU that this host has, and its version; nothing is copied or started for good.
///
/// # Errors
/// [`Error::Missing`], [`Error::TooOld`], [`Error::Unusable`].
pub async fn installed() -> Result<(PathBuf, String), Error> {
    host::installed().await
}

/// What is known about KVM since the host's boot: whether a trial guest got anywhere, and why not. `None` when none was
/// tried yet. The folder is [`QemuConfig::verdict_dir`].
#[must_use]
pub fn kvm_verdict(dir: &Path) -> Option<Result<(), String>> {
    kvm::known(VmmKind::Qemu, dir)
}

/// The driver.
#[derive(Debug)]
pub struct Qemu {
    config: QemuConfig,
    zygote: Zygote,
    hierarchies: Hierarchies,
    builds: Arc<Builds>,
    platform: Platform,
    max_vcpus: u32,
}

impl Qemu {
    /// Finds the host's QEMU, copies it aside, measures the clock and tries KVM. Wants root.
    ///
    /// [`Error::Missing`], [`Error::TooOld`] and [`Error::Unusable`] say what to install; [`Error::NoKvm`] comes only
    /// when KVM was demanded.
    pub async fn open(config: QemuConfig) -> Result<Self, Error> {
        let hierarchies = Hierarchies::find()?;
        let clock = tokio::task::spawn_blocking(clock::tsc_khz);
        let dir = config.state_dir.join(BUILDS);
        let (files, loader) = host::files(config.binary.as_deref()).await?;
        let builds = Builds::open(files, loader, dir).await?;
        let tsc_khz = clock.await.map_err(std::io::Error::other);
        let tsc_khz = tsc_khz.map_err(Error::io("measuring the clock"))?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let platform = |isolation| {
            let told = Told {
                vmm: VmmKind::Qemu,
                build: &builds.current().hash,
                machine: args::MACHINE,
                cpu_model: args::cpu_model(isolation),
            };
            let here = platform::here(told, isolation, tsc_khz);
            here.map_err(Error::io("looking at the host's CPU"))
        };
        let (emulated, kvm) = (platform(Isolation::Emulated)?, platform(Isolation::Kvm)?);
        let zygote = Zygote::new(&config.helper);
        zygote.start()?;
        let mut qemu = Self {
            zygote,
            hierarchies,
            builds: Arc::new(builds),
            platform: emulated,
            max_vcpus: u32::try_from(cpus).unwrap_or(MOST_VCPUS).min(MOST_VCPUS),
            config,
        };
        if qemu.choose().await? == Isolation::Kvm {
            qemu.platform = kvm;
        }
        tracing::info!(platform = ?qemu.platform, "QEMU is ready");
        Ok(qemu)
    }

    async fn choose(&self) -> Result<Isolation, Error> {
        if self.config.accel == Accel::Tcg {
            return Ok(Isolation::Emulated);
        }
        let (build, dir) = (&self.builds.current().hash, &self.config.verdict_dir);
        let verdict = kvm::probe(VmmKind::Qemu, build, dir, self.try_kvm()).await?;
        match (verdict, self.config.accel) {
            (Ok(()), _) => Ok(Isolation::Kvm),
            (Err(why), Accel::Kvm) => Err(Error::NoKvm { why }),
            (Err(why), _) => {
                tracing::warn!(%why, "KVM can not be used; guests are emulated");
                Ok(Isolation::Emulated)
            }
        }
    }

    /// What names the VMs of this instance to the kernel.
    fn parent(&self) -> String {
        cgroup_of(&self.config.instance)
    }

    async fn try_kvm(&self) -> Result<(), Error> {
        let start = async |vm: &VmId, dir: &Path| {
            let memory_image = dir.join("memory");
            File::create_new(&memory_image)
                .and_then(|file| file.set_len(kvm::MEMORY.bytes()))
                .and_then(|()| fs::set_permissions(&memory_image, PermissionsExt::from_mode(0o444)))
                .map_err(Error::io("a memory image for the probe"))?;
            let job = Job {
                vm: vm.clone(),
                dir: dir.to_owned(),
                uid: kvm::UID,
                vcpus: 1,
                memory: kvm::MEMORY,
                memory_image,
                boot: Boot::Kernel {
                    kernel: self.config.probe_kernel.clone(),
                    initrd: None,
                },
                disk: None,
                tap: None,
                isolation: Isolation::Kvm,
                tsc_khz: 0,
                share: CpuShare::Usual,
            };
            let build = self.builds.current();
            job.run(build, self.cgroup(vm), &self.zygote).await
        };
        kvm::try_guest(self, &self.config.state_dir, start).await
    }

    fn cgroup(&self, vm: &VmId) -> Cgroup {
        self.hierarchies.group(&self.parent(), vm.as_str())
    }

    /// Runs a VM for a saved state, which is loaded at once or when it is told to.
    async fn go_on(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        saved: &SavedState,
        load: bool,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        self.can_restore(&saved.platform)?;
        let state = saved.state.clone();
        let boot = Boot::State { state, load };
        self.launch(spec, &saved.platform.build, boot, memory, tap)
            .await
    }

    /// Runs a VM with this build; a failure leaves nothing.
    async fn launch(
        &self,
        spec: &VmSpec,
        build: &str,
        boot: Boot,
        memory: MemorySource,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        let memory_image = memory.image().to_owned();
        let VmDisk::Qcow2(disk) = spec.disk.clone() else {
            return Err(Error::Spec("QEMU has qcow2 layers for disks".into()));
        };
        let job = Job {
            vm: spec.vm.clone(),
            dir: spec.dir.clone(),
            uid: spec.uid,
            vcpus: spec.vcpus,
            memory: spec.memory,
            memory_image,
            boot,
            disk: Some(disk),
            tap: Some((tap, spec.mac)),
            isolation: self.platform.isolation,
            tsc_khz: self.platform.tsc_khz,
            share: spec.share,
        };
        launch::check(&job, self.max_vcpus)?;
        let started = async {
            let build = self.builds.keep(build, &spec.dir.join(KEPT))?;
            let cgroup = self.cgroup(&spec.vm);
            job.run(&build, cgroup, &self.zygote).await
        };
        Ok(Arc::new(or_nothing(self, spec, started.await).await?))
    }
}

#[async_trait]
impl Vmm for Qemu {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_vcpus: self.max_vcpus,
            freezes_on_full_disk: true,
        }
    }

    fn kind(&self) -> VmmKind {
        VmmKind::Qemu
    }

    fn isolation(&self) -> Isolation {
        self.platform.isolation
    }

    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn own_memory(&self, booted: u64) -> u64 {
        launch::own_memory(booted)
    }

    fn can_restore(&self, saved: &Platform) -> Result<(), Mismatch> {
        saved.loads_on(&self.platform)?;
        self.builds.can_be_found(&saved.build)
    }

    async fn start(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        let boot = Boot::Kernel {
            kernel: spec.kernel.clone(),
            initrd: Some(spec.initrd.clone()),
        };
        let build = &self.platform.build;
        self.launch(spec, build, boot, memory, tap).await
    }

    /// Not by standing by: of a load that fails at once the VMM's own last words are told.
    async fn restore(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        saved: &SavedState,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        self.go_on(spec, memory, saved, true, tap).await
    }

    async fn stand_by(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        saved: &SavedState,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        self.go_on(spec, memory, saved, false, tap).await
    }

    async fn adopt(&self, identity: &Identity) -> Result<Arc<dyn Machine>, Error> {
        let cgroup = self.cgroup(&identity.vm);
        let process = identity.process_in(&cgroup)?;
        let log = Log::open(&identity.vm, &identity.dir).ok();
        let link = Link::new(&identity.dir);
        let running = Running::new(identity.clone(), process, cgroup);
        let machine = QemuMachine::new(running, link, log).await;
        machine.run_state().await?;
        Ok(Arc::new(machine))
    }

    async fn remove(&self, vm: &VmId, dir: &Path) -> Result<(), Error> {
        self.cgroup(vm).end(END_LIMIT).await?;
        for name in [launch::ROOT, launch::SOCKET, log::NAME, console::NAME, KEPT] {
            durable::remove(&dir.join(name))
                .map_err(Error::io(format!("removing {name} in {}", dir.display())))?;
        }
        Ok(())
    }

    async fn leftovers(&self) -> Result<Vec<VmId>, Error> {
        leftovers::vms(&self.hierarchies, &self.config.instance)
    }

    fn keep_build(&self, platform: &Platform, link: &Path) -> Result<(), Error> {
        self.builds.keep(&platform.build, link).map(drop)
    }

    async fn collect_builds(&self) -> Result<(), Error> {
        Builds::collect_all(&self.builds).await
    }
}
