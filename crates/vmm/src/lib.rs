//! A microVM as a process: start it, adopt it after a restart of the agent, watch it, save what it is, load that again,
//! end it.
//!
//! One trait, [`Vmm`], stands for a way to run virtual machines, and one, [`Machine`], for a virtual machine that
//! runs. The drivers here are [`qemu`] and [`firecracker`]. Where disks, networks and memory images come from is no business of this crate:
//! it is given files and descriptors.
//!
//! A VMM is untrusted: a guest may have broken out into it. It runs in a [`jail`], and all that it says is bounded.

mod builds;
mod console;
mod elf;
mod error;
pub mod firecracker;
mod identity;
pub mod jail;
mod kvm;
mod leftovers;
mod log;
mod pipe;
mod platform;
pub mod qemu;
mod running;
mod tables;

use std::fmt::Debug;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use wrenn_model::{Isolation, MiB, Mismatch, Platform, VmId, VmmKind};
use wrenn_sys::dm::DeviceNumber;
use wrenn_sys::extents::Piece;

pub use error::Error;
pub use firecracker::{Firecracker, FirecrackerConfig};
pub use identity::{GuestMemory, Helper, Identity};
pub use leftovers::{cgroup_of, leftovers};
pub use qemu::{Accel, Qemu, QemuConfig};
pub use tables::{with_tables, without_tables};
pub use wrenn_sys::cgroup::CpuShare;

/// What a virtual machine is made of.
#[derive(Debug, Clone)]
pub struct VmSpec {
    /// Names the cgroup and everything else of it that the kernel knows.
    pub vm: VmId,
    /// Virtual CPUs, at least one.
    pub vcpus: u32,
    /// Guest memory.
    pub memory: MiB,
    /// An uncompressed kernel with a PVH entry point. Only a cold boot reads it.
    pub kernel: PathBuf,
    /// The initial RAM file system. Its size must be a multiple of 4096. Only a cold boot reads it.
    pub initrd: PathBuf,
    /// The disk.
    pub disk: VmDisk,
    /// The guest's Ethernet address.
    pub mac: [u8; 6],
    /// The user and group that the VMM runs as; nobody else's at the same time.
    pub uid: u32,
    /// The VM's own folder on the host: it exists, it belongs to root and is closed to everybody else. The driver
    /// keeps its socket, its logs and the jail's mount point here.
    pub dir: PathBuf,
    /// How much of the processors it gets where other VMs want them too.
    pub share: CpuShare,
}

/// What a guest has as its disk, in a form that its VMM understands.
#[derive(Debug, Clone)]
pub enum VmDisk {
    /// For QEMU.
    Qcow2(Qcow2Disk),
    /// For Firecracker: a block device of the host's.
    Device(DeviceNumber),
}

/// A copy-on-write layer over a base image.
#[derive(Debug, Clone)]
pub struct Qcow2Disk {
    /// The layer, qcow2. Starting the VM gives it to the VM's user.
    pub overlay: PathBuf,
    /// The image below it, raw, only ever read.
    pub base: PathBuf,
    /// What the guest sees, in bytes.
    pub size: u64,
}

/// What the guest's memory holds at the start.
#[derive(Debug, Clone)]
pub enum MemorySource {
    /// A file of exactly the guest's memory size, mapped privately and never written. All holes for a cold boot.
    Image(PathBuf),
    /// The same with what is known of it, for a VMM whose memory is brought page by page.
    Summed {
        /// The file.
        image: PathBuf,
        /// The sums of its pages.
        sums: PathBuf,
        /// A file for what of it guests touch first: read where it has something, and else filled.
        touched: PathBuf,
    },
}

impl MemorySource {
    /// The file.
    #[must_use]
    pub fn image(&self) -> &Path {
        match self {
            Self::Image(image) | Self::Summed { image, .. } => image,
        }
    }
}

