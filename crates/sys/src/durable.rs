//! Files that survive a power cut: written aside, synced, renamed, and the directory synced.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces `path` with `contents` so that after a crash either the old or the new file is there, whole.
///
/// `mode` is the new file's permission bits.
pub fn write(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let aside = aside(path)?;
    let result = write_aside(&aside, contents, mode).and_then(|()| publish(&aside, path));
    if result.is_err() {
        // The error that led here is the one to tell.
        drop(fs::remove_file(&aside));
    }
    result
}

/// Renames `from` to `to`, both in one directory, and makes the rename durable. `from` must be synced already.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(parent(to))
}

/// Makes `to` a name of the file `from`, whatever it was a name of before; after a crash it is one or the other.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    let aside = aside(to)?;
    remove(&aside)?;
    fs::hard_link(from, &aside)?;
    publish(&aside, to)
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a file or a whole directory; one that is not there is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write_aside(aside: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(aside)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// The name that a file has until it is whole: hidden, in the same directory.
fn aside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a name"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    Ok(parent(path).join(hidden))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_write_replaces_the_file_and_leaves_nothing_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, b"old", 0o644).unwrap();
        write(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dir");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inner"), b"kept").unwrap();
        assert!(write(&path, b"new", 0o600).is_err());
        assert_eq!(fs::read(path.join("inner")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_replaces_what_had_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let [image, name] = ["image", "name"].map(|name| dir.path().join(name));
        write(&image, b"image", 0o444).unwrap();
        write(&name, b"another", 0o444).unwrap();
        for _ in 0..2 {
            link(&image, &name).unwrap();
            assert_eq!(fs::read(&name).unwrap(), b"image");
            fs::remove_file(&name).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("absent")).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        remove(&dir.path().join("a")).unwrap();
        assert!(!dir.path().join("a").exists());
    }
}
