//! A place to try virtual machines in: a tiny guest that runs the script on its disk, a TAP that leads nowhere, and a
//! look at what the kernel still knows when everything should be gone.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod generation;
mod guest;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::sync::broadcast::error::RecvError;
use wrenn_model::{InstanceId, MiB, VmId};
use wrenn_sys::program::Program;
use wrenn_vmm::{
    Accel, CpuShare, Error, Machine, MemorySource, Qcow2Disk, Qemu, QemuConfig, VmDisk, VmEvent,
    VmSpec, Vmm,
};

/// A guest is emulated, next to others, on a machine that may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The guest's memory.
pub(crate) const MEMORY: MiB = MiB(160);
/// The guest's disk.
const DISK: u64 = 64 << 20;
/// The driver owns its state folder alone; the tests share one.
static OPENING: Mutex<()> = Mutex::const_new(());

/// See the module.
#[derive(Debug)]
pub(crate) struct Lab {
    dir: PathBuf,
    /// Removes the folder, unless it is another process's.
    owned: Option<TempDir>,
    pub(crate) config: QemuConfig,
    pub(crate) qemu: Qemu,
}

/// A machine's disk.
pub(crate) fn layer(spec: &VmSpec) -> &Qcow2Disk {
    match &spec.disk {
        VmDisk::Qcow2(disk) => disk,
        VmDisk::Device(_) => panic!("QEMU has no devices"),
    }
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(Accel::Tcg).await
    }

    pub(crate) async fn with(accel: Accel) -> Self {
        // Beside the builds, to which VMs have links.
        let owned = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = owned.path().to_owned();
        Self::assemble(dir, Some(owned), accel, InstanceId::random()).await
    }

    /// One that another process made.
    pub(crate) async fn resumed(dir: &Path, instance: &str) -> Self {
        Self::assemble(dir.to_owned(), None, Accel::Tcg, instance.parse().unwrap()).await
    }

    async fn assemble(
        dir: PathBuf,
        owned: Option<TempDir>,
        accel: Accel,
        instance: InstanceId,
    ) -> Self {
        let config = QemuConfig {
            instance,
            helper: helper(),
            accel,
            probe_kernel: guest::kernel(),
            state_dir: state_dir(),
            verdict_dir: state_dir(),
            ..QemuConfig::default()
        };
        let _alone = OPENING.lock().await;
        let qemu = Qemu::open(config.clone()).await.unwrap();
        Self {
            dir,
            owned,
            config,
            qemu,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// A VM whose guest runs this script after it said READY, and then sleeps.
    pub(crate) async fn vm(&self, script: &str) -> VmSpec {
        let spec = self.spec(&VmId::random());
        fs::create_dir(&spec.dir).unwrap();
        fs::set_permissions(&spec.dir, PermissionsExt::from_mode(0o700)).unwrap();
        self.make_disk(layer(&spec), script).await;
        if !spec.initrd.exists() {
            fs::write(&spec.initrd, guest::initrd()).unwrap();
        }
        spec
    }

    /// How a VM of this name is described.
    pub(crate) fn spec(&self, vm: &VmId) -> VmSpec {
        let dir = self.path().join(vm.as_str());
        VmSpec {
            vm: vm.clone(),
            vcpus: 1,
            memory: MEMORY,
            kernel: guest::kernel(),
            initrd: self.path().join("initrd"),
            disk: VmDisk::Qcow2(Qcow2Disk {
                overlay: dir.join("overlay.qcow2"),
                base: dir.join("base.raw"),
                size: DISK,
            }),
            mac: [2, 0xfc, 0, 0, 0, 5],
            uid: user_of(vm),
            dir,
            share: CpuShare::Usual,
        }
    }

    async fn make_disk(&self, disk: &Qcow2Disk, script: &str) {
        let Qcow2Disk { overlay, base, .. } = disk;
        fs::write(base, script).unwrap();
        let file = fs::File::options().write(true).open(base).unwrap();
        file.set_len(DISK).unwrap();
        fs::set_permissions(base, PermissionsExt::from_mode(0o444)).unwrap();
        Program::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(base)
            .arg(overlay)
            .run()
            .await
            .unwrap();
    }

    /// A file of holes.
    pub(crate) fn holes(&self) -> PathBuf {
        let path = self.path().join("holes");
        if !path.exists() {
            fs::File::create(&path)
                .unwrap()
                .set_len(MEMORY.bytes())
                .unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
        }
        path
    }

    pub(crate) async fn try_start(&self, spec: &VmSpec) -> Result<Arc<dyn Machine>, Error> {
        let memory = MemorySource::Image(self.holes());
        self.qemu.start(spec, memory, lonely_tap()).await
    }

    pub(crate) async fn start(&self, spec: &VmSpec) -> Arc<dyn Machine> {
        self.try_start(spec).await.unwrap()
    }

    /// Nothing of a VM is left: no process, cgroup, mount or file of the driver's.
    pub(crate) async fn assert_gone(&self, spec: &VmSpec) {
        assert_eq!(self.qemu.leftovers().await.unwrap(), []);
        assert_eq!(processes_of(spec.uid), Vec::<i32>::new());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(spec.vm.as_str()), "{mounts}");
        let mut left: Vec<_> = fs::read_dir(&spec.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["base.raw", "overlay.qcow2"]);
    }
}

