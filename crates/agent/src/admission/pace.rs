//! How long something takes lately: what is told to those who are to come back.

use std::time::Duration;

/// A mean in which each new sample counts a quarter.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Duration>);

impl Pace {
    /// One more took this long.
    pub(super) fn note(&mut self, took: Duration) {
        self.0 = Some(self.0.map_or(took, |mean| (mean * 3 + took) / 4));
    }

    /// The mean, or `unknown` before the first sample.
    pub(super) fn mean(&self, unknown: Duration) -> Duration {
        self.0.unwrap_or(unknown)
    }
}

/// Whole seconds to wait: at least one, at most `most`.
pub(super) fn seconds(wait: Duration, most: u32) -> u32 {
    let up = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(up).unwrap_or(most).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_happens() {
        let mut pace = Pace::default();
        assert_eq!(pace.mean(Duration::from_secs(9)), Duration::from_secs(9));
        pace.note(Duration::from_secs(4));
        assert_eq!(pace.mean(Duration::ZERO), Duration::from_secs(4));
        pace.note(Duration::from_secs(8));
        assert_eq!(pace.mean(Duration::ZERO), Duration::from_secs(5));
    }

    #[test]
    fn a_wait_is_whole_seconds_within_bounds() {
        assert_eq!(seconds(Duration::ZERO, 60), 1);
        assert_eq!(seconds(Duration::from_millis(1001), 60), 2);
        assert_eq!(seconds(Duration::from_secs(3600), 60), 60);
    }
}
