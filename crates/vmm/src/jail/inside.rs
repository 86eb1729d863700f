//! The inner half: what the first process of the jail does to itself, step by step, before it becomes the VMM.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use rustix::fs::{CWD, FileType, Gid, Uid, makedev};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, unmount,
};
use wrenn_sys::jail::{ResourceLimits, drop_privileges, exec, set_resource_limits};
use wrenn_sys::seccomp;

use super::{Access, Device, Inhabitant, JailSpec, Mount, doing, filter};

/// More than a VMM with a handful of disks needs.
const DESCRIPTORS: u64 = 256;

/// Goes through all of it but for the last step. What fails leaves a process that has to end.
pub(super) fn enter(spec: &JailSpec) -> io::Result<()> {
    // Without a session of its own a Ctrl-C in the agent's terminal would end every VM.
    rustix::process::setsid()?;
    // A jailer may join another network.
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP,
    )?;
    rustix::system::sethostname(b"vm")?;
    build_root(spec)?;
    set_resource_limits(ResourceLimits {
        descriptors: DESCRIPTORS,
        file_size: spec.file_size,
    })?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
    if matches!(spec.inhabitant, Inhabitant::Jailer { .. }) {
        return Ok(());
    }
    change_root(&spec.root)?;
    drop_privileges(spec.uid)?;
    seccomp::refuse(&filter::refusals())
}

/// Becomes who lives there. Returns only the order of one of us.
pub(super) fn settle(inhabitant: Inhabitant) -> io::Result<String> {
    let (path, args, env) = match inhabitant {
        Inhabitant::Own { order } => return Ok(order),
        Inhabitant::Program { path, args, env } => (path, args, env),
        Inhabitant::Jailer { path, args, .. } => {
            let path = path.into_os_string().into_string();
            let path = path.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            (path, args, Vec::new())
        }
    };
    let error = exec(&path, &args, &env);
    Err(doing("running", Path::new(&path))(error))
}

fn build_root(spec: &JailSpec) -> io::Result<()> {
    // Nothing of what follows is to be seen outside.
    mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )?;
    let (flags, options) = match &spec.inhabitant {
        // It makes devices and a program there.
        Inhabitant::Jailer { room, .. } => (
            MountFlags::NOSUID,
            format!("size={room},nr_inodes=64,mode=0755"),
        ),
        _ => (
            MountFlags::NOSUID | MountFlags::NOEXEC,
            "size=64k,nr_inodes=64,mode=0755".to_owned(),
        ),
    };
    let options = CString::new(options)?;
    mount("tmpfs", &spec.root, "tmpfs", flags, options.as_c_str())
        .map_err(doing("mounting", &spec.root))?;
    for mount in &spec.mounts {
        bind(&spec.root, mount).map_err(doing("mounting", &mount.from))?;
    }
    for link in &spec.links {
        let at = make_room(&spec.root, &link.at)?;
        symlink(&link.target, &at).map_err(doing("linking", &at))?;
    }
    for node in &spec.devices {
        make_node(&spec.root, node, spec.uid)?;
    }
    if matches!(spec.inhabitant, Inhabitant::Jailer { .. }) {
        return Ok(());
    }
    mount_remount(&spec.root, flags | MountFlags::RDONLY, c"").map_err(doing("closing", &spec.root))
}

/// The new root is stacked on the old one, which is let go.
fn change_root(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

fn bind(root: &Path, spec: &Mount) -> io::Result<()> {
    let to = make_room(root, &spec.to)?;
    if fs::metadata(&spec.from)?.is_dir() {
        fs::create_dir(&to)?;
    } else {
        File::create_new(&to)?;
    }
    mount_bind(&spec.from, &to)?;
    let flags = match spec.access {
        Access::Read => MountFlags::RDONLY | MountFlags::NOEXEC,
        Access::Execute => MountFlags::RDONLY,
        Access::Write => MountFlags::NOEXEC,
    };
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | flags;
    Ok(mount_remount(&to, flags, c"")?)
}

fn make_node(root: &Path, device: &Device, uid: u32) -> io::Result<()> {
    use FileType::{BlockDevice, CharacterDevice};

    let (name, kind, number, mode) = match device {
        Device::Null => ("dev/null".into(), CharacterDevice, makedev(1, 3), 0o666),
        Device::Urandom => ("dev/urandom".into(), CharacterDevice, makedev(1, 9), 0o444),
        Device::Kvm => ("dev/kvm".into(), CharacterDevice, makedev(10, 232), 0o600),
        Device::Disk { at, number } => {
            let number = makedev(number.major, number.minor);
            (at.clone(), BlockDevice, number, 0o600)
        }
    };
    let at = make_room(root, &name)?;
    rustix::fs::mknodat(CWD, &at, kind, mode.into(), number).map_err(doing("making", &at))?;
    // Again, since the first time the umask took its part.
    rustix::fs::chmod(&at, mode.into())?;
    if mode == 0o600 {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
        rustix::fs::chown(&at, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// The place of a path in the jail, with the folders that lead there.
fn make_room(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let plain = |part| matches!(part, std::path::Component::Normal(_));
    if !path.components().all(plain) {
        let wrong = format!("{} is no place in a jail", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, wrong));
    }
    let at = root.join(path);
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(at)
}
