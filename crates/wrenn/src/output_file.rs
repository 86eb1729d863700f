//! Files that appear whole.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::fs::File;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner alone, also where there was a file that others could read.
    Owner,
    /// Whoever could read the one that was there; else whom the umask lets.
    AsBefore,
}

/// Lets `write` write a file at `path`. A regular file is written aside, synced and renamed, so that a writer that fails
/// leaves the old one, and a crash leaves either. A device or pipe is written straight to.
pub(crate) async fn replace<T>(
    path: &Path,
    readers: Readers,
    write: impl AsyncFnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    let old = tokio::fs::metadata(path).await.ok();
    let failed = || format!("{} cannot be written", path.display());
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        let opened = File::options().write(true).open(path).await;
        return write(&mut opened.with_context(failed)?).await;
    }
    // The file itself, where the path is a link to it.
    let target = tokio::fs::canonicalize(path)
        .await
        .unwrap_or_else(|_| path.to_owned());
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".wrenn-part");
    let aside = target.with_file_name(name);
    let written = async {
        let mut file = create(&aside, readers).await.with_context(failed)?;
        if let Some(old) = old
            && readers == Readers::AsBefore
        {
            let kept = file.set_permissions(old.permissions()).await;
            kept.with_context(failed)?;
        }
        let written = write(&mut file).await?;
        publish(file, &aside, &target).await.with_context(failed)?;
        Ok(written)
    }
    .await;
    if written.is_err() {
        // The error that led here is the one to tell.
        drop(tokio::fs::remove_file(&aside).await);
    }
    written
}

/// A new file of our own, whatever had its name: what others put there is neither written to nor followed.
async fn create(aside: &Path, readers: Readers) -> io::Result<File> {
    match tokio::fs::remove_file(aside).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::AsBefore => 0o666,
    };
    let mut options = File::options();
    options.write(true).create_new(true).mode(mode);
    options.open(aside).await
}

async fn publish(file: File, aside: &Path, target: &Path) -> io::Result<()> {
    file.sync_all().await?;
    tokio::fs::rename(aside, target).await?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    File::open(folder).await?.sync_all().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tokio::io::AsyncWriteExt;

    async fn write(path: &Path, readers: Readers, text: &str, fails: bool) -> Result<()> {
        replace(path, readers, async |file| {
            file.write_all(text.as_bytes()).await?;
            anyhow::ensure!(!fails, "told to");
            Ok(file.flush().await?)
        })
        .await
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_writer_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, Readers::Owner, "one", false).await.unwrap();
        write(&path, Readers::Owner, "two", true).await.unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(mode(&path), 0o600);
    }

    #[tokio::test]
    async fn what_is_its_owners_alone_is_so_also_in_the_place_of_what_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let kept = write(&path, Readers::AsBefore, "new", false).await;
        kept.unwrap();
        assert_eq!(mode(&path), 0o644);
        write(&path, Readers::Owner, "new", false).await.unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[tokio::test]
    async fn what_somebody_put_in_the_way_is_neither_followed_nor_kept() {
        let folder = tempfile::tempdir().unwrap();
        let [path, aside, other] =
            ["a", ".a.wrenn-part", "other"].map(|name| folder.path().join(name));
        std::fs::write(&other, "another's").unwrap();
        symlink(&other, &aside).unwrap();
        write(&path, Readers::Owner, "ours", false).await.unwrap();
        // One that another could read, and holds open.
        std::fs::write(&aside, "theirs").unwrap();
        let theirs = std::fs::File::open(&aside).unwrap();
        std::fs::set_permissions(&aside, PermissionsExt::from_mode(0o666)).unwrap();
        write(&path, Readers::Owner, "ours", false).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"ours");
        assert_eq!(std::io::read_to_string(theirs).unwrap(), "theirs");
        assert_eq!(std::fs::read(&other).unwrap(), b"another's");
    }
}
