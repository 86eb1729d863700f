//! From a description to a process whose control socket answers, and that has loaded what it is to begin with.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wrenn_model::{Isolation, MiB, VmId};
use wrenn_sys::cgroup::{Cgroup, CpuShare, Limits};
use wrenn_sys::process::{self, FileId, Process};

use super::args::{self, Begin, Plan};
use super::host::{LIBRARIES, LOADER};
use super::machine::QemuMachine;
use super::qmp::Link;
use super::state;
use crate::builds::Build;
use crate::jail::{Access, Device, Inhabitant, JailSpec, Launch, Link as Symlink, Mount, Zygote};
use crate::log::Log;
use crate::running::Running;
use crate::{Error, GuestMemory, Identity, Qcow2Disk, with_tables};

/// The jail's mount point, in the VM's folder.
pub(super) const ROOT: &str = "root";
/// The control socket, in the VM's folder.
pub(super) const SOCKET: &str = "qmp.sock";
/// What QEMU may take beside the guest's memory and the translated code: itself, its buffers, the cache of the disk's
/// layout (32 MiB), what its threads' heaps keep, and the kernel's buffers for its sockets and files. 96 MiB were seen to
/// do for most loads and not for 256 MiB through disk and network again and again.
///
/// What it really has of its own, beside the guest's memory and with the translated code, were 76 MiB after a boot and 88 MiB
/// under load, for guests of 128, 512 and 2048 MiB alike (`Anonymous` in `/proc/PID/smaps`, QEMU 10.0.2, emulated). What it
/// is promised is all that it may take: only then can all groups together not take more than there is.
const OWN_MIB: u64 = 224;
/// For the emulator's and the disk's threads, in thousandths of a CPU beside the guest's.
const OWN_CPU_MILLI: u32 = 500;
/// What the largest file may take beside a disk's data: a layer's tables, or a saved state.
const OWN_FILE: u64 = 64 << 20;
/// Threads beside the virtual CPUs and those for the disk.
const OWN_PIDS: u32 = 46;
/// For a VMM that does not answer to end, so that its last words can be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a VM may take beside its guest's memory and its tables, in bytes, where it keeps so many of what it booted from.
pub(super) fn own_memory(kept: u64) -> u64 {
    ((u64::from(args::TRANSLATED_MIB) + OWN_MIB) << 20) + kept
}

/// What a guest begins with.
#[derive(Debug)]
pub(super) enum Boot {
    /// A kernel, and an initial file system unless only the kernel's progress is of interest.
    Kernel {
        kernel: PathBuf,
        initrd: Option<PathBuf>,
    },
    /// A device state that was saved. The memory image has all else.
    State {
        state: PathBuf,
        /// Whether it is loaded at once.
        load: bool,
    },
}

/// What is to run. A disk and a TAP are left out where only a kernel's progress is of interest.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) vm: VmId,
    pub(super) dir: PathBuf,
    pub(super) uid: u32,
    pub(super) vcpus: u32,
    pub(super) memory: MiB,
    pub(super) memory_image: PathBuf,
    pub(super) boot: Boot,
    pub(super) disk: Option<Qcow2Disk>,
    pub(super) tap: Option<(OwnedFd, [u8; 6])>,
    pub(super) isolation: Isolation,
    pub(super) tsc_khz: u64,
    pub(super) share: CpuShare,
}

