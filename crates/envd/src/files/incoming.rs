//! A file that is being received: written beside its target, and in its place once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::FileError;
use crate::users::User;

/// How many pieces one `writev` takes.
const VECTOR: usize = 64;

/// Makes the names of unfinished files differ.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An unfinished file. Dropping it removes it, and what stood at the target stays as it was.
#[derive(Debug)]
pub(crate) struct Incoming {
    file: File,
    aside: PathBuf,
    target: PathBuf,
    finished: bool,
}

impl Incoming {
    /// Begins a file that will belong to `owner`, like the directories made for it. A link at `path` is followed; the
    /// permissions of a file that stands there are kept.
    pub(crate) fn begin(path: &Path, owner: &User) -> Result<Self, FileError> {
        let target = follow(path)?;
        let io_error = |error| FileError::Io(target.clone(), error);
        let mode = match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => return Err(FileError::IsDirectory(target)),
            Ok(metadata) if !metadata.is_file() => return Err(FileError::NotRegular(target)),
            Ok(metadata) => metadata.mode() & 0o7777,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0o644,
            Err(error) => return Err(io_error(error)),
        };
        let (Some(parent), Some(_)) = (target.parent(), target.file_name()) else {
            return Err(FileError::IsDirectory(target));
        };
        make_dirs(parent, owner).map_err(io_error)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let aside = parent.join(format!(".wrenn-{}-{number}", std::process::id()));
        let file = create(&aside).map_err(io_error)?;
        let incoming = Self {
            file,
            aside,
            target,
            finished: false,
        };
        incoming
            .own(mode, owner)
            .map_err(|error| FileError::Io(incoming.target.clone(), error))?;
        Ok(incoming)
    }

    /// Appends `pieces` without copying them together.
    pub(crate) fn write(&mut self, pieces: &[Bytes]) -> Result<(), FileError> {
        for vector in pieces.chunks(VECTOR) {
            let mut slices: Vec<_> = vector.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut left = slices.as_mut_slice();
            while !left.is_empty() {
                match self.file.write_vectored(left) {
                    Ok(written) => IoSlice::advance_slices(&mut left, written),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(self.failed(error)),
                }
            }
        }
        Ok(())
    }

    /// Puts the file in its place.
    pub(crate) fn finish(mut self) -> Result<PathBuf, FileError> {
        fs::rename(&self.aside, &self.target).map_err(|error| self.failed(error))?;
        self.finished = true;
        Ok(std::mem::take(&mut self.target))
    }

    fn own(&self, mode: u32, owner: &User) -> io::Result<()> {
        fchown(&self.file, Some(owner.uid), Some(owner.gid))?;
        // After the owner: changing that takes away the setuid bits.
        self.file.set_permissions(fs::Permissions::from_mode(mode))
    }

    fn failed(&self, error: io::Error) -> FileError {
        FileError::Io(self.target.clone(), error)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing better can be done about a file that cannot be removed.
            drop(fs::remove_file(&self.aside));
        }
    }
}

/// Where a link at `path` leads; `path` itself if none stands there, or one that leads nowhere.
fn follow(path: &Path) -> Result<PathBuf, FileError> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if !is_link {
        return Ok(path.to_path_buf());
    }
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_path_buf()),
        other => other.map_err(|error| FileError::Io(path.to_path_buf(), error)),
    }
}

/// Makes the directories that are missing on the way to `dir`, and gives them to `owner`.
fn make_dirs(dir: &Path, owner: &User) -> io::Result<()> {
    if fs::metadata(dir).is_ok() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_dirs(parent, owner)?;
    }
    match fs::DirBuilder::new().mode(0o755).create(dir) {
        Ok(()) => std::os::unix::fs::chown(dir, Some(owner.uid), Some(owner.gid)),
        // Another upload was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a new, private file; one that a former agent left under this name goes.
fn create(aside: &Path) -> io::Result<File> {
    drop(fs::remove_file(aside));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Vec<Bytes> {
        (0..200_u8)
            .map(|n| Bytes::from(vec![n; usize::from(n)]))
            .collect()
    }

    #[test]
    fn a_whole_file_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        let mut incoming = Incoming::begin(&path, &User::me()).unwrap();
        incoming.write(&pieces()).unwrap();
        assert!(!path.exists());
        incoming.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), pieces().concat());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_broken_one_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        let mut incoming = Incoming::begin(&path, &User::me()).unwrap();
        incoming.write(&pieces()).unwrap();
        drop(incoming);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_are_followed_and_permissions_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let incoming = Incoming::begin(&link, &User::me()).unwrap();
        assert_eq!(incoming.finish().unwrap(), path);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o750);
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn directories_and_devices_are_refused() {
        assert!(matches!(
            Incoming::begin(Path::new("/"), &User::me()),
            Err(FileError::IsDirectory(_))
        ));
        assert!(matches!(
            Incoming::begin(Path::new("/tmp"), &User::me()),
            Err(FileError::IsDirectory(_))
        ));
        assert!(matches!(
            Incoming::begin(Path::new("/dev/null"), &User::me()),
            Err(FileError::NotRegular(_))
        ));
    }
}
