//! Slow results by the content of what they were made from.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder::{Lock, Staged};
use crate::progress::Progress;

/// A directory of results that may be deleted at any time and is then made anew. Several data directories share one.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// What the cache has under a key.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The finished folder.
    Ready(PathBuf),
    /// Nothing: the caller makes it.
    Absent(Slot),
}

/// The right to make the result of one key, and the folder to make it in.
#[derive(Debug)]
pub(crate) struct Slot {
    key: String,
    staged: Staged,
}

impl Cache {
    /// Where the cache of a machine is.
    pub const DEFAULT: &str = "/var/cache/wrenn";

    /// The cache in this directory, made when first used.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache that `WRENN_CACHE` names, or [`Cache::DEFAULT`].
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(std::env::var_os("WRENN_CACHE").unwrap_or_else(|| Self::DEFAULT.into()))
    }

    /// Looks a key up. Where it is absent, or `refresh` wants it anew, the caller gets the right to make it; another
    /// process that makes something of this kind is waited for first.
    pub(crate) async fn claim(
        &self,
        kind: &str,
        key: &str,
        refresh: bool,
        progress: &dyn Progress,
    ) -> Result<Claim> {
        let parent = self.root.join(kind);
        let finished = parent.join(key);
        if !refresh && finished.is_dir() {
            return Ok(Claim::Ready(finished));
        }
        let lock = Lock::acquire(&parent, progress)
            .await
            .map_err(Error::io("lock", &parent))?;
        // It may have been made while this one waited.
        if !refresh && finished.is_dir() {
            return Ok(Claim::Ready(finished));
        }
        let staged = lock.stage().map_err(Error::io("write in", &parent))?;
        Ok(Claim::Absent(Slot {
            key: key.to_owned(),
            staged,
        }))
    }
}

impl Slot {
    /// The folder to make the result in.
    pub(crate) fn path(&self) -> &Path {
        self.staged.path()
    }

    /// Publishes what was built, or removes it when the build failed.
    pub(crate) async fn settle(self, built: Result<()>) -> Result<PathBuf> {
        tokio::task::spawn_blocking(move || self.staged.settle(&self.key, built)).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;

    async fn claim(cache: &Cache, refresh: bool) -> Claim {
        cache.claim("kind", "key", refresh, &Silent).await.unwrap()
    }

    fn absent(claim: Claim) -> Slot {
        match claim {
            Claim::Absent(slot) => slot,
            Claim::Ready(path) => panic!("{} is there already", path.display()),
        }
    }

    #[tokio::test]
    async fn a_result_is_made_once_and_anew_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let slot = absent(claim(&cache, false).await);
        std::fs::write(slot.path().join("result"), "first").unwrap();
        slot.settle(Ok(())).await.unwrap();
        let Claim::Ready(path) = claim(&cache, false).await else {
            panic!("it was made");
        };
        assert_eq!(std::fs::read(path.join("result")).unwrap(), b"first");
        let slot = absent(claim(&cache, true).await);
        // Until the new one is there, the old one serves.
        assert!(matches!(claim(&cache, false).await, Claim::Ready(_)));
        slot.settle(Ok(())).await.unwrap();
        assert!(!path.join("result").exists());
    }

    #[tokio::test]
    async fn a_build_that_fails_leaves_nothing_and_the_next_one_works() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let slot = absent(claim(&cache, false).await);
        let making = slot.path().to_owned();
        std::fs::write(making.join("half"), "half").unwrap();
        let failed = Error::NoArchive { suite: "x".into() };
        slot.settle(Err(failed)).await.unwrap_err();
        assert!(!making.exists());
        absent(claim(&cache, false).await)
            .settle(Ok(()))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_build_that_is_broken_off_is_swept_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let making = {
            let slot = absent(claim(&cache, false).await);
            std::fs::write(slot.path().join("half"), "half").unwrap();
            slot.path().to_owned()
        };
        assert!(making.exists());
        let slot = absent(claim(&cache, false).await);
        assert!(!making.exists());
        drop(slot);
    }
}
