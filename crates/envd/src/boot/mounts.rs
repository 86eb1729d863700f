//! The guest's file systems, and the step from the initramfs into the image.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};
use wrenn_envd_api::guest;

use crate::console;

/// Where the image is mounted before it becomes the root.
const NEW_ROOT: &str = "/root-image";

/// How long the root device may take to appear after its driver was loaded.
const DEVICE_WAIT: Duration = Duration::from_secs(10);

/// How often that is looked at.
const DEVICE_POLL: Duration = Duration::from_millis(1);

/// One mount of a kernel file system.
struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MsFlags,
    options: &'static str,
}

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const SAFEST: MsFlags = SAFE.union(MsFlags::MS_NOEXEC);

/// What is needed to find the root device; moved into the image later.
const EARLY: [Mount; 3] = [
    Mount {
        kind: "devtmpfs",
        target: "/dev",
        flags: MsFlags::MS_NOSUID,
        options: "mode=0755",
    },
    Mount {
        kind: "proc",
        target: "/proc",
        flags: SAFEST,
        options: "",
    },
    Mount {
        kind: "sysfs",
        target: "/sys",
        flags: SAFEST,
        options: "",
    },
];

/// What programs expect beside. What lies in memory can't be reclaimed by ending its owner: together less than the guest has.
const LATE: [Mount; 4] = [
    Mount {
        kind: "tmpfs",
        target: "/run",
        flags: SAFE,
        options: "mode=0755,size=20%",
    },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        options: "mode=0620,gid=5,ptmxmode=0666",
    },
    Mount {
        kind: "tmpfs",
        target: "/dev/shm",
        flags: SAFE,
        options: "mode=1777,size=40%",
    },
    Mount {
        kind: "cgroup2",
        target: "/sys/fs/cgroup",
        flags: SAFEST,
        options: "nsdelegate,memory_recursiveprot",
    },
];

/// Names in /dev that are links into /proc.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Mounts what the search for the root device needs.
pub(super) fn early() -> io::Result<()> {
    EARLY.iter().try_for_each(Mount::make)
}

/// Makes the image's file system the root.
pub(super) fn switch_root() -> io::Result<()> {
    wait_for(Path::new(guest::ROOT_DEVICE))?;
    fs::create_dir_all(NEW_ROOT)?;
    mount(
        Some(guest::ROOT_DEVICE),
        NEW_ROOT,
        Some("ext4"),
        MsFlags::MS_NOATIME,
        None::<&str>,
    )?;
    for early in &EARLY {
        let target = format!("{NEW_ROOT}{}", early.target);
        fs::create_dir_all(&target)?;
        mount(
            Some(early.target),
            target.as_str(),
            None::<&str>,
            MsFlags::MS_MOVE,
            None::<&str>,
        )?;
    }
    chdir(NEW_ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    chroot(".")?;
    chdir("/")?;
    Ok(())
}

/// Mounts the rest. A guest without one of these still serves, and its console says what is missing.
pub(super) fn late() {
    for late in &LATE {
        if let Err(error) = late.make() {
            console::log(format_args!("{}: {error}", late.target));
        }
    }
    for (to, name) in LINKS {
        // devtmpfs may have it already.
        drop(symlink(to, name));
    }
    drop(fs::create_dir_all("/run/lock"));
}

impl Mount {
    fn make(&self) -> io::Result<()> {
        fs::create_dir_all(self.target)?;
        let options = Some(self.options).filter(|options| !options.is_empty());
        Ok(mount(
            Some(self.kind),
            self.target,
            Some(self.kind),
            self.flags,
            options,
        )?)
    }
}

fn wait_for(device: &Path) -> io::Result<()> {
    let start = Instant::now();
    while !device.exists() {
        if start.elapsed() > DEVICE_WAIT {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} did not appear", device.display()),
            ));
        }
        thread::sleep(DEVICE_POLL);
    }
    Ok(())
}
