//! Reads what lies on disk and compares it with its sums, slowly, so that damage is known before somebody needs it.

use std::path::Path;
use std::time::{Duration, Instant};

use wrenn_snapshot::{GenerationId, Generations};
use wrenn_sys::durable;

use crate::Agent;
use crate::doubts::Doubt;
use crate::library::Library;
use crate::steps::blocking;
use crate::time::now_ms;
use wrenn_model::{SandboxId, chain};

/// How long it rests after a round, however often the agent is started meanwhile.
const PAUSE_BETWEEN: Duration = Duration::from_secs(6 * 3600);
/// The file in the data directory that says when the last round ended, in milliseconds since 1970.
const LAST_ROUND: &str = "scrubbed";
/// How long after a start base images are summed up. An agent that is only started to take everything down reads nothing.
const SUM_AFTER: Duration = Duration::from_secs(3);
/// The part of the time that it reads: one in so many.
const IDLE_PARTS: u32 = 9;
/// The longest rest between two pieces, on a host that is too busy to read: an agent that ends waits for it.
const LONGEST_REST: Duration = Duration::from_secs(1);

impl Agent {
    /// Reads every generation of this host in turn, again and again, until the agent ends.
    pub(crate) async fn scrub(&self) {
        if self.closes_within(SUM_AFTER).await {
            return;
        }
        self.sum_templates().await;
        self.recovered().await;
        let mut ended = match last_round(&self.host.data.path().join(LAST_ROUND)) {
            Some(ended) => ended,
            // The first round is that long after the first start, too.
            None => self.round_ended().await,
        };
        loop {
            tokio::select! {
                closes = self.closes_within(until_due(ended, now_ms())) => if closes {
                    return;
                },
                doubt = self.host.doubts.next() => {
                    self.scrub_doubt(doubt).await;
                    continue;
                }
            }
            self.scrub_round().await;
            if self.closing.is_cancelled() {
                return;
            }
            ended = self.round_ended().await;
        }
    }

    /// Reads what is in doubt.
    async fn scrub_doubt(&self, doubt: Doubt) {
        let memory = match doubt {
            Doubt::Pause { sandbox, which } => return self.scrub_pause(&sandbox, which).await,
            Doubt::Shared(memory) => memory,
        };
        for library in self.libraries() {
            let looked = library.clone();
            let found = blocking(move || looked.name_of(memory)).await;
            if let Ok(Some(name)) = found {
                self.scrub_one(&name, library.generations(&name), None)
                    .await;
            }
        }
    }

    /// Where what sandboxes are made from is kept.
    fn libraries(&self) -> [Library; 2] {
        let images = &self.host.boot_images.library;
        [self.host.snapshots.clone(), images.clone()]
    }

    /// Writes down that a round has ended, and says when. Where that fails, the next start begins one sooner.
    async fn round_ended(&self) -> i64 {
        let (path, now) = (self.host.data.path().join(LAST_ROUND), now_ms());
        let text = format!("{now}\n");
        let written = blocking(move || durable::write(&path, text.as_bytes(), 0o600));
        if let Err(error) = written.await {
            tracing::warn!(%error, "when a round of scrubbing ended cannot be written down");
        }
        now
    }

    /// Reads every generation once: pauses, snapshots, boot images.
    async fn scrub_round(&self) {
        let began = Instant::now();
        for handle in self.table.all() {
            self.scrub_one_in_doubt().await;
            if let Some(pause) = handle.view().pause {
                self.scrub_pause(&handle.spec.id, pause.generation).await;
            }
        }
        for library in self.libraries() {
            let listed = library.clone();
            let names = blocking(move || listed.names()).await.unwrap_or_default();
            for name in names {
                self.scrub_one_in_doubt().await;
                self.scrub_one(&name, library.generations(&name), None)
                    .await;
            }
        }
        tracing::debug!(took = ?began.elapsed(), "scrubbed");
    }

    /// What is in doubt waits for no round, and no round for all that is.
    async fn scrub_one_in_doubt(&self) {
        if let Some(doubt) = self.host.doubts.take() {
            self.scrub_doubt(doubt).await;
        }
    }

    /// Reads one of a sandbox's own.
    async fn scrub_pause(&self, sandbox: &SandboxId, which: GenerationId) {
        let folder = self.host.sandboxes().join(sandbox.as_str());
        self.scrub_one(sandbox.as_str(), Generations::of(&folder), Some(which))
            .await;
    }

    /// Reads one of these, or the newest.
    async fn scrub_one(&self, whose: &str, all: Generations, which: Option<GenerationId>) {
        let closing = self.closing.clone();
        let read = tokio::task::spawn_blocking(move || {
            let rest = Rest::default();
            let stop = || {
                rest.now();
                closing.is_cancelled()
            };
            let which = match which {
                None => all.current()?.map(|newest| newest.id()),
                which => which,
            };
            match which {
                Some(id) => all.examine(id, |one| one.verify(&stop)).map(drop),
                None => Ok(()),
            }
        });
        match read.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.is_damage() => {
                tracing::error!(whose, error = chain(&error), "a generation is damaged");
            }
            // It may have been replaced by a newer one meanwhile.
            Ok(Err(error)) => tracing::debug!(whose, error = chain(&error), "not scrubbed"),
            Err(error) => tracing::error!(%error, "scrubbing panicked"),
        }
    }

    async fn closes_within(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.closing.cancelled())
            .await
            .is_ok()
    }

    /// Sums up the base images ahead of the first pause, which would do it otherwise.
    async fn sum_templates(&self) {
        for template in self.templates().await.unwrap_or_default() {
            if let Err(error) = self.host.base_root(&template.image).await {
                tracing::warn!(image = %template.image.display(), %error, "a base image cannot be read");
            }
        }
    }
}

/// When the last round ended; none where that is not known.
fn last_round(path: &Path) -> Option<i64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// How long it rests yet. A clock that was set back makes it rest no longer than after any other round.
fn until_due(ended_ms: i64, now_ms: i64) -> Duration {
    let rested = u64::try_from(now_ms.saturating_sub(ended_ms)).unwrap_or_default();
    PAUSE_BETWEEN.saturating_sub(Duration::from_millis(rested))
}

/// Sleeps in proportion to the time that has been worked.
#[derive(Debug)]
struct Rest(std::cell::Cell<Instant>);

impl Default for Rest {
    fn default() -> Self {
        Self(std::cell::Cell::new(Instant::now()))
    }
}

impl Rest {
    fn now(&self) {
        let rest = self.0.get().elapsed() * IDLE_PARTS;
        std::thread::sleep(rest.min(LONGEST_REST));
        self.0.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_put_no_round_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LAST_ROUND);
        assert_eq!(last_round(&path), None);
        let (ended, hour) = (1_700_000_000_000, 3_600_000);
        std::fs::write(&path, format!("{ended}\n")).unwrap();
        assert_eq!(last_round(&path), Some(ended));
        assert_eq!(until_due(ended, ended), PAUSE_BETWEEN);
        assert_eq!(
            until_due(ended, ended + 5 * hour),
            Duration::from_secs(3600)
        );
        for late in [6, 7, 1_000_000] {
            assert_eq!(until_due(ended, ended + late * hour), Duration::ZERO);
        }
        assert_eq!(until_due(ended, ended - hour), PAUSE_BETWEEN);
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(last_round(&path), None);
    }
}
