//! Whether a guest gets anywhere under this host's KVM. That `/dev/kvm` can be opened says nothing: on some machines a
//! guest hangs or dies. So one is tried, once for each boot of the host and each VMM build.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::CWD;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use wrenn_model::{Isolation, MiB, VmId, chain};
use wrenn_sys::{durable, process};

use super::launch::{Boot, Job};
use super::{Qemu, QemuConfig};
use crate::{CpuShare, Error, Machine, RunState, Vmm};

/// Opened to see whether there is anything to try.
const DEVICE: &str = "/dev/kvm";
/// Under the slowest KVM seen, one that is emulated itself, a kernel is through in 6 s.
const LIMIT: Duration = Duration::from_secs(15);
/// How often the guest is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Enough for a kernel without anything else.
const MEMORY: MiB = MiB(128);
/// Nobody's: it has no files and lives for seconds.
const UID: u32 = 65534;
/// In the folder for it.
const VERDICT: &str = "kvm-probe.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    boot_id: String,
    build: String,
    /// Why not, unless it works.
    fails: Option<String>,
}

/// `Ok` when a guest works under KVM; else why not.
pub(super) async fn probe(qemu: &Qemu, config: &QemuConfig) -> Result<Result<(), String>, Error> {
    if let Err(error) = File::options().read(true).write(true).open(DEVICE) {
        return Ok(Err(format!("{DEVICE}: {error}")));
    }
    let boot_id = process::boot_id().map_err(Error::io("reading the boot id"))?;
    let build = qemu.builds.current().hash.clone();
    let path = config.verdict_dir.join(VERDICT);
    if let Some(known) = read(&path).filter(|v| v.boot_id == boot_id && v.build == build) {
        return Ok(known.fails.map_or(Ok(()), Err));
    }
    let fails = try_guest(qemu, &config.probe_kernel, &config.state_dir)
        .await
        .err()
        .map(|error| chain(&error));
    let verdict = Verdict {
        boot_id,
        build,
        fails,
    };
    let text = serde_json::to_vec(&verdict).map_err(io::Error::other);
    text.and_then(|text| durable::write(&path, &text, 0o600))
        .map_err(Error::io("keeping the verdict about KVM"))?;
    Ok(verdict.fails.map_or(Ok(()), Err))
}

/// The verdict of this boot of the host that is kept in a folder, if there is one: `Err` says why KVM can't be used.
pub(super) fn known(dir: &Path) -> Option<Result<(), String>> {
    let boot_id = process::boot_id().ok()?;
    let verdict = read(&dir.join(VERDICT)).filter(|verdict| verdict.boot_id == boot_id)?;
    Some(verdict.fails.map_or(Ok(()), Err))
}

fn read(path: &Path) -> Option<Verdict> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Boots a kernel that has nothing to mount. It works when the kernel comes so far as to panic about that: timers,
/// interrupts and the scheduler are behind it then.
async fn try_guest(qemu: &Qemu, kernel: &Path, state_dir: &Path) -> Result<(), Error> {
    let vm = VmId::random();
    let dir = state_dir.join(format!("kvm-probe-{vm}"));
    rustix::fs::mkdirat(CWD, &dir, 0o700.into())
        .map_err(|errno| Error::io("a folder for the probe")(errno.into()))?;
    let outcome = boot(qemu, kernel, &vm, &dir).await;
    let removed = qemu.remove(&vm, &dir).await;
    durable::remove(&dir).map_err(Error::io("removing the probe's folder"))?;
    outcome.and(removed)
}

async fn boot(qemu: &Qemu, kernel: &Path, vm: &VmId, dir: &Path) -> Result<(), Error> {
    let memory_image = dir.join("memory");
    File::create_new(&memory_image)
        .and_then(|file| file.set_len(MEMORY.bytes()))
        .and_then(|()| {
            fs::set_permissions(
                &memory_image,
                std::os::unix::fs::PermissionsExt::from_mode(0o444),
            )
        })
        .map_err(Error::io("a memory image for the probe"))?;
    let job = Job {
        vm: vm.clone(),
        dir: dir.to_owned(),
        uid: UID,
        vcpus: 1,
        memory: MEMORY,
        memory_image,
        boot: Boot::Kernel {
            kernel: kernel.to_owned(),
            initrd: None,
        },
        disk: None,
        tap: None,
        isolation: Isolation::Kvm,
        tsc_khz: 0,
        share: CpuShare::Usual,
    };
    let machine = job
        .run(qemu.builds.current(), qemu.cgroup(vm), &qemu.zygote)
        .await?;
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if machine.run_state().await? == RunState::Panicked
            && contains(&machine.console().await?, b"VFS")
        {
            return Ok(());
        }
        sleep(POLL).await;
    }
    Err(Error::TimedOut {
        what: "the boot of a trial guest".into(),
        limit: LIMIT,
    })
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}
