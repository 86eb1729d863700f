//! How many virtual machines boot, are restored or load their state at a time, counted where they do. Most have a turn for it
//! ([`crate::admission`]); what is made to stand ready, and what is taken from there, has none.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the most at a time is told at the least: twice that at the most.
const LATELY: Duration = Duration::from_secs(60);

/// All that are under way.
#[derive(Debug, Default)]
pub(crate) struct Starts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    now: usize,
    /// The most at a time since then, and in the time before.
    most: usize,
    most_before: usize,
    since: Option<Instant>,
}

/// One that is under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Start<'a>(&'a Starts);

impl Starts {
    /// One begins.
    pub(crate) fn begin(&self) -> Start<'_> {
        let mut inner = self.lock();
        inner.look(Instant::now());
        inner.now += 1;
        inner.most = inner.most.max(inner.now);
        Start(self)
    }

    /// How many are under way, and how many were at a time at the most in the last minute, or two.
    pub(crate) fn now_and_most(&self) -> (usize, usize) {
        let mut inner = self.lock();
        inner.look(Instant::now());
        (inner.now, inner.most.max(inner.most_before))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets what was too long ago.
    fn look(&mut self, at: Instant) {
        let since = *self.since.get_or_insert(at);
        let passed = at.saturating_duration_since(since);
        if passed < LATELY {
            return;
        }
        // Since the last look nothing has begun.
        self.most_before = if passed < 2 * LATELY {
            self.most
        } else {
            self.now
        };
        self.most = self.now;
        self.since = Some(at);
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.look(Instant::now());
        inner.now -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_at_a_time_is_told_after_they_have_ended() {
        let starts = Starts::default();
        let (one, two) = (starts.begin(), starts.begin());
        assert_eq!(starts.now_and_most(), (2, 2));
        drop(one);
        let three = starts.begin();
        drop((two, three));
        assert_eq!(starts.now_and_most(), (0, 2));
    }

    #[test]
    fn what_was_too_long_ago_is_forgotten() {
        let begun = Instant::now();
        let mut inner = Inner {
            now: 1,
            most: 5,
            most_before: 0,
            since: Some(begun),
        };
        let mut told = |after| {
            inner.look(begun + after);
            inner.most.max(inner.most_before)
        };
        assert_eq!(told(LATELY / 2), 5);
        assert_eq!(told(LATELY), 5);
        assert_eq!(told(LATELY * 3 / 2), 5);
        assert_eq!(told(LATELY * 2), 1);
        // Nobody looked for long.
        inner.most = 4;
        inner.look(begun + LATELY * 9);
        assert_eq!(inner.most.max(inner.most_before), 1);
    }
}
