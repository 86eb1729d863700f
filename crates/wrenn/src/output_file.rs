//! Files that appear whole.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::fs::File;

/// Lets `write` write a file at `path`. A regular file is written aside and renamed, so that a writer that fails leaves the
/// old one; a new one gets `mode`, less the umask. A device or pipe is written straight to.
pub(crate) async fn replace<T>(
    path: &Path,
    mode: u32,
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
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.open(&aside).await.with_context(failed)?;
        if let Some(old) = old {
            let kept = file.set_permissions(old.permissions()).await;
            kept.with_context(failed)?;
        }
        let written = write(&mut file).await?;
        let renamed = tokio::fs::rename(&aside, &target).await;
        renamed.with_context(failed)?;
        Ok(written)
    }
    .await;
    if written.is_err() {
        // The error that led here is the one to tell.
        drop(tokio::fs::remove_file(&aside).await);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn a_writer_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let write = async |text: &str, fails: bool| {
            replace(&path, 0o600, async |file| {
                file.write_all(text.as_bytes()).await?;
                anyhow::ensure!(!fails, "told to");
                Ok(file.flush().await?)
            })
            .await
        };
        write("one", false).await.unwrap();
        write("two", true).await.unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