impl Job {
    /// Runs it; a saved state is loaded then, if it is to be at once, and waits. What a failure leaves is for the caller to remove.
    pub(super) async fn run(
        self,
        build: &Build,
        cgroup: Cgroup,
        zygote: &Zygote,
    ) -> Result<QemuMachine, Error> {
        let began = Instant::now();
        cgroup.create(self.limits()?)?;
        if self.share != CpuShare::Usual {
            cgroup.share(self.share)?;
        }
        let listener = self.prepare_dir()?;
        let (mut log, said) =
            Log::create(&self.vm, &self.dir).map_err(Error::io("the VMM's log"))?;
        let spec = self.jail(build, &cgroup);
        let mut fds: Vec<BorrowedFd<'_>> = vec![listener.as_fd()];
        fds.extend(self.tap.as_ref().map(|(tap, _)| tap.as_fd()));
        let launch = Launch {
            spec: &spec,
            fds: &fds,
            log: said,
        };
        let jailed = zygote.launch(launch).await?;
        // Only QEMU has it now, so that a connection to one that is gone fails.
        drop(listener);
        let jailed_after = began.elapsed();
        let process = jailed.process;
        let link = Link::new(&self.dir);
        let identity = match self.greet(&process, &link, &cgroup).await {
            Ok(identity) => identity,
            Err(error) => {
                return Err(
                    last_words(error, &process, &mut log, |said| Error::Start { said }).await,
                );
            }
        };
        let answered_after = began.elapsed();
        if let Boot::State { load: true, .. } = self.boot
            && let Err(error) = state::load(&process, &link).await
        {
            return Err(
                last_words(error, &process, &mut log, |said| Error::Restore { said }).await,
            );
        }
        let ready_after = began.elapsed();
        tracing::debug!(vm = %self.vm, ?jailed_after, ?answered_after, ?ready_after, "a VMM has started");
        let running = Running::new(identity, process, cgroup);
        Ok(QemuMachine::new(running, link, Some(log)).await)
    }

    fn limits(&self) -> Result<Limits, Error> {
        // QEMU keeps what it booted from, for a reset.
        let kept = match &self.boot {
            Boot::Kernel { kernel, initrd } => {
                size(kernel)? + initrd.as_deref().map_or(Ok(0), size)?
            }
            Boot::State { .. } => 0,
        };
        Ok(Limits {
            memory: with_tables(self.memory) + own_memory(kept),
            cpu_milli: self.vcpus * 1000 + OWN_CPU_MILLI,
            pids: self.vcpus + args::DISK_THREADS + OWN_PIDS,
        })
    }

    fn prepare_dir(&self) -> Result<UnixListener, Error> {
        let making = |what: &str| Error::io(format!("making {what} in {}", self.dir.display()));
        fs::create_dir(self.dir.join(ROOT)).map_err(making(ROOT))?;
        if let Some(disk) = &self.disk {
            std::os::unix::fs::chown(&disk.overlay, Some(self.uid), Some(self.uid))
                .and_then(|()| fs::set_permissions(&disk.overlay, PermissionsExt::from_mode(0o600)))
                .map_err(Error::io(format!("giving away {}", disk.overlay.display())))?;
        }
        let (_dir, path) = Link::socket(&self.dir).map_err(making(SOCKET))?;
        UnixListener::bind(path).map_err(making(SOCKET))
    }

    fn jail(&self, build: &Build, cgroup: &Cgroup) -> JailSpec {
        let mount = |from: &Path, to: &str, access| Mount {
            from: from.into(),
            to: to.into(),
            access,
        };
        let mut mounts = vec![
            mount(&build.dir, args::BUILD, Access::Execute),
            mount(&self.memory_image, args::MEMORY, Access::Read),
        ];
        match &self.boot {
            Boot::Kernel { kernel, initrd } => {
                mounts.push(mount(kernel, args::KERNEL, Access::Read));
                let initrd = initrd.as_deref();
                mounts.extend(initrd.map(|initrd| mount(initrd, args::INITRD, Access::Read)));
            }
            Boot::State { state, .. } => mounts.push(mount(state, args::STATE, Access::Read)),
        }
        if let Some(disk) = &self.disk {
            mounts.push(mount(&disk.base, args::BASE, Access::Read));
            mounts.push(mount(&disk.overlay, args::OVERLAY, Access::Write));
        }
        let loader = build.loader.as_deref().map(|loader| Symlink {
            at: loader.strip_prefix("/").unwrap_or(loader).into(),
            target: Path::new("/").join(args::BUILD).join(LOADER),
        });
        let mut devices = vec![Device::Null, Device::Urandom];
        if self.isolation == Isolation::Kvm {
            devices.push(Device::Kvm);
        }
        JailSpec {
            cgroup: cgroup.entry(),
            root: self.dir.join(ROOT),
            mounts,
            links: loader.into_iter().collect(),
            devices,
            uid: self.uid,
            file_size: self.largest_file(),
            inhabitant: Inhabitant::Program {
                path: args::program(),
                args: args::arguments(&self.plan()),
                env: vec![
                    (
                        "LD_LIBRARY_PATH".into(),
                        format!("/{}/{LIBRARIES}", args::BUILD),
                    ),
                    // A heap for each of the disk's threads would keep memory that its limit counts.
                    ("MALLOC_ARENA_MAX".into(), "2".into()),
                ],
            },
        }
    }

