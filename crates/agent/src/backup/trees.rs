//! Folders that others rename, exchange and remove, opened as they are at one moment.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{BackupError, failed};

/// How often a folder that is replaced meanwhile is looked at.
const LOOKS: u32 = 10;

/// Something that goes into a backup, under its name there.
#[derive(Debug)]
pub(super) enum Item {
    Folder(String, Metadata),
    File(String, File),
}

/// Opens all that a folder has, hidden names left out. False, and nothing, when there is no such folder.
///
/// # Errors
/// [`BackupError::Restless`] when another one takes its place again and again.
pub(super) fn open(folder: &Path, name: &str, items: &mut Vec<Item>) -> Result<bool, BackupError> {
    for _ in 0..LOOKS {
        let mut found = Vec::new();
        match open_once(folder, name, &mut found) {
            Ok(true) => {
                items.append(&mut found);
                return Ok(true);
            }
            Ok(false) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(failed("a folder of the store cannot be read")(error)),
        }
        if !folder.exists() {
            return Ok(false);
        }
    }
    Err(BackupError::Restless {
        what: folder.to_owned(),
    })
}

/// Opens a folder whose folders come and go one by one, each of them as [`open`] does. Nothing when there is no such folder.
///
/// # Errors
/// As [`open`].
pub(super) fn open_each(
    folder: &Path,
    name: &str,
    items: &mut Vec<Item>,
) -> Result<(), BackupError> {
    let failed = failed("a folder of the store cannot be read");
    let names = match fs::read_dir(folder) {
        Err(error) if is_absent(&error) => return Ok(()),
        entries => entries.and_then(|entries| {
            let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name());
            entries.map(name).collect::<io::Result<Vec<_>>>()
        }),
    };
    let meta = fs::metadata(folder).map_err(&failed)?;
    items.push(Item::Folder(name.to_owned(), meta));
    let mut names = names.map_err(&failed)?;
    names.sort();
    for own in names.iter().filter_map(|own| own.to_str()) {
        let (path, name) = (folder.join(own), format!("{name}/{own}"));
        if own.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            open(&path, &name, items)?;
        } else {
            open_file(&path, &name, items).map_err(&failed)?;
        }
    }
    Ok(())
}

/// False when it was not the same folder from beginning to end: before one is removed it loses its name.
fn open_once(folder: &Path, name: &str, found: &mut Vec<Item>) -> io::Result<bool> {
    let pinned = File::open(folder)?;
    // The same folder, whatever its name is by now.
    let here = PathBuf::from(format!("/proc/self/fd/{}", pinned.as_raw_fd()));
    open_below(&here, name, found)?;
    let identity = |meta: Metadata| (meta.dev(), meta.ino());
    Ok(identity(fs::symlink_metadata(folder)?) == identity(pinned.metadata()?))
}

fn open_below(folder: &Path, name: &str, found: &mut Vec<Item>) -> io::Result<()> {
    found.push(Item::Folder(name.to_owned(), fs::metadata(folder)?));
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let own = entry.file_name();
        let own = own.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        if own.starts_with('.') {
            continue;
        }
        let (path, name) = (folder.join(own), format!("{name}/{own}"));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_below(&path, &name, found)?;
        } else if kind.is_file() {
            found.push(Item::File(name, File::open(path)?));
        }
    }
    Ok(())
}

/// Opens a file, if it is there.
pub(super) fn open_file(path: &Path, name: &str, items: &mut Vec<Item>) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => {
            items.push(Item::File(name.to_owned(), file));
            Ok(true)
        }
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(items: &[Item]) -> Vec<&str> {
        let name = |item: &'_ Item| match item {
            Item::Folder(name, _) | Item::File(name, _) => name.clone(),
        };
        items.iter().map(|item| &*name(item).leak()).collect()
    }

    #[test]
    fn a_folder_is_opened_with_all_that_is_whole_in_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/sub")).unwrap();
        for file in ["a/sub/x", "a/b", "a/.being-made"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        let mut items = Vec::new();
        assert!(open(&dir.path().join("a"), "data/a", &mut items).unwrap());
        assert_eq!(
            names(&items),
            ["data/a", "data/a/b", "data/a/sub", "data/a/sub/x"]
        );
        // What was opened is there, whatever becomes of its name.
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        let Item::File(_, file) = &items[1] else {
            panic!("another kind")
        };
        assert_eq!(io::read_to_string(file).unwrap(), "a/b");
        assert!(!open(&dir.path().join("a"), "data/a", &mut items).unwrap());
        assert_eq!(items.len(), 4);
    }

    #[test]
    fn a_folder_is_opened_child_by_child() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("one/sub")).unwrap();
        fs::create_dir(root.join(".being-made")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let mut items = Vec::new();
        open_each(&root, "data/x", &mut items).unwrap();
        open_each(&dir.path().join("absent"), "data/y", &mut items).unwrap();
        assert_eq!(
            names(&items),
            ["data/x", "data/x/file", "data/x/one", "data/x/one/sub"]
        );
    }

    #[test]
    fn a_folder_that_is_exchanged_all_the_time_is_of_one_moment() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("it");
        let make = |generation: u32| {
            let aside = dir.path().join(format!("aside-{generation}"));
            fs::create_dir(&aside).unwrap();
            for file in ["a", "b", "c"] {
                fs::write(aside.join(file), generation.to_string()).unwrap();
            }
            aside
        };
        fs::rename(make(0), &folder).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for generation in 1..=300 {
                    let aside = make(generation);
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let cwd = rustix::fs::CWD;
                    rustix::fs::renameat_with(cwd, &aside, cwd, &folder, flags).unwrap();
                    fs::remove_dir_all(&aside).unwrap();
                }
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let mut items = Vec::new();
                match open(&folder, "data/it", &mut items) {
                    Ok(found) => assert!(found),
                    Err(BackupError::Restless { .. }) => continue,
                    Err(error) => panic!("{error}"),
                }
                let read = |item: &Item| match item {
                    Item::File(_, file) => Some(io::read_to_string(file).unwrap()),
                    Item::Folder(..) => None,
                };
                let texts: Vec<_> = items.iter().filter_map(read).collect();
                assert_eq!(texts.len(), 3);
                assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
            }
        });
    }
}
