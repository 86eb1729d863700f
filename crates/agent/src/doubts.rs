//! Generations that are read through before their turn: what was restored from one of them did not live, and it may be why.

use tokio::sync::{Mutex, mpsc};
use wrenn_snapshot::{GenerationId, Generations};

/// How many may wait to be read.
const MOST: usize = 64;

/// One that is in doubt.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// Whose it is, for the log.
    pub(crate) whose: String,
    pub(crate) all: Generations,
    pub(crate) which: GenerationId,
}

/// Those that wait to be read.
#[derive(Debug)]
pub(crate) struct Doubts {
    tell: mpsc::Sender<Doubt>,
    told: Mutex<mpsc::Receiver<Doubt>>,
}

impl Default for Doubts {
    fn default() -> Self {
        let (tell, told) = mpsc::channel(MOST);
        let told = Mutex::new(told);
        Self { tell, told }
    }
}

impl Doubts {
    /// Where too many wait it is read in its turn.
    pub(crate) fn raise(&self, doubt: Doubt) {
        if self.tell.try_send(doubt).is_err() {
            tracing::debug!("too many generations are in doubt");
        }
    }

    /// The next one.
    pub(crate) async fn next(&self) -> Doubt {
        match self.told.lock().await.recv().await {
            Some(doubt) => doubt,
            // The sender lives in this value.
            None => std::future::pending().await,
        }
    }
}