/// What a VM was when it stood still, beside its memory and its disk.
#[derive(Debug, Clone)]
pub struct SavedState {
    /// A file with what [`Capture::state`] was, to be read by everybody.
    pub state: PathBuf,
    /// Where it ran.
    pub platform: Platform,
}

/// What a VM that stands still is, beside its disk.
#[derive(Debug)]
pub struct Capture {
    /// The state of its devices and virtual CPUs, as the VMM wrote it: untrusted, at most 16 MiB.
    pub state: Vec<u8>,
    /// Where its memory is read, at each piece's `from`. It reads nothing any more once the VMM has ended.
    pub memory: File,
    /// Every page that the VM has written since it started: `to` is the offset in the guest's memory and so in a memory
    /// image. Ascending.
    pub pieces: Vec<Piece>,
}

/// What a driver can do on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The most virtual CPUs that a VM may have.
    pub max_vcpus: u32,
    /// A full host disk freezes the VM instead of failing the guest's writes.
    pub freezes_on_full_disk: bool,
}

/// A way to run virtual machines.
#[async_trait]
pub trait Vmm: Send + Sync + Debug {
    /// What it can do on this host.
    fn capabilities(&self) -> Capabilities;

    /// Which one it is.
    fn kind(&self) -> VmmKind;

    /// What separates its guests from the host.
    fn isolation(&self) -> Isolation;

    /// Where its VMs run, with the host's current build.
    fn platform(&self) -> &Platform;

    /// What a VM may take beside its guest's memory and the tables of that ([`with_tables`]), in bytes, where so many were booted from.
    fn own_memory(&self, booted: u64) -> u64;

    /// Whether a state that was saved on this platform can be loaded here; the build that saved it must be kept here.
    ///
    /// # Errors
    /// The first thing that does not fit.
    fn can_restore(&self, saved: &Platform) -> Result<(), Mismatch>;

