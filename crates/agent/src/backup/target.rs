//! Where files are restored to: made aside in the folder itself, which may be the root of a file system, and then renamed.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use wrenn_sys::durable;

use super::{BackupError, failed};

/// What is being made.
const ASIDE: &str = ".restore.new";
/// What a folder may have and be empty all the same: what a restore that was cut off left, a lock, what a file system brings.
const NOTHING: [&str; 3] = [ASIDE, "lock", "lost+found"];

/// A folder that is empty, or that there was not, and that nobody else restores to.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    /// There was none before.
    made: bool,
    lock: File,
}

impl Target {
    /// Takes a folder; it is made where it is missing.
    ///
    /// # Errors
    /// [`BackupError::Occupied`], [`BackupError::Busy`].
    pub(super) fn take(path: &Path) -> Result<Self, BackupError> {
        let unusable = failed("the folder to restore to cannot be used");
        let made = !path.exists();
        let mut folders = DirBuilder::new();
        let folders = folders.recursive(true).mode(0o700);
        folders.create(path).map_err(&unusable)?;
        let path = fs::canonicalize(path).map_err(&unusable)?;
        let lock = File::open(&path).map_err(&unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::Busy { path }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        if occupied(&path).map_err(&unusable)? {
            return Err(BackupError::Occupied { path });
        }
        Ok(Self { path, made, lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where things are made.
    pub(super) fn aside(&self) -> PathBuf {
        self.path.join(ASIDE)
    }

    /// Makes an empty folder to make things in.
    pub(super) fn begin(&self) -> io::Result<()> {
        let aside = self.aside();
        durable::remove(&aside)?;
        DirBuilder::new().mode(0o700).create(aside)
    }

    /// Makes what was made durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(self.aside())?)?)
    }

    /// Gives what was made its place: first what is called `first`, last what is called `last`, so that whoever looks in
    /// between finds something that is neither whole nor new.
    pub(super) fn publish(&self, first: &str, last: &str) -> io::Result<()> {
        let aside = self.aside();
        let mut names = fs::read_dir(&aside)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_by_key(|name| (name == last, name != first));
        for name in &names {
            if name == last {
                self.lock.sync_all()?;
            }
            fs::rename(aside.join(name), self.path.join(name))?;
        }
        fs::remove_dir(&aside)?;
        self.lock.sync_all()
    }

    /// Gives what was made to whoever owns the folder.
    pub(super) fn give(&self) -> io::Result<()> {
        let owner = self.lock.metadata()?;
        for entry in fs::read_dir(self.aside())? {
            lchown(entry?.path(), Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(())
    }

    /// Leaves nothing.
    pub(super) fn abandon(&self) {
        let aside = self.aside();
        let mut removed = durable::remove(&aside);
        if self.made && removed.is_ok() {
            removed = fs::remove_dir(&self.path);
        }
        if let Err(error) = removed {
            tracing::error!(path = %aside.display(), %error, "what a restore made stays");
        }
    }
}

fn occupied(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !NOTHING.iter().any(|nothing| name == *nothing) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_appears_and_what_failed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/data");
        let target = Target::take(&path).unwrap();
        assert!(matches!(Target::take(&path), Err(BackupError::Busy { .. })));
        target.begin().unwrap();
        fs::write(target.aside().join("half"), "").unwrap();
        target.abandon();
        drop(target);
        assert!(!path.exists());

        fs::create_dir_all(path.join(ASIDE).join("cut off")).unwrap();
        fs::create_dir(path.join("lost+found")).unwrap();
        let target = Target::take(&path).unwrap();
        target.begin().unwrap();
        for name in ["a", "first", "last", "z"] {
            fs::write(target.aside().join(name), name).unwrap();
        }
        target.give().unwrap();
        target.sync().unwrap();
        target.publish("first", "last").unwrap();
        assert_eq!(fs::read_to_string(path.join("last")).unwrap(), "last");
        assert!(!target.aside().exists());
        drop(target);
        assert!(matches!(
            Target::take(&path),
            Err(BackupError::Occupied { .. })
        ));
    }
}
