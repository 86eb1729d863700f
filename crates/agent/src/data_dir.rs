//! A data directory: locked by one Wrenn at a time, with an instance id that was made once.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wrenn_model::InstanceId;
use wrenn_sys::durable;

/// A data directory that this process has locked. The lock goes with the value, and with the process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    instance: InstanceId,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another Wrenn has it.
    #[error(
        "another Wrenn serves {path}: end it first, or choose another directory with WRENN_DIR"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It is not what this program made.
    #[error("{path} holds no instance id that this version understands: {found:?}")]
    Instance {
        /// The file.
        path: PathBuf,
        /// The beginning of its text.
        found: String,
    },
    /// What was made in its name is there, but not the name.
    #[error(
        "{path} is missing, and without it nobody knows whose the sandboxes of this data directory are"
    )]
    Nameless {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("the data directory {path} cannot be used")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory where it is missing (0700), locks it and reads or makes the instance id.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io(path))?;
        let path = fs::canonicalize(path).map_err(io(path))?;
        let lock = lock(&path.join("lock"))
            .map_err(io(&path))?
            .ok_or_else(|| DataDirError::Locked { path: path.clone() })?;
        let instance = instance(&path)?;
        Ok(Self {
            path,
            instance,
            _lock: lock,
        })
    }

    /// The directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What this installation's kernel objects are named by.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Where the agent listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join("agent.sock")
    }
}

/// How long a predecessor may take to let go of the directory. The lock belongs to the open file, which a process that it was
/// about to start has as well, until that becomes another program: one that was killed in that moment needs another.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(10);

/// `None` when another process holds it, and goes on to.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn instance(dir: &Path) -> Result<InstanceId, DataDirError> {
    let path = dir.join("instance");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| DataDirError::Instance {
            path,
            found: text.chars().take(40).collect(),
        }),
        // A journal speaks of what the kernel has under the old name.
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.join("journal").exists() => {
            Err(DataDirError::Nameless { path })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let instance = InstanceId::random();
            durable::write(&path, format!("{instance}\n").as_bytes(), 0o644)
                .map_err(|source| DataDirError::Io { path, source })?;
            Ok(instance)
        }
        Err(source) => Err(DataDirError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_is_made_once_and_the_lock_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(
            DataDir::open(&path),
            Err(DataDirError::Locked { .. })
        ));
        let instance = first.instance().clone();
        drop(first);
        assert_eq!(*DataDir::open(&path).unwrap().instance(), instance);
    }

    #[test]
    fn who_was_killed_has_a_moment_to_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let former = DataDir::open(dir.path()).unwrap();
        // A process that the former one was about to start has its files until it is another program.
        let remains = former._lock.try_clone().unwrap();
        drop(former);
        let goes = std::thread::spawn(move || {
            std::thread::sleep(PATIENCE / 10);
            drop(remains);
        });
        DataDir::open(dir.path()).unwrap();
        goes.join().unwrap();
    }

    #[test]
    fn a_foreign_instance_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for damaged in ["something else", ""] {
            fs::write(dir.path().join("instance"), damaged).unwrap();
            assert!(matches!(
                DataDir::open(dir.path()),
                Err(DataDirError::Instance { .. })
            ));
        }
    }

    #[test]
    fn a_journal_without_an_instance_is_no_new_installation() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("journal"), "").unwrap();
        assert!(matches!(
            DataDir::open(dir.path()),
            Err(DataDirError::Nameless { .. })
        ));
        assert!(!dir.path().join("instance").exists());
    }
}
