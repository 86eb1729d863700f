//! A bare QEMU with the machine that Wrenn uses.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::json;
use tokio::process::{Child, Command};
use wrenn_envd_api::guest::MAC;
use wrenn_sys::durable;

use super::Prepared;

/// Held while descriptors can be inherited: of guests that start side by side none gets another's.
static STARTING: Mutex<()> = Mutex::new(());

/// What it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// The kernel.
    Boot,
    /// A state that it will be told of.
    State,
}

/// Starts it, with QMP on the socket of the guest; it ends when what this gives is dropped.
pub(super) fn start(prepared: &Prepared<'_>, begin: Begin) -> Result<Child> {
    let socket = prepared.file("qmp");
    durable::remove(&socket)?;
    let listener = UnixListener::bind(&socket).context("no socket for QMP by hand")?;
    // The child gets the descriptors by inheritance.
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let inherited = [prepared.tap.as_fd(), listener.as_fd()];
    inherited
        .iter()
        .try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty()))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a process that lives on, with inherited descriptors"
    )]
    let child = Command::new("qemu-system-x86_64")
        .args(arguments(prepared, begin, &listener))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    inherited
        .iter()
        .try_for_each(|fd| fcntl_setfd(fd, FdFlags::CLOEXEC))?;
    child.context("qemu-system-x86_64 cannot be started")
}

fn arguments(prepared: &Prepared<'_>, begin: Begin, qmp: &UnixListener) -> Vec<String> {
    let hand = prepared.hand;
    let (accel, cpu, clock) = if hand.kvm {
        ("kvm", "host", String::new())
    } else {
        (
            "tcg,tb-size=64",
            "max",
            format!(" tsc_early_khz={} tsc=reliable", hand.tsc_khz),
        )
    };
    let file = |path: &Path| json!({ "driver": "file", "filename": path });
    let disk = json!({
        "driver": "qcow2", "node-name": "disk", "discard": "unmap", "detect-zeroes": "unmap",
        "file": file(&prepared.overlay),
        "backing": { "driver": "raw", "node-name": "base", "read-only": true, "file": file(&hand.template.image) },
    });
    let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
    let memory = format!(
        "memory-backend-file,id=memory,size={},mem-path={},share=off,readonly=on,rom=off",
        prepared.memory.bytes(),
        prepared.image.display()
    );
    let begins = match begin {
        Begin::Boot => vec![
            ("-kernel", hand.kernel.vmlinux.display().to_string()),
            ("-initrd", hand.initramfs.display().to_string()),
            (
                "-append",
                format!("console=ttyS0 quiet reboot=t panic=-1{clock}"),
            ),
        ],
        Begin::State => vec![
            ("-incoming", "defer".to_owned()),
            ("-global", "migration.send-configuration=off".to_owned()),
        ],
    };
    [
        (
            "-machine",
            "microvm,acpi=on,rtc=on,pit=off,pic=off,memory-backend=memory".to_owned(),
        ),
        ("-accel", accel.to_owned()),
        ("-cpu", cpu.to_owned()),
        ("-smp", "1".to_owned()),
        ("-m", format!("{}M", prepared.memory.0)),
        ("-object", memory),
        ("-display", "none".to_owned()),
        (
            "-chardev",
            format!("socket,id=qmp,fd={},server=on,wait=off", qmp.as_raw_fd()),
        ),
        ("-mon", "chardev=qmp,mode=control".to_owned()),
        ("-chardev", "ringbuf,id=console,size=65536".to_owned()),
        ("-serial", "chardev:console".to_owned()),
        ("-blockdev", disk.to_string()),
        ("-device", "virtio-blk-device,drive=disk".to_owned()),
        (
            "-netdev",
            format!("tap,id=net,fd={},vhost=off", prepared.tap.as_raw_fd()),
        ),
        ("-device", format!("virtio-net-device,netdev=net,mac={mac}")),
        ("-device", "virtio-rng-device".to_owned()),
    ]
    .into_iter()
    .chain(begins)
    .flat_map(|(name, value)| [name.to_owned(), value])
    .chain(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned))
    .collect()
}
