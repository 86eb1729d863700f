//! The boot id that the guest's programs see.
//!
//! The kernel makes its own once and lets nobody change it; guests that were restored from one state all have the same. So a
//! file of ours is mounted over it.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{PROC_SUPER_MAGIC, statfs};

/// Where programs look.
const SHOWN: &str = "/proc/sys/kernel/random/boot_id";

/// What they see there: in memory, where only root can write, and in the same place in a clone of a clone.
const DIR: &str = "/run/wrenn";
const FILE: &str = "/run/wrenn/boot-id";

/// How what lies in the hands of a guest's root is opened: no link is followed, and no pipe waited for.
const CAUTIOUS: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;

/// More layers than this over the kernel's file nobody has put there by accident.
const MAX_LAYERS: usize = 16;

/// Shows `id` as the boot id from now on.
pub(crate) fn change(id: &str) -> io::Result<()> {
    let line = format!("{id}\n");
    if is_shown(&line) {
        return Ok(());
    }
    write(line.as_bytes())?;
    // What an earlier call mounted is this very file.
    if is_shown(&line) {
        return Ok(());
    }
    uncover()?;
    cover()
}

/// Whatever a guest has put there, no more of it is read than an id is long.
fn is_shown(line: &str) -> bool {
    let mut shown = Vec::new();
    let read = File::options()
        .read(true)
        .custom_flags(CAUTIOUS)
        .open(SHOWN);
    let read = read.and_then(|file| file.take(64).read_to_end(&mut shown));
    read.is_ok() && shown == line.as_bytes()
}

/// In place, since a mount shows a file and not a name. All ids are of one length: no reader finds half of one. What a guest has
/// put in the place of the file goes.
fn write(line: &[u8]) -> io::Result<()> {
    let is = |path: &str, kind: fn(&fs::Metadata) -> bool| {
        fs::symlink_metadata(path).is_ok_and(|meta| kind(&meta))
    };
    if !is(DIR, fs::Metadata::is_dir) {
        drop(fs::remove_file(DIR));
        fs::create_dir_all(DIR)?;
    }
    if !is(FILE, fs::Metadata::is_file) {
        drop(fs::remove_file(FILE));
        drop(fs::remove_dir_all(FILE));
    }
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(CAUTIOUS)
        .open(FILE)?;
    file.set_permissions(Permissions::from_mode(0o444))?;
    file.write_all_at(line, 0)?;
    file.set_len(line.len() as u64)
}

/// Takes off whatever lies over the kernel's own, so that mounts do not pile up.
fn uncover() -> io::Result<()> {
    for _ in 0..MAX_LAYERS {
        if statfs(SHOWN)?.f_type == PROC_SUPER_MAGIC {
            break;
        }
        umount2(SHOWN, MntFlags::MNT_DETACH)?;
    }
    Ok(())
}

/// Read-only, as the kernel's own is.
fn cover() -> io::Result<()> {
    let bind = |source, flags| {
        mount(
            source,
            Path::new(SHOWN),
            None::<&str>,
            MsFlags::MS_BIND | flags,
            None::<&str>,
        )
    };
    bind(Some(Path::new(FILE)), MsFlags::empty())?;
    bind(
        None,
        MsFlags::MS_REMOUNT
            | MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};

    /// Has `what` done in a mount namespace of its own, with an empty /run. A thread can have one.
    fn apart(what: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, private, none).unwrap();
            mount(
                Some("tmpfs"),
                "/run",
                Some("tmpfs"),
                MsFlags::empty(),
                Some("mode=0755"),
            )
            .unwrap();
            what();
        });
        thread.join().unwrap();
    }

    fn mounts() -> usize {
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
        mounts.lines().count()
    }

    fn shown() -> String {
        fs::read_to_string(SHOWN).unwrap().trim_end().to_owned()
    }

    #[test]
    fn the_last_one_is_shown_and_one_mount_is_all() {
        apart(|| {
            let own = shown();
            let before = mounts();
            for number in 0..5 {
                let id = format!("00000000-0000-4000-8000-00000000000{number}");
                change(&id).unwrap();
                assert_eq!(shown(), id);
                assert_eq!(mounts(), before + 1);
            }
            assert!(fs::write(SHOWN, "another").is_err());
            uncover().unwrap();
            assert_eq!((shown(), mounts()), (own, before));
        });
    }

    #[test]
    fn what_a_guest_did_to_it_is_undone() {
        apart(|| {
            let ids =
                ["1", "2", "3"].map(|digit| format!("{digit}0000000-0000-4000-8000-000000000000"));
            let before = mounts();
            change(&ids[0]).unwrap();
            // The file is another one than the mounted.
            fs::remove_file(FILE).unwrap();
            change(&ids[1]).unwrap();
            assert_eq!((shown(), mounts()), (ids[1].clone(), before + 1));
            // It is a pipe that nobody reads, or a link to somewhere else.
            fs::remove_file(FILE).unwrap();
            nix::unistd::mkfifo(FILE, nix::sys::stat::Mode::S_IRWXU).unwrap();
            change(&ids[0]).unwrap();
            assert_eq!((shown(), mounts()), (ids[0].clone(), before + 1));
            fs::write("/run/other", "other").unwrap();
            fs::remove_file(FILE).unwrap();
            std::os::unix::fs::symlink("/run/other", FILE).unwrap();
            change(&ids[1]).unwrap();
            assert_eq!((shown(), mounts()), (ids[1].clone(), before + 1));
            assert_eq!(fs::read("/run/other").unwrap(), b"other");
            // It is covered twice.
            fs::write("/run/own", "own\n").unwrap();
            let flags = MsFlags::MS_BIND;
            mount(Some("/run/own"), SHOWN, None::<&str>, flags, None::<&str>).unwrap();
            change(&ids[2]).unwrap();
            assert_eq!((shown(), mounts()), (ids[2].clone(), before + 1));
        });
    }
}
