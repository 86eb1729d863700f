//! The guest: the real kernel, a busybox, and an `/init` that runs what stands at the beginning of its disk.

use std::fs;
use std::path::{Path, PathBuf};

const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /bin /dev /proc /sys /tmp
/bin/busybox --install -s /bin
mount -t devtmpfs d /dev
mount -t proc p /proc
mount -t sysfs s /sys
for m in virtio_ring virtio virtio_mmio virtio_blk; do insmod /$m.ko; done
while [ ! -b /dev/vda ]; do usleep 20000; done
dd if=/dev/vda of=/script bs=4096 count=1 2>/dev/null
tr -d '\000' < /script > /run.sh
echo READY
. /run.sh
while :; do sleep 3600; done
"#;

const MODULES: [&str; 4] = ["virtio_ring", "virtio", "virtio_mmio", "virtio_blk"];

/// The folder of a guest kernel: `vmlinux`, and `modules` with those of virtio, as the default kernel has them.
fn folder() -> PathBuf {
    if let Some(named) = std::env::var_os("WRENN_TEST_KERNEL") {
        return named.into();
    }
    let cache = std::env::var_os("WRENN_CACHE").map_or("/var/cache/wrenn".into(), PathBuf::from);
    let kernels = fs::read_dir(cache.join("kernels"))
        .into_iter()
        .flatten()
        .flatten();
    let mut whole = kernels
        .map(|entry| entry.path())
        .filter(|path| path.join("modules/virtio_ring.ko").exists());
    whole.next().unwrap_or_else(|| {
        panic!(
            "there is no guest kernel under {}: build a template first, or name a folder with vmlinux and modules/ in \
             WRENN_TEST_KERNEL",
            cache.display()
        )
    })
}

pub(super) fn kernel() -> PathBuf {
    folder().join("vmlinux")
}

/// The initial file system, as the kernel wants it: newc, padded to 4096.
pub(super) fn initrd() -> Vec<u8> {
    let mut archive = Vec::new();
    let read =
        |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    member(&mut archive, "bin", 0o040_755, &[]);
    member(&mut archive, "dev", 0o040_755, &[]);
    member(
        &mut archive,
        "bin/busybox",
        0o100_755,
        &read(Path::new("/bin/busybox")),
    );
    member(&mut archive, "init", 0o100_755, INIT.as_bytes());
    for module in MODULES {
        let file = format!("{module}.ko");
        let content = read(&folder().join("modules").join(&file));
        member(&mut archive, &file, 0o100_644, &content);
    }
    member(&mut archive, "TRAILER!!!", 0, &[]);
    archive.resize(archive.len().next_multiple_of(4096), 0);
    archive
}

fn member(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let inode = archive.len() + 1;
    let fields = [
        inode,
        mode as usize,
        0,
        0,
        1,
        0,
        content.len(),
        0,
        0,
        0,
        0,
        name.len() + 1,
        0,
    ];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08x}").bytes());
    }
    archive.extend(name.bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}
