//! A small XFS on a loop device, as a host's store is.

#![expect(
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a fixture runs programs plainly and stops at the first surprise"
)]

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use wrenn_sys::loopdev::LoopDevice;

/// Runs a test in the root of a new file system of `bytes`, at least 320 MiB, in a mount namespace of its own. Both end with
/// the test. Wants root.
pub fn on_xfs(bytes: u64, test: impl FnOnce(&Path) + Send + 'static) {
    let dir = tempfile::tempdir().unwrap();
    let (image, root) = (dir.path().join("image"), dir.path().join("root"));
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        mount_new(&image, &root, bytes);
        test(&root);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn mount_new(image: &Path, root: &Path, bytes: u64) {
    File::create(image).unwrap().set_len(bytes).unwrap();
    let made = Command::new("mkfs.xfs")
        .args(["-q", "-m", "reflink=1", "-s", "size=4096"])
        .arg(image)
        .status();
    assert!(made.unwrap().success());
    let file = OpenOptions::new().read(true).write(true).open(image);
    let device = LoopDevice::attach(&file.unwrap()).unwrap();
    fs::create_dir(root).unwrap();
    let none = MsFlags::empty();
    mount(Some(&device.path()), root, Some("xfs"), none, None::<&str>).unwrap();
}
