//! Keeps the whole of an output stream in a file when it outgrows what the caller will keep of it.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::users::User;

/// How much waits in memory before the file is begun.
const IN_MEMORY: usize = 64 << 10;

/// One stream's file, which stays only if the stream becomes longer than `after` bytes.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    owner: (u32, u32),
    after: u64,
    seen: u64,
    held: Vec<u8>,
    file: Option<File>,
    failed: Option<io::Error>,
}

impl Spool {
    /// A spool for one stream of a command that `owner` runs; nothing is written yet.
    pub(crate) fn new(path: PathBuf, after: u64, owner: &User) -> Self {
        let owner = (owner.uid, owner.gid);
        Self {
            path,
            owner,
            after,
            seen: 0,
            held: Vec::new(),
            file: None,
            failed: None,
        }
    }

    /// Takes the next piece of the stream. A failure is kept for [`finish`](Self::finish): the command goes on.
    pub(crate) async fn take(&mut self, data: &[u8]) {
        self.seen = self.seen.saturating_add(data.len() as u64);
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.keep(data).await {
            self.failed = Some(error);
            self.discard().await;
        }
    }

    /// Ends the stream: the file is whole, or there is none.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        if self.seen <= self.after {
            self.discard().await;
            return Ok(());
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let result = self.flush().await;
        if result.is_err() {
            self.discard().await;
        }
        result
    }

    async fn keep(&mut self, data: &[u8]) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            return file.write_all(data).await;
        }
        self.held.extend_from_slice(data);
        if self.held.len() >= IN_MEMORY {
            self.begin().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.begin().await?;
        }
        match &mut self.file {
            Some(file) => file.flush().await,
            None => Ok(()),
        }
    }

    /// Makes the file and writes what was held. A file that stood there goes: the name belongs to this command.
    async fn begin(&mut self) -> io::Result<()> {
        remove(&self.path).await?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
            .await?;
        let file = self.file.insert(file);
        let held = std::mem::take(&mut self.held);
        let (uid, gid) = self.owner;
        rustix::fs::fchown(
            &*file,
            Some(rustix::fs::Uid::from_raw(uid)),
            Some(rustix::fs::Gid::from_raw(gid)),
        )?;
        file.write_all(&held).await
    }

    async fn discard(&mut self) {
        self.held = Vec::new();
        if self.file.take().is_some() {
            // Nothing better can be done about a file that cannot be removed.
            drop(remove(&self.path).await);
        }
    }
}

async fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_stream_that_outgrows_the_limit_leaves_a_file() {
        let dir = tempfile::tempdir().unwrap();
        for (after, length, stays) in [
            (10, 10, false),
            (10, 11, true),
            (100_000, 100_000, false),
            (100_000, 100_001, true),
            (0, 0, false),
            (10, 200_000, true),
        ] {
            let path = dir.path().join("stream");
            let mut spool = Spool::new(path.clone(), after, &User::me());
            let data: Vec<u8> = (0..=255).cycle().take(length).collect();
            for piece in data.chunks(7_000) {
                spool.take(piece).await;
            }
            spool.finish().await.unwrap();
            assert_eq!(path.exists(), stays, "{length} after {after}");
            if stays {
                assert_eq!(std::fs::read(&path).unwrap(), data);
                std::fs::remove_file(&path).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_at_the_end() {
        let mut spool = Spool::new(PathBuf::from("/proc/none/stream"), 10, &User::me());
        spool.take(&[0; 11]).await;
        assert!(spool.finish().await.is_err());
    }
}
