//! Folders that appear whole: made aside, synced, and put in place by one rename.
//!
//! A parent directory holds finished folders by name, a hidden lock file and, while a build runs, hidden folders that are
//! being made. Whoever holds the lock may sweep the hidden ones: their maker is gone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags};
use wrenn_sys::durable;

use crate::error::{Error, Result};
use crate::progress::Progress;

/// How the name of an unfinished folder begins. No template name or key begins with a dot.
const ASIDE: &str = ".making-";

/// How often a lock that another process holds is tried again.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// The right to make and replace folders in one parent directory; let go when dropped or when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    parent: PathBuf,
    _file: File,
}

/// A folder being made. Dropped without [`Staged::publish`], it stays aside until the next holder of the lock sweeps it:
/// removing it there and then could block, or race with a program that still writes in it.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    lock: Lock,
}

impl Lock {
    /// Makes `parent` where it is absent and waits until nobody else makes folders in it.
    pub(crate) async fn acquire(parent: &Path, progress: &dyn Progress) -> io::Result<Self> {
        let mut told = false;
        loop {
            if let Some(lock) = Self::try_acquire(parent)? {
                return Ok(lock);
            }
            if !told {
                progress.step("waiting for another build to end");
                told = true;
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
    }

    fn try_acquire(parent: &Path) -> io::Result<Option<Self>> {
        fs::create_dir_all(parent)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(parent.join(".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self {
                parent: parent.to_owned(),
                _file: file,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Sweeps what earlier makers left and begins a folder.
    pub(crate) fn stage(self) -> io::Result<Staged> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        self.sweep()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self
            .parent
            .join(format!("{ASIDE}{}-{count}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Staged { path, lock: self })
    }

    /// Takes a finished folder away: its name at once, then its contents.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let aside = self.parent.join(format!("{ASIDE}removed"));
        durable::remove(&aside)?;
        fs::rename(self.parent.join(name), &aside)?;
        durable::sync_dir(&self.parent)?;
        fs::remove_dir_all(&aside)
    }

    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.parent)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(ASIDE) {
                continue;
            }
            // A program of a killed build may write for a moment longer: what resists goes at the next sweep.
            if let Err(error) = durable::remove(&entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "an unfinished build is left for later");
            }
        }
        Ok(())
    }
}

impl Staged {
    /// Where to make it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs all of it and puts it in place as `name`; a folder of that name is replaced in the same instant.
    fn publish(self, name: &str) -> io::Result<PathBuf> {
        sync_tree(&self.path)?;
        let target = self.lock.parent.join(name);
        if target.exists() {
            rustix::fs::renameat_with(CWD, &self.path, CWD, &target, RenameFlags::EXCHANGE)?;
            durable::sync_dir(&self.lock.parent)?;
            // What was exchanged out. Nobody can find it any more, so a failure here is the sweeper's.
            drop(fs::remove_dir_all(&self.path));
        } else {
            durable::publish(&self.path, &target)?;
        }
        Ok(target)
    }

    /// Publishes what was made, or removes it when making it failed.
    pub(crate) fn settle(self, name: &str, made: Result<()>) -> Result<PathBuf> {
        match made {
            Ok(()) => {
                let path = self.path.clone();
                self.publish(name).map_err(Error::io("publish", &path))
            }
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    fn discard(self) {
        if let Err(error) = durable::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a failed build is left for later");
        }
    }
}

/// A finished folder that is being read: another that takes its name meanwhile is not mixed with it.
#[derive(Debug)]
pub(crate) struct Pinned(File);

impl Pinned {
    /// The folder that has this name now.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// Where to find it, whatever its name is by now.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Makes a directory's files and names durable, all the way down.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    durable::sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;

    async fn staged(parent: &Path) -> Staged {
        let lock = Lock::acquire(parent, &Silent).await.unwrap();
        lock.stage().unwrap()
    }

    fn names(parent: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(parent)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != ".lock")
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_folder_appears_whole_and_is_replaced_whole() {
        let parent = tempfile::tempdir().unwrap();
        for contents in ["first", "second"] {
            let making = staged(parent.path()).await;
            fs::write(making.path().join("file"), contents).unwrap();
            let path = making.publish("name").unwrap();
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), contents);
            assert_eq!(names(parent.path()), ["name"]);
        }
    }

    #[tokio::test]
    async fn what_a_replaced_folder_held_lives_on_in_its_links() {
        let parent = tempfile::tempdir().unwrap();
        let making = staged(parent.path()).await;
        fs::write(making.path().join("disk"), "old").unwrap();
        let path = making.publish("name").unwrap();
        let link = parent.path().join("link");
        fs::hard_link(path.join("disk"), &link).unwrap();
        let making = staged(parent.path()).await;
        fs::write(making.path().join("disk"), "new").unwrap();
        making.publish("name").unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "old");
    }

    #[tokio::test]
    async fn a_pinned_folder_stays_the_one_it_was() {
        let parent = tempfile::tempdir().unwrap();
        let making = staged(parent.path()).await;
        fs::write(making.path().join("disk"), "old").unwrap();
        let path = making.publish("name").unwrap();
        let pinned = Pinned::open(&path).unwrap();
        fs::rename(&path, parent.path().join("other")).unwrap();
        let making = staged(parent.path()).await;
        fs::write(making.path().join("disk"), "new").unwrap();
        making.publish("name").unwrap();
        assert_eq!(fs::read(pinned.path().join("disk")).unwrap(), b"old");
    }

    #[tokio::test]
    async fn what_is_dropped_or_discarded_never_appears() {
        let parent = tempfile::tempdir().unwrap();
        drop(staged(parent.path()).await);
        assert_eq!(names(parent.path()).len(), 1);
        staged(parent.path()).await.discard();
        assert!(names(parent.path()).is_empty());
    }

    #[tokio::test]
    async fn a_second_maker_waits_for_the_first() {
        let parent = tempfile::tempdir().unwrap();
        let first = staged(parent.path()).await;
        let second = Lock::acquire(parent.path(), &Silent);
        let waited = tokio::time::timeout(LOCK_INTERVAL * 2, second).await;
        assert!(waited.is_err());
        first.publish("name").unwrap();
        let lock = Lock::acquire(parent.path(), &Silent).await.unwrap();
        lock.remove("name").unwrap();
        assert!(names(parent.path()).is_empty());
    }
}
