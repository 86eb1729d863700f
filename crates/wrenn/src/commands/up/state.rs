//! The control plane's own folder in the data directory, `server`: its user may write there, and nowhere else.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use anyhow::Result;
use wrenn_sys::durable;

use crate::commands::server::plane::DATABASE;
use crate::report::Advised;

/// Makes it where it is missing, moves a database there that lies where it was kept formerly, and gives all of it to the
/// user, who was another one if the instance had another address range.
pub(super) fn prepare(data: &Path, uid: u32) -> Result<PathBuf> {
    let state = data.join("server");
    prepare_in(data, &state, uid).map_err(|error| {
        Advised::new(
            format!("the control plane's folder {} cannot be made", state.display()),
            "see that its file system is writable and has room, and that what is in it is in nobody's way",
        )
        .because(error)
    })?;
    Ok(state)
}

fn prepare_in(data: &Path, state: &Path, uid: u32) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)?;
    take_over(data, state, uid)?;
    for entry in fs::read_dir(state)? {
        give(&entry?.path(), uid)?;
    }
    fs::set_permissions(state, Permissions::from_mode(0o700))?;
    give(state, uid)
}

/// Follows no link, and writes nothing where nothing is to change.
fn give(path: &Path, uid: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if (meta.uid(), meta.gid()) == (uid, uid) {
        return Ok(());
    }
    lchown(path, Some(uid), Some(uid))
}

/// The database itself goes last: as long as it lies at the old place, what is beside it belongs to it.
fn take_over(data: &Path, state: &Path, uid: u32) -> io::Result<()> {
    let old = data.join(DATABASE);
    if !old.try_exists()? {
        return Ok(());
    }
    let new = state.join(DATABASE);
    if new.try_exists()? {
        let both = format!("{} is there, and {} too", old.display(), new.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, both));
    }
    let beside = fs::read_dir(data)?
        .map(|entry| Ok(entry?.file_name()))
        .filter(|name| name.as_ref().map_or(true, |name| is_beside(name)))
        .collect::<io::Result<Vec<_>>>()?;
    for name in beside.iter().map(OsStr::new).chain([OsStr::new(DATABASE)]) {
        let from = data.join(name);
        // Given away while it still lies where nobody can exchange it.
        give(&from, uid)?;
        fs::rename(&from, state.join(name))?;
        durable::sync_dir(state)?;
    }
    durable::sync_dir(data)?;
    tracing::info!(to = %state.display(), "the database has moved to the control plane's own folder");
    Ok(())
}

/// SQLite's log and its index.
fn is_beside(name: &OsStr) -> bool {
    let rest = name.as_bytes().strip_prefix(DATABASE.as_bytes());
    rest.is_some_and(|rest| rest.starts_with(b"-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: u32 = 1_234_567;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_database_moves_once_with_what_belongs_to_it() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["wrenn.db", "wrenn.db-wal", "wrenn.dbx", "journal"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        for _ in 0..2 {
            let state = prepare(dir.path(), UID).unwrap();
            assert_eq!(names(&state), ["wrenn.db", "wrenn.db-wal"]);
            let meta = fs::metadata(&state).unwrap();
            assert_eq!((meta.uid(), meta.mode() & 0o7777), (UID, 0o700));
            assert_eq!(fs::metadata(state.join("wrenn.db")).unwrap().uid(), UID);
        }
        assert_eq!(names(dir.path()), ["journal", "server", "wrenn.dbx"]);
        // Another user, because the instance has another range.
        let state = prepare(dir.path(), UID + 1).unwrap();
        assert_eq!(
            fs::metadata(state.join("wrenn.db-wal")).unwrap().uid(),
            UID + 1
        );
    }

    #[test]
    fn a_move_that_was_cut_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("server")).unwrap();
        fs::write(dir.path().join("server/wrenn.db-wal"), "log").unwrap();
        fs::write(dir.path().join("wrenn.db"), "database").unwrap();
        let state = prepare(dir.path(), UID).unwrap();
        assert_eq!(names(&state), ["wrenn.db", "wrenn.db-wal"]);
    }

    #[test]
    fn two_databases_are_not_chosen_between() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("wrenn.db"), "one").unwrap();
        prepare(dir.path(), UID).unwrap();
        fs::write(dir.path().join("wrenn.db"), "another").unwrap();
        let refused = prepare(dir.path(), UID).unwrap_err();
        assert!(format!("{refused:#}").contains("too"), "{refused:#}");
        assert_eq!(
            fs::read(dir.path().join("server/wrenn.db")).unwrap(),
            b"one"
        );
    }

    #[test]
    fn what_a_former_server_linked_there_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "root's").unwrap();
        fs::create_dir(dir.path().join("server")).unwrap();
        std::os::unix::fs::symlink(&secret, dir.path().join("server/wrenn.db-wal")).unwrap();
        prepare(dir.path(), UID).unwrap();
        assert_eq!(fs::metadata(&secret).unwrap().uid(), 0);
    }
}
