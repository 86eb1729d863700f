//! Whether a guest gets anywhere under this host's KVM. That `/dev/kvm` can be opened says nothing: on some machines a
//! guest hangs or dies. So one is tried, once for each boot of the host and each VMM build.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::CWD;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use wrenn_model::{MiB, VmId, VmmKind, chain};
use wrenn_sys::{durable, process};

use crate::{Error, Machine, RunState, Vmm};

/// Opened to see whether there is anything to try.
const DEVICE: &str = "/dev/kvm";
/// Under the slowest KVM seen, one that is emulated itself, a kernel is through in 6 s.
const LIMIT: Duration = Duration::from_secs(15);
/// How often the guest is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Enough for a kernel without anything else.
pub(crate) const MEMORY: MiB = MiB(128);
/// Nobody's: it has no files and lives for seconds.
pub(crate) const UID: u32 = 65534;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    boot_id: String,
    build: String,
    /// Why not, unless it works.
    fails: Option<String>,
}

/// In the folder for verdicts.
fn file_name(vmm: VmmKind) -> &'static str {
    match vmm {
        VmmKind::Qemu => "kvm-probe.json",
        VmmKind::Firecracker => "kvm-probe-firecracker.json",
    }
}

/// `Ok` when a guest works under KVM, as `trial` shows where nobody knows yet; else why not.
pub(crate) async fn probe(
    vmm: VmmKind,
    build: &str,
    verdict_dir: &Path,
    trial: impl Future<Output = Result<(), Error>>,
) -> Result<Result<(), String>, Error> {
    if let Err(error) = File::options().read(true).write(true).open(DEVICE) {
        return Ok(Err(format!("{DEVICE}: {error}")));
    }
    let boot_id = process::boot_id().map_err(Error::io("reading the boot id"))?;
    let path = verdict_dir.join(file_name(vmm));
    if let Some(known) = read(&path).filter(|v| v.boot_id == boot_id && v.build == build) {
        return Ok(known.fails.map_or(Ok(()), Err));
    }
    let fails = trial.await.err().map(|error| chain(&error));
    // On a host that was busy it may be well the next time; where guests hang each time, QEMU has another way to run them.
    if vmm == VmmKind::Firecracker
        && let Some(why) = fails
    {
        return Ok(Err(why));
    }
    let verdict = Verdict {
        boot_id,
        build: build.to_owned(),
        fails,
    };
    let text = serde_json::to_vec(&verdict).map_err(io::Error::other);
    text.and_then(|text| durable::write(&path, &text, 0o600))
        .map_err(Error::io("keeping the verdict about KVM"))?;
    Ok(verdict.fails.map_or(Ok(()), Err))
}

/// The verdict of this boot of the host that is kept in a folder, if there is one: `Err` says why KVM can't be used.
pub(crate) fn known(vmm: VmmKind, dir: &Path) -> Option<Result<(), String>> {
    let boot_id = process::boot_id().ok()?;
    let verdict = read(&dir.join(file_name(vmm))).filter(|verdict| verdict.boot_id == boot_id)?;
    Some(verdict.fails.map_or(Ok(()), Err))
}

fn read(path: &Path) -> Option<Verdict> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Boots a kernel that has nothing to mount, by `start`, which is given the VM's name and folder. It works when the kernel comes so
/// far as to panic about that: timers, interrupts and the scheduler are behind it then.
pub(crate) async fn try_guest<M: Machine>(
    vmm: &dyn Vmm,
    state_dir: &Path,
    start: impl AsyncFnOnce(&VmId, &Path) -> Result<M, Error>,
) -> Result<(), Error> {
    let vm = VmId::random();
    let dir = state_dir.join(format!("kvm-probe-{vm}"));
    rustix::fs::mkdirat(CWD, &dir, 0o700.into())
        .map_err(|errno| Error::io("a folder for the probe")(errno.into()))?;
    let outcome = async { watch(&start(&vm, &dir).await?).await };
    let outcome = outcome.await;
    let removed = vmm.remove(&vm, &dir).await;
    durable::remove(&dir).map_err(Error::io("removing the probe's folder"))?;
    outcome.and(removed)
}

async fn watch(machine: &dyn Machine) -> Result<(), Error> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        let state = machine.run_state().await;
        // A VMM that ends with its guest has left the console.
        let over = matches!(state, Ok(RunState::Panicked) | Err(Error::Gone));
        if over && contains(&machine.console().await?, b"VFS") {
            return Ok(());
        }
        state?;
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
