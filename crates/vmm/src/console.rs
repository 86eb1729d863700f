//! What the guest wrote to its console: the last of it, whatever happens to the VMM or to us.
//!
//! A VMM holds back what nobody has fetched, and no more than it has room for. We fetch it often, keep the end in memory for
//! callers, and in a file for the agent that comes after us.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use crate::Error;

/// What is kept of it. A power of two.
pub(crate) const CONSOLE_BYTES: usize = 64 << 10;
/// In the VM's folder.
pub(crate) const NAME: &str = "console.log";
/// The file is cut to its end when it has grown to this.
const LONGEST_FILE: u64 = 4 * CONSOLE_BYTES as u64;
/// How much of its end is looked at for the last words, in bytes.
const END: usize = 256;
/// What the kernel says first when it gives up.
const PANIC: &[u8] = b"Kernel panic - not syncing";
/// How far from the end that may be: a stack trace follows.
const PANIC_WITHIN: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Console {
    file: PathBuf,
    kept: Mutex<VecDeque<u8>>,
}

impl Console {
    /// With what an earlier agent left in the VM's folder.
    pub(crate) async fn open(dir: &Path) -> Self {
        let file = dir.join(NAME);
        let earlier = tokio::fs::read(&file).await.unwrap_or_default();
        let mut kept = VecDeque::with_capacity(CONSOLE_BYTES);
        keep(&mut kept, &earlier);
        let kept = Mutex::new(kept);
        Self { file, kept }
    }

    /// The same in the VM's folder by the name that it has now; `None` while it is read.
    pub(crate) fn moved(&self, dir: &Path) -> Option<Self> {
        let kept = self.kept.try_lock().ok()?.clone();
        Some(Self {
            file: dir.join(NAME),
            kept: Mutex::new(kept),
        })
    }

    /// Takes in what is new, which `fetch` brings.
    pub(crate) async fn refresh(
        &self,
        fetch: impl Future<Output = Result<Vec<u8>, Error>>,
    ) -> Result<(), Error> {
        // Held over the question: what is read first is kept first.
        let mut kept = self.kept.lock().await;
        let new = fetch.await?;
        if new.is_empty() {
            return Ok(());
        }
        keep(&mut kept, &new);
        if let Err(error) = self.store(&new, &kept).await {
            tracing::debug!(%error, file = %self.file.display(), "a console was not stored");
        }
        Ok(())
    }

    /// Appends to the file, which stays bounded.
    async fn store(&self, new: &[u8], kept: &VecDeque<u8>) -> io::Result<()> {
        let mut options = tokio::fs::OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        let mut file = options.open(&self.file).await?;
        if file.metadata().await?.len() + new.len() as u64 > LONGEST_FILE {
            file.set_len(0).await?;
            let (first, second) = kept.as_slices();
            file.write_all(first).await?;
            file.write_all(second).await?;
        } else {
            file.write_all(new).await?;
        }
        file.flush().await
    }

    /// The end of it, at most [`CONSOLE_BYTES`].
    pub(crate) async fn bytes(&self) -> Vec<u8> {
        self.kept.lock().await.iter().copied().collect()
    }

    /// Whether the guest's kernel gave up as the last thing it did.
    pub(crate) async fn shows_panic(&self) -> bool {
        shows_panic(&self.bytes().await)
    }

    /// Whether one of these is the last that it says.
    pub(crate) async fn ends_with(&self, words: &[&[u8]]) -> bool {
        let kept = self.kept.lock().await;
        let end = kept.iter().skip(kept.len().saturating_sub(END));
        let end: Vec<u8> = end.copied().collect();
        let said = end.trim_ascii_end();
        words.iter().any(|word| said.ends_with(word))
    }
}

fn keep(kept: &mut VecDeque<u8>, new: &[u8]) {
    let new = &new[new.len().saturating_sub(CONSOLE_BYTES)..];
    let over = (kept.len() + new.len()).saturating_sub(CONSOLE_BYTES);
    kept.drain(..over);
    kept.extend(new);
}

fn shows_panic(console: &[u8]) -> bool {
    let end = &console[console.len().saturating_sub(PANIC_WITHIN)..];
    end.windows(PANIC.len()).any(|window| window == PANIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut kept = VecDeque::new();
        keep(&mut kept, b"beginning");
        keep(&mut kept, &vec![b'x'; CONSOLE_BYTES - 3]);
        keep(&mut kept, b"end");
        assert_eq!(kept.len(), CONSOLE_BYTES);
        assert_eq!(
            kept.iter().rev().take(4).copied().collect::<Vec<_>>(),
            b"dnex"
        );
        keep(&mut kept, &vec![b'y'; 3 * CONSOLE_BYTES]);
        assert!(kept.len() == CONSOLE_BYTES && kept.iter().all(|byte| *byte == b'y'));
    }

    #[tokio::test]
    async fn the_file_is_bounded_and_serves_the_next_agent() {
        let dir = tempfile::tempdir().unwrap();
        let console = Console::open(dir.path()).await;
        for round in 0..20 {
            let new = vec![b'a' + round; CONSOLE_BYTES / 2];
            let mut kept = console.kept.lock().await;
            keep(&mut kept, &new);
            console.store(&new, &kept).await.unwrap();
        }
        let size = std::fs::metadata(dir.path().join(NAME)).unwrap().len();
        assert!(size <= LONGEST_FILE, "{size}");
        let next = Console::open(dir.path()).await;
        assert_eq!(next.bytes().await, console.bytes().await);
    }

    #[tokio::test]
    async fn last_words_are_what_stands_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let console = Console::open(dir.path()).await;
        let says = async |what: &[u8]| {
            let new = async { Ok(what.to_vec()) };
            console.refresh(new).await.unwrap();
            console.ends_with(&[b"one", b"the other"]).await
        };
        assert!(!says(&[b'.'; 4000]).await);
        assert!(says(b"the other\r\n").await);
        assert!(!says(b"and more\n").await);
        assert!(says(b"one").await);
    }

    #[test]
    fn a_panic_shows_only_at_the_end() {
        let panic = [PANIC, b": Attempted to kill init!\n", &[b'.'; 4000]].concat();
        assert!(shows_panic(&panic));
        assert!(!shows_panic(
            &[panic.as_slice(), &[b'.'; PANIC_WITHIN]].concat()
        ));
        assert!(!shows_panic(b"reboot: Power down\n"));
    }
}
