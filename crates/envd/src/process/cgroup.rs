//! A control group for each command, so that all it started can be found and ended, whatever it did to hide.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// How often an emptying group is looked at.
const POLL: Duration = Duration::from_millis(2);

/// How long killed processes may take to be gone when the agent ends.
const CLEAR_WAIT: Duration = Duration::from_secs(2);

/// The directory under which the groups are made, in a cgroup v2 hierarchy.
#[derive(Debug)]
pub(crate) struct Groups {
    root: PathBuf,
    next: AtomicU64,
    /// Groups of ended commands that left something running.
    lingering: Mutex<Vec<Arc<Group>>>,
}

impl Groups {
    /// Makes groups under `root`, which is created.
    pub(crate) fn new(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        Ok(Self {
            root,
            next: AtomicU64::new(1),
            lingering: Mutex::default(),
        })
    }

    /// Makes an empty group, and removes those that have emptied since.
    pub(crate) fn create(&self) -> io::Result<Group> {
        self.sweep();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(number.to_string());
        fs::create_dir(&path)?;
        match File::open(&path) {
            Ok(dir) => Ok(Group { path, dir }),
            Err(error) => {
                drop(fs::remove_dir(&path));
                Err(error)
            }
        }
    }

    /// Removes the group of an ended command, as soon as what the command left behind has ended too.
    pub(crate) fn retire(&self, group: Arc<Group>) {
        lock(&self.lingering).push(group);
        self.sweep();
    }

    /// Ends every process of every group and removes the directory, for an agent that ends.
    pub(crate) fn clear(&self) {
        let groups: Vec<PathBuf> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        for group in &groups {
            drop(fs::write(group.join("cgroup.kill"), "1"));
        }
        let start = Instant::now();
        while groups
            .iter()
            .any(|group| !is_removed(&fs::remove_dir(group)))
            && start.elapsed() < CLEAR_WAIT
        {
            std::thread::sleep(POLL);
        }
        drop(fs::remove_dir(&self.root));
    }

    /// A group with a process in it refuses to be removed and stays listed.
    fn sweep(&self) {
        lock(&self.lingering).retain(|group| !is_removed(&fs::remove_dir(&group.path)));
    }
}

/// One command's control group.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    dir: File,
}

impl Group {
    /// Ends every process in it at once, also those that are being forked this moment.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Waits until no process is left in it, but not longer than `within`: one that is stuck in the kernel dies later.
    pub(crate) async fn emptied(&self, within: Duration) {
        let start = Instant::now();
        while self.is_populated() && start.elapsed() < within {
            tokio::time::sleep(POLL).await;
        }
    }

    fn is_populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn is_removed(result: &io::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
