//! The operations themselves, blocking.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use wrenn_envd_api::filesystem::EntryInfo;

use super::entry::info;
use crate::users::{Accounts, User};

/// How many entries one list holds.
const MAX_ENTRIES: usize = 100_000;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpError {
    #[error("{} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{} holds more than {MAX_ENTRIES} entries", .0.display())]
    TooMany(PathBuf),
    #[error("{}", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpError {
    let path = path.to_path_buf();
    move |error| OpError::Io(path, error)
}

/// What stands at `path`.
pub(super) fn stat(path: &Path, accounts: &Accounts) -> Result<EntryInfo, OpError> {
    info(path, accounts).map_err(io_error(path))
}

/// What stands below `path`, `depth` levels deep; each directory is followed by its content.
pub(super) fn list(
    path: &Path,
    depth: u32,
    accounts: &Accounts,
) -> Result<Vec<EntryInfo>, OpError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    if !metadata.is_dir() {
        return Err(OpError::NotDirectory(path.to_path_buf()));
    }
    let mut entries = Vec::new();
    // Directories still to read, with the levels left; the last is next.
    let mut names = sorted(path)?;
    let mut pending: Vec<(PathBuf, u32)> = names
        .drain(..)
        .rev()
        .map(|name| (name, depth.max(1)))
        .collect();
    while let Some((path, levels)) = pending.pop() {
        if entries.len() >= MAX_ENTRIES {
            return Err(OpError::TooMany(path));
        }
        // An entry that vanished meanwhile is not there.
        let Ok(entry) = info(&path, accounts) else {
            continue;
        };
        entries.push(entry);
        let descend =
            levels > 1 && fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if descend && let Ok(names) = sorted(&path) {
            pending.extend(names.into_iter().rev().map(|name| (name, levels - 1)));
        }
    }
    Ok(entries)
}

fn sorted(path: &Path) -> Result<Vec<PathBuf>, OpError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(io_error(path))? {
        if names.len() >= MAX_ENTRIES {
            return Err(OpError::TooMany(path.to_path_buf()));
        }
        names.push(entry.map_err(io_error(path))?.path());
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes a directory and those missing on the way to it, for `owner`.
pub(super) fn make_dir(path: &Path, owner: &User) -> Result<(), OpError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(OpError::Exists(path.to_path_buf())),
        Ok(_) => return Err(OpError::NotDirectory(path.to_path_buf())),
        Err(_) => {}
    }
    make_missing(path, owner).map_err(io_error(path))
}

fn make_missing(dir: &Path, owner: &User) -> io::Result<()> {
    if fs::metadata(dir).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_missing(parent, owner)?;
    }
    fs::DirBuilder::new().mode(0o755).create(dir)?;
    chown(dir, Some(owner.uid), Some(owner.gid))
}

/// Renames `source`, after making the directories on the way to `destination`.
pub(super) fn rename(source: &Path, destination: &Path, owner: &User) -> Result<(), OpError> {
    fs::symlink_metadata(source).map_err(io_error(source))?;
    if let Some(parent) = destination.parent() {
        make_missing(parent, owner).map_err(io_error(parent))?;
    }
    fs::rename(source, destination).map_err(io_error(destination))
}

/// Removes a file, or a directory with all below it. What is not there is removed already.
pub(super) fn remove(path: &Path) -> Result<(), OpError> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(io_error(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_to_a_depth_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b/c/d", "a"] {
            make_dir(&dir.path().join(path), &User::me()).unwrap();
        }
        fs::write(dir.path().join("b/f"), "").unwrap();
        let names = |depth| -> Vec<String> {
            let entries = list(dir.path(), depth, &Accounts::default()).unwrap();
            let relative = |path: &String| {
                Path::new(path)
                    .strip_prefix(dir.path())
                    .unwrap()
                    .display()
                    .to_string()
            };
            entries.iter().map(|entry| relative(&entry.path)).collect()
        };
        assert_eq!(names(0), ["a", "b"]);
        assert_eq!(names(1), ["a", "b"]);
        assert_eq!(names(2), ["a", "b", "b/c", "b/f"]);
        assert_eq!(names(9), ["a", "b", "b/c", "b/c/d", "b/f"]);
    }

    #[test]
    fn refuses_what_cannot_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            list(&file, 1, &Accounts::default()),
            Err(OpError::NotDirectory(_))
        ));
        assert!(matches!(
            make_dir(dir.path(), &User::me()),
            Err(OpError::Exists(_))
        ));
        assert!(matches!(
            make_dir(&file, &User::me()),
            Err(OpError::NotDirectory(_))
        ));
        assert!(matches!(
            rename(&dir.path().join("none"), &file, &User::me()),
            Err(OpError::Io(..))
        ));
    }

    #[test]
    fn moves_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("new/to"));
        fs::write(&from, "content").unwrap();
        rename(&from, &to, &User::me()).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"content");
        remove(&dir.path().join("new")).unwrap();
        remove(&dir.path().join("new")).unwrap();
        assert!(!to.exists());
    }
}
