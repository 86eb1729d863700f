//! A bare QEMU with the machine that Wrenn uses.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Stdio;

use anyhow::{Context, Result};
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::json;
use tokio::process::{Child, Command};
use wrenn_envd_api::guest::MAC;

use super::{MEMORY, Prepared};

/// Starts it; it ends when what this gives is dropped.
pub(super) fn start(prepared: &Prepared<'_>, tap: &OwnedFd) -> Result<Child> {
    // The child gets the descriptor by inheritance. Nothing else is started at the same time.
    fcntl_setfd(tap.as_fd(), FdFlags::empty())?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a process that lives on, with an inherited descriptor"
    )]
    let child = Command::new("qemu-system-x86_64")
        .args(arguments(prepared, tap))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    fcntl_setfd(tap.as_fd(), FdFlags::CLOEXEC)?;
    child.context("qemu-system-x86_64 cannot be started")
}

fn arguments(prepared: &Prepared<'_>, tap: &OwnedFd) -> Vec<String> {
    let hand = prepared.hand;
    let (accel, cpu, clock) = if hand.kvm {
        ("kvm", "host", String::new())
    } else {
        (
            "tcg,tb-size=64",
            "max",
            format!(
                " tsc_early_khz={} tsc=reliable",
                wrenn_sys::clock::tsc_khz()
            ),
        )
    };
    let file = |path: &std::path::Path| json!({ "driver": "file", "filename": path });
    let disk = json!({
        "driver": "qcow2", "node-name": "disk", "discard": "unmap", "detect-zeroes": "unmap",
        "file": file(&prepared.overlay),
        "backing": { "driver": "raw", "node-name": "base", "read-only": true, "file": file(&hand.template.image) },
    });
    let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
    let memory = format!(
        "memory-backend-file,id=memory,size={},mem-path={},share=off,readonly=on,rom=off",
        MEMORY.bytes(),
        prepared.memory.display()
    );
    [
        (
            "-machine",
            "microvm,acpi=on,rtc=on,pit=off,pic=off,memory-backend=memory".to_owned(),
        ),
        ("-accel", accel.to_owned()),
        ("-cpu", cpu.to_owned()),
        ("-smp", "1".to_owned()),
        ("-m", format!("{}M", MEMORY.0)),
        ("-object", memory),
        ("-kernel", hand.kernel.vmlinux.display().to_string()),
        ("-initrd", hand.initramfs.display().to_string()),
        (
            "-append",
            format!("console=ttyS0 quiet reboot=t panic=-1{clock}"),
        ),
        ("-display", "none".to_owned()),
        ("-chardev", "ringbuf,id=console,size=65536".to_owned()),
        ("-serial", "chardev:console".to_owned()),
        ("-blockdev", disk.to_string()),
        ("-device", "virtio-blk-device,drive=disk".to_owned()),
        (
            "-netdev",
            format!("tap,id=net,fd={},vhost=off", tap.as_raw_fd()),
        ),
        ("-device", format!("virtio-net-device,netdev=net,mac={mac}")),
        ("-device", "virtio-rng-device".to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .chain(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned))
    .collect()
}