    /// Starts a VM and returns when its virtual CPUs run.
    ///
    /// A start that fails leaves nothing. One whose future is dropped may leave a VM that runs: [`Vmm::remove`] ends it.
    async fn start(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error>;

    /// Loads a saved state. Returns when the device state is loaded and the virtual CPUs stand still:
    /// [`Machine::thaw`] lets them go on. Its memory is read lazily, from the image.
    ///
    /// [`Error::Mismatch`] comes before anything is made. A failure leaves what one of [`Vmm::start`] leaves.
    async fn restore(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        saved: &SavedState,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error> {
        let machine = self.stand_by(spec, memory, saved, tap).await?;
        match machine.load().await {
            Ok(()) => Ok(machine),
            Err(error) => {
                // The error that led here is the one to tell.
                drop(self.remove(&spec.vm, &spec.dir).await);
                Err(error)
            }
        }
    }

    /// Starts what will load a saved state, and returns before that: [`Machine::load`] does it, and takes less time. Neither the
    /// state nor the memory image is looked for by its name any more.
    ///
    /// Its errors, and what a failure leaves, are those of [`Vmm::restore`].
    async fn stand_by(
        &self,
        spec: &VmSpec,
        memory: MemorySource,
        saved: &SavedState,
        tap: OwnedFd,
    ) -> Result<Arc<dyn Machine>, Error>;

    /// Takes a VM up again that an earlier process of the agent started; [`Error::Gone`] when it lives no more, and
    /// [`Error::OutOfMemory`] when the kernel ended it for want of that.
    async fn adopt(&self, identity: &Identity) -> Result<Arc<dyn Machine>, Error>;

    /// Ends and unmakes whatever stands of a VM, also when it was half made or nobody knows its identity: processes,
    /// cgroup, and what the driver keeps in the VM's folder. Returns when it is gone. Nothing there is fine.
    async fn remove(&self, vm: &VmId, dir: &Path) -> Result<(), Error>;

    /// The VMs of this instance of which the kernel still knows something.
    async fn leftovers(&self) -> Result<Vec<VmId>, Error>;

    /// Makes `link` keep a build: a hard link to the build's marker file, so that [`Vmm::collect_builds`] leaves the
    /// build alone while the link stands. An existing link is fine.
    ///
    /// A VM keeps its build by itself, from its start until [`Vmm::remove`]. Syncing the link's folder is the caller's.
    fn keep_build(&self, platform: &Platform, link: &Path) -> Result<(), Error>;

    /// Removes builds that are neither the host's current one nor kept by a link.
    async fn collect_builds(&self) -> Result<(), Error>;
}

/// A virtual machine.
#[async_trait]
pub trait Machine: Send + Sync + Debug {
    /// By what it is recognised after the agent was started anew.
    fn identity(&self) -> &Identity;

    /// The same machine, whose folder has this name by now: nothing is connected anew, and the former value is of no use any more.
    /// `None` where it has to be adopted, by [`Vmm::adopt`], once nobody has the former value.
    fn moved(&self, _dir: &Path) -> Option<Arc<dyn Machine>> {
        None
    }

    /// Stops its virtual CPUs; what they wrote to the disk is complete then.
    async fn freeze(&self) -> Result<(), Error>;

    /// Loads the saved state that it stands by for. Its virtual CPUs stand still then. Once.
    async fn load(&self) -> Result<(), Error>;

    /// Lets its virtual CPUs go on, also after a full disk; writes that failed are tried again.
    async fn thaw(&self) -> Result<(), Error>;

    /// Says how much of the processors it gets where other VMs want them too.
    async fn set_share(&self, share: CpuShare) -> Result<(), Error>;

    /// What a frozen VM is, beside its disk: device state and every page that it has written since it started.
    ///
    /// It may be taken any number of times. [`Error::NotFrozen`] when its virtual CPUs run or it has reached its end.
    async fn capture(&self) -> Result<Capture, Error>;

    /// What it is doing; also right after [`Vmm::adopt`], for what happened while nobody listened. [`Error::Gone`]
    /// when it has ended.
    async fn run_state(&self) -> Result<RunState, Error>;

    /// What happens to it from now on. The last event is always [`VmEvent::Ended`], also for who asks after its end.
    fn events(&self) -> broadcast::Receiver<VmEvent>;

    /// The last 64 KiB that the guest wrote to its console, also after its end.
    async fn console(&self) -> Result<Vec<u8>, Error>;

    /// Ends it at once and returns when it is gone. One that has ended already is fine.
    async fn kill(&self) -> Result<(), Error>;
}

/// What a VM is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its virtual CPUs run.
    Running,
    /// Its virtual CPUs were stopped by us, or do not run yet.
    Frozen,
    /// Its virtual CPUs were stopped since a write to its disk failed.
    IoError,
    /// The guest powered itself off or reset itself.
    Shutdown,
    /// The guest's kernel panicked, or its CPU got into a state that the VMM can not go on from.
    Panicked,
}

/// What happened to a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmEvent {
    /// The guest will do nothing any more, by its own wish. The VMM still stands.
    Shutdown {
        /// It wanted to start anew, which we do not do.
        reset: bool,
    },
    /// The guest's kernel panicked. The VMM still stands.
    Panicked,
    /// A write to the disk failed; the virtual CPUs are stopped.
    IoError {
        /// There was no room.
        enospc: bool,
    },
    /// The VMM is gone.
    Ended {
        /// How.
        how: Ended,
    },
}

/// How a VMM ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The kernel ended it: its cgroup wanted more memory than it may have.
    #[error("it went over its memory limit")]
    OutOfMemory,
    /// A signal ended it.
    #[error("signal {0}")]
    Signal(i32),
    /// It exited with this code.
    #[error("exit code {0}")]
    Exit(i32),
    /// It had to be ended: what of its memory was still to be brought will never be.
    #[error("its memory could not be brought")]
    MemoryLost,
    /// Nobody could see how: it was adopted, so that its exit status went to another process.
    #[error("how is not known")]
    Unknown,
}
