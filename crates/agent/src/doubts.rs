//! Generations that are read through before their turn: what was restored from one of them did not live, and it may be why.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wrenn_model::SandboxId;
use wrenn_snapshot::GenerationId;
use wrenn_sys::process::FileId;

/// How many may wait to be read.
const MOST: usize = 64;

/// What is in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// A pause of a sandbox.
    Pause {
        sandbox: SandboxId,
        which: GenerationId,
    },
    /// What sandboxes are made from, a snapshot or a boot image, that has this memory image.
    Shared(FileId),
}

/// What waits to be read, each once.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    waiting: Mutex<VecDeque<Doubt>>,
    raised: Notify,
}

impl Doubts {
    /// Where too many wait it is read in its turn.
    pub(crate) fn raise(&self, doubt: Doubt) {
        let mut waiting = self.lock();
        if waiting.contains(&doubt) {
            return;
        }
        if waiting.len() == MOST {
            tracing::warn!(?doubt, "too many generations are in doubt for this one");
            return;
        }
        tracing::info!(?doubt, "it is read next");
        waiting.push_back(doubt);
        self.raised.notify_one();
    }

    /// One that waits.
    pub(crate) fn take(&self) -> Option<Doubt> {
        self.lock().pop_front()
    }

    /// The next one, once there is one.
    pub(crate) async fn next(&self) -> Doubt {
        loop {
            if let Some(doubt) = self.take() {
                return doubt;
            }
            self.raised.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Doubt>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(ino: u64) -> Doubt {
        Doubt::Shared(FileId { dev: 1, ino })
    }

    #[tokio::test]
    async fn each_is_read_once_and_not_without_end() {
        let doubts = Doubts::default();
        let many = MOST as u64 + 3;
        (0..many).for_each(|ino| doubts.raise(shared(ino)));
        doubts.raise(shared(0));
        for ino in 0..MOST as u64 {
            assert_eq!(doubts.next().await, shared(ino));
        }
        assert_eq!(doubts.take(), None);
        // Whoever waits is told.
        let (next, ()) = tokio::join!(doubts.next(), async { doubts.raise(shared(7)) });
        assert_eq!(next, shared(7));
    }
}
