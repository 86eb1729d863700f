//! Reads what lies on disk and compares it with its sums, slowly, so that damage is known before somebody needs it.

use std::time::{Duration, Instant};

use wrenn_snapshot::Generations;

use crate::Agent;
use wrenn_model::chain;

/// How long after a start, and after each round, it rests.
const PAUSE_BETWEEN: Duration = Duration::from_secs(6 * 3600);
/// How long after a start base images are summed up. An agent that is only started to take everything down reads nothing.
const SUM_AFTER: Duration = Duration::from_secs(3);
/// The part of the time that it reads: one in so many.
const IDLE_PARTS: u32 = 9;

impl Agent {
    /// Reads every generation of this host in turn, until the agent ends.
    pub(crate) async fn scrub(&self) {
        if self.closes_within(SUM_AFTER).await {
            return;
        }
        self.sum_templates().await;
        while !self.closes_within(PAUSE_BETWEEN).await {
            for handle in self.table.all() {
                let Some(pause) = handle.view().pause else {
                    continue;
                };
                let folder = self.host.sandboxes().join(handle.spec.id.as_str());
                let closing = self.closing.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let rest = Rest::default();
                    let generation = Generations::of(&folder).open(pause.generation)?;
                    generation.verify(&move || {
                        rest.now();
                        closing.is_cancelled()
                    })
                });
                match read.await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) if error.is_damage() => {
                        tracing::error!(id = %handle.spec.id, error = chain(&error), "a generation is damaged");
                    }
                    // It may have been replaced by a newer one meanwhile.
                    Ok(Err(error)) => {
                        tracing::debug!(id = %handle.spec.id, error = chain(&error), "not scrubbed");
                    }
                    Err(error) => tracing::error!(%error, "scrubbing panicked"),
                }
            }
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
        std::thread::sleep(self.0.get().elapsed() * IDLE_PARTS);
        self.0.set(Instant::now());
    }
}
