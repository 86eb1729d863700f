//! What the log is told of a collector that does not take traces: that, and why, now and then, and when it is over.

use std::time::Duration;

use tokio::time::Instant;
use wrenn_model::chain;

use super::endpoint::Endpoint;

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// What went wrong since it was last told.
#[derive(Debug)]
pub(super) struct Trouble {
    endpoint: Endpoint,
    told: Option<Instant>,
    /// The last ones were not taken.
    now: bool,
    lost: u64,
}

impl Trouble {
    pub(super) fn with(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            told: None,
            now: false,
            lost: 0,
        }
    }

    /// Spans were not taken. They may be yet.
    pub(super) fn met(&mut self, error: &dyn std::error::Error) {
        self.now = true;
        if self.is_due() {
            let lost = std::mem::take(&mut self.lost);
            tracing::warn!(endpoint = %self.endpoint, lost, error = chain(error), "the collector does not take traces");
        }
    }

    /// So many spans are given up, or found no room.
    pub(super) fn lost(&mut self, spans: u64) {
        self.lost += spans;
        if !self.now && self.lost > 0 && self.is_due() {
            let lost = std::mem::take(&mut self.lost);
            tracing::warn!(endpoint = %self.endpoint, lost, "there are more traces than the collector takes");
        }
    }

    /// Spans were taken.
    pub(super) fn passed(&mut self) {
        if std::mem::take(&mut self.now) {
            let lost = std::mem::take(&mut self.lost);
            tracing::info!(endpoint = %self.endpoint, lost, "the collector takes traces again");
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.told.is_none_or(|told| told.elapsed() >= EVERY);
        if due {
            self.told = Some(Instant::now());
        }
        due
    }
}