impl Drop for Lab {
    /// What a failed test left running.
    fn drop(&mut self) {
        let remove_all = || async {
            for vm in self.qemu.leftovers().await.unwrap_or_default() {
                let removed = self.qemu.remove(&vm, &self.dir.join(vm.as_str())).await;
                removed.unwrap_or_else(|error| eprintln!("{vm} is left: {error}"));
            }
        };
        if self.owned.is_some() {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build();
                    runtime.unwrap().block_on(remove_all());
                });
            });
        }
    }
}

/// What `wrenn jail` does. Cargo builds a package's examples before its tests run.
pub(crate) fn helper() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let target = own.parent().unwrap().parent().unwrap();
    let helper = target.join("examples/jail");
    assert!(
        helper.exists(),
        "{} is missing; run cargo test without --test",
        helper.display()
    );
    helper
}

/// One for all tests, so that QEMU is copied aside once.
fn state_dir() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("qemu");
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A user that nobody else is.
fn user_of(vm: &VmId) -> u32 {
    let mix = |sum: u32, byte| (sum * 31 + u32::from(byte)) % 1_000_000;
    2_000_000 + vm.as_str().bytes().fold(0, mix)
}

/// A TAP in a namespace of its own, which has no other link and lives as long as the TAP.
pub(crate) fn lonely_tap() -> OwnedFd {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        wrenn_sys::tap::create("tap0", [2, 0xfc, 0, 0, 0, 1]).unwrap()
    });
    made.join().unwrap()
}

/// Lets a VM have only so much more memory than it holds now, beside files that can be read again.
pub(crate) fn squeeze(cgroup: &str, more: u64) {
    let dir = |hierarchy: &str| PathBuf::from(format!("/sys/fs/cgroup{hierarchy}{cgroup}"));
    let (dir, held, limit) = if dir("/memory").exists() {
        (dir("/memory"), "rss ", "memory.limit_in_bytes")
    } else {
        (dir(""), "anon ", "memory.max")
    };
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap();
    let held = stat
        .lines()
        .find_map(|line| line.strip_prefix(held))
        .unwrap();
    let most = held.trim().parse::<u64>().unwrap() + more;
    fs::write(dir.join(limit), most.to_string()).unwrap();
}

/// A file system that is soon full.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn new(at: &Path, size: &str) -> Self {
        fs::create_dir(at).unwrap();
        let options = Some(format!("size={size}"));
        nix::mount::mount(
            Some("tmpfs"),
            at,
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            options.as_deref(),
        )
        .unwrap();
        Self(at.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn grow(&self, size: &str) {
        let options = Some(format!("size={size}"));
        let flags = nix::mount::MsFlags::MS_REMOUNT;
        nix::mount::mount(
            Some("tmpfs"),
            &self.0,
            Some("tmpfs"),
            flags,
            options.as_deref(),
        )
        .unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

/// The numbers of all processes of a user that have not ended.
pub(crate) fn processes_of(uid: u32) -> Vec<i32> {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == uid))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| wrenn_sys::process::birth(*pid).is_ok_and(|birth| birth.is_some()))
        .collect()
}

/// Ends all processes of a VM's user.
pub(crate) fn kill_all(uid: u32) {
    use rustix::process::{Pid, Signal, kill_process};
    for pid in processes_of(uid) {
        // It may have ended by itself since.
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap_or_default();
    }
}

/// Waits until the guest has written this to its console.
pub(crate) async fn says(machine: &Arc<dyn Machine>, what: &str) {
    let seen = tokio::time::timeout(PATIENCE, async {
        loop {
            let console = machine.console().await.unwrap();
            if String::from_utf8_lossy(&console).contains(what) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    if seen.await.is_err() {
        let console = machine.console().await.unwrap();
        panic!("{what:?} is not in {}", String::from_utf8_lossy(&console));
    }
}

/// The next thing that happens.
pub(crate) async fn event(events: &mut tokio::sync::broadcast::Receiver<VmEvent>) -> VmEvent {
    loop {
        match tokio::time::timeout(PATIENCE, events.recv())
            .await
            .expect("nothing happened")
        {
            Ok(event) => return event,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => panic!("nobody watches"),
        }
    }
}
