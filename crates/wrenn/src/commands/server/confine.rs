//! What the control plane gives up when `wrenn up` starts it: it parses what anybody sends, and needs next to nothing for it.
//!
//! It becomes a user that nobody else on the machine is, without a capability or a way to one, in namespaces of its own:
//! of the file system it sees the folders that it is given, at the paths that they have outside, and of the network the
//! listener that it holds. It ends with the process that started it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{Resource, Rlimit, Signal};
use wrenn_sys::jail;

/// Of the root file system, which holds mount points alone.
const ROOT_OPTIONS: &std::ffi::CStr = c"size=64k,nr_inodes=64,mode=0755";
/// As in a jail: of one byte a core file is neither written nor piped to the host's handler.
const NO_CORE: u64 = 1;

/// What is left of the host.
#[derive(Debug)]
pub(super) struct Confinement<'a> {
    /// The user to become.
    pub(super) uid: u32,
    /// The folder to work in, which that user may write.
    pub(super) state: &'a Path,
    /// The folder with the agent's socket.
    pub(super) agent: &'a Path,
    /// The folder with the database's, where that has one.
    pub(super) database: Option<&'a Path>,
}

impl Confinement<'_> {
    /// Gives everything else up, for good. For a process with one thread.
    pub(super) fn enter(&self) -> io::Result<()> {
        unshare(
            CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWUTS,
        )?;
        self.change_root()?;
        std::env::set_current_dir(self.state)?;
        let limit = Rlimit {
            current: Some(NO_CORE),
            maximum: Some(NO_CORE),
        };
        rustix::process::setrlimit(Resource::Core, limit)?;
        umask(Mode::from_bits_truncate(0o077));
        jail::drop_privileges(self.uid)?;
        // Forgotten with every change of the user, so only now. A parent that has ended by now does not read what is
        // said once the API is served, and that ends this as well.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    }

    /// A root that has nothing but these folders.
    fn change_root(&self) -> io::Result<()> {
        // Nothing of what follows is to be seen outside.
        mount_change(
            "/",
            MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
        )?;
        let folders: Vec<&Path> = [self.state, self.agent]
            .into_iter()
            .chain(self.database)
            .collect();
        // With what is mounted in them, such as a file that somebody made read-only.
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let trees = folders
            .iter()
            .map(|folder| open_tree(CWD, *folder, flags))
            .collect::<Result<Vec<_>, _>>()?;
        // Any folder is good enough to stack the new root upon.
        let root = self.agent;
        let closed = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", root, "tmpfs", closed, ROOT_OPTIONS)?;
        for (folder, tree) in folders.iter().zip(trees) {
            let at = inside(root, folder)?;
            fs::create_dir_all(&at)?;
            move_mount(tree, "", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            mount_remount(&at, MountFlags::BIND | closed, c"")?;
        }
        mount_remount(root, closed | MountFlags::RDONLY, c"")?;
        std::env::set_current_dir(root)?;
        // The new root is stacked on the old one, which is let go.
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        std::env::set_current_dir("/")
    }
}

/// Where a folder of the host stands below the new root: at the same path.
fn inside(root: &Path, folder: &Path) -> io::Result<PathBuf> {
    let below = folder.strip_prefix("/").map_err(|_| {
        let wrong = format!("{} is no absolute path", folder.display());
        io::Error::new(io::ErrorKind::InvalidInput, wrong)
    })?;
    Ok(root.join(below))
}