    /// A disk that is full and fragmented takes less than this; what it was promised is counted elsewhere.
    fn largest_file(&self) -> u64 {
        let disk = self.disk.as_ref().map_or(0, |disk| disk.size);
        disk.saturating_mul(2).saturating_add(OWN_FILE)
    }

    fn plan(&self) -> Plan {
        Plan {
            vm: self.vm.clone(),
            vcpus: self.vcpus,
            memory: self.memory,
            isolation: self.isolation,
            tsc_khz: self.tsc_khz,
            begin: match &self.boot {
                Boot::Kernel { initrd, .. } => Begin::Kernel {
                    initrd: initrd.is_some(),
                },
                Boot::State { .. } => Begin::State,
            },
            disk: self.disk.is_some(),
            mac: self.tap.as_ref().map(|(_, mac)| *mac),
        }
    }

    /// The process has become QEMU; its identity is what it has when it answers.
    async fn greet(
        &self,
        process: &Process,
        link: &Link,
        cgroup: &Cgroup,
    ) -> Result<Identity, Error> {
        let answered = tokio::select! {
            answer = link.command("query-status", None) => answer,
            _ = process.ended() => Err(Error::Gone),
        };
        answered?;
        let look = || Error::io("looking at the VMM's process");
        Ok(Identity {
            vm: self.vm.clone(),
            dir: self.dir.clone(),
            isolation: self.isolation,
            pid: process.pid(),
            birth: process::birth(process.pid())
                .map_err(look())?
                .ok_or(Error::Gone)?,
            exe: process::exe(process.pid())
                .map_err(look())?
                .ok_or(Error::Gone)?,
            cgroup: cgroup.path(),
            memory: Some(GuestMemory {
                image: file_id(&self.memory_image)?,
                size: self.memory,
            }),
            pages: None,
        })
    }
}

/// Instead of an error that only says that nobody answers: why, if the process has ended.
async fn last_words(
    error: Error,
    process: &Process,
    log: &mut Log,
    because: impl FnOnce(String) -> Error,
) -> Error {
    match tokio::time::timeout(LAST_WORDS, process.ended()).await {
        Err(_) => error,
        Ok(exit) => {
            let said = log.drain();
            because(if said.is_empty() {
                format!("it ended ({exit:?})")
            } else {
                said
            })
        }
    }
}

/// Fails where QEMU would only say so after its start, or hang.
pub(super) fn check(job: &Job, max_vcpus: u32) -> Result<(), Error> {
    /// With one of the 512 remainders the guest hangs at its start.
    const INITRD_UNIT: u64 = 4096;

    if job.vcpus == 0 || job.vcpus > max_vcpus {
        return Err(Error::Spec(format!(
            "{} virtual CPUs of at most {max_vcpus}",
            job.vcpus
        )));
    }
    if size(&job.memory_image)? != job.memory.bytes() {
        return Err(Error::Spec(format!(
            "the memory image is not of {}",
            job.memory
        )));
    }
    match &job.boot {
        Boot::Kernel { kernel, initrd } => {
            size(kernel)?;
            let initrd = initrd.as_deref().map_or(Ok(0), size)?;
            if !initrd.is_multiple_of(INITRD_UNIT) {
                let why = "the size of the initrd is no multiple of 4096";
                return Err(Error::Spec(why.into()));
            }
        }
        Boot::State { state, .. } => {
            if size(state)? > state::LARGEST {
                return Err(Error::Spec("the saved state is too large".into()));
            }
        }
    }
    if let Some(disk) = &job.disk {
        size(&disk.base)?;
        size(&disk.overlay)?;
    }
    Ok(())
}

fn size(path: &Path) -> Result<u64, Error> {
    let meta = File::open(path).and_then(|file| file.metadata());
    meta.map(|meta| meta.len())
        .map_err(Error::io(format!("opening {}", path.display())))
}

fn file_id(path: &Path) -> Result<FileId, Error> {
    let meta = fs::metadata(path);
    let meta = meta.map_err(Error::io(format!("looking at {}", path.display())))?;
    Ok(FileId::from(&meta))
}
