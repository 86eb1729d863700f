//! Overlays as QEMU's own tools see them.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test runs programs plainly and stops at the first surprise"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use wrenn_disk::qcow2::{HEADER_REGION, Header, MAX_VIRTUAL_SIZE};
use wrenn_disk::{create_overlay, usage};

const MIB: u64 = 1 << 20;

/// A base image of 64 MiB with a recognisable mebibyte at 1 MiB, and an overlay of `virtual_size` over it.
fn overlay(dir: &Path, virtual_size: u64) -> (PathBuf, PathBuf) {
    let (base, overlay) = (dir.join("base.raw"), dir.join("overlay.qcow2"));
    let file = File::create(&base).unwrap();
    file.set_len(64 * MIB).unwrap();
    file.write_all_at(&vec![0xba; 1 << 20], MIB).unwrap();
    create_overlay(&overlay, &base, virtual_size, 0).unwrap();
    (base, overlay)
}

/// Runs a tool and returns what it printed.
fn run(program: &str, args: &[&str], image: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .arg(image)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs one qemu-io command, which fails when a pattern is not what it should be.
fn io(command: &str, image: &Path) {
    let said = run("qemu-io", &["-f", "qcow2", "-c", command], image);
    assert!(!said.contains("failed"), "{command}: {said}");
}

#[test]
fn qemu_accepts_an_empty_overlay_of_every_size() {
    for virtual_size in [64 * MIB, 8 << 30, (8 << 30) + 512, MAX_VIRTUAL_SIZE] {
        let dir = tempfile::tempdir().unwrap();
        let (base, overlay) = overlay(dir.path(), virtual_size);
        let check = run("qemu-img", &["check", "-f", "qcow2"], &overlay);
        assert!(check.contains("No errors were found"), "{check}");
        let info = run("qemu-img", &["info", "--output=json"], &overlay);
        assert!(
            info.contains(&format!("\"virtual-size\": {virtual_size}")),
            "{info}"
        );
        assert!(
            info.contains("\"backing-filename-format\": \"raw\""),
            "{info}"
        );
        assert!(info.contains(base.to_str().unwrap()), "{info}");
        assert!(usage(&overlay).unwrap() <= 12 << 10);
    }
}

#[test]
fn the_guest_reads_the_base_and_writes_the_overlay() {
    let dir = tempfile::tempdir().unwrap();
    let (base, overlay) = overlay(dir.path(), 8 << 30);
    let before = std::fs::read(&base).unwrap();
    io("read -P 0xba 1M 1M", &overlay);
    io("read -P 0 0 1M", &overlay);
    // Behind the end of the base image the disk is empty, up to its last sector.
    io("read -P 0 64M 1M", &overlay);
    io("write -P 0xaa 1500k 4M", &overlay);
    io("write -P 0xcc 8589934080 512", &overlay);
    io("read -P 0xba 1M 476k", &overlay);
    io("read -P 0xaa 1500k 4M", &overlay);
    io("read -P 0xcc 8589934080 512", &overlay);
    let check = run("qemu-img", &["check", "-f", "qcow2"], &overlay);
    assert!(check.contains("No errors were found"), "{check}");
    assert_eq!(std::fs::read(&base).unwrap(), before);
}

#[test]
fn the_header_is_ours_however_much_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (base, overlay) = overlay(dir.path(), 8 << 30);
    io("write -P 0xaa 0 64M", &overlay);
    io("discard 0 32M", &overlay);
    let mut start = vec![0; HEADER_REGION];
    File::open(&overlay)
        .unwrap()
        .read_exact_at(&mut start, 0)
        .unwrap();
    let header = Header {
        virtual_size: 8 << 30,
        backing: base,
    };
    assert_eq!(Header::parse(&start), Ok(header));
}

#[test]
fn an_image_that_is_not_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign.qcow2");
    run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "-o", "size=1G"],
        &foreign,
    );
    let start = std::fs::read(&foreign).unwrap();
    Header::parse(&start[..HEADER_REGION]).unwrap_err();
}
