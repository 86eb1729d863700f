//! How often something was asked for in the last minute: so many of it are likely to be asked for in the next.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back it counts.
const LATELY: Duration = Duration::from_secs(60);
/// What is counted at the most: what stands ready for it takes from what others may have.
const MOST: usize = 4;

/// When it was asked for, the latest times.
#[derive(Debug, Default)]
pub(crate) struct Lately(VecDeque<Instant>);

impl Lately {
    /// It is asked for.
    pub(crate) fn note(&mut self) {
        self.0.push_back(Instant::now());
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// How often it was.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().filter(|at| at.elapsed() < LATELY).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_in_the_last_minute_counts_up_to_a_few_times() {
        let mut lately = Lately::default();
        assert_eq!(lately.count(), 0);
        lately.note();
        assert_eq!(lately.count(), 1);
        for _ in 0..2 * MOST {
            lately.note();
        }
        assert_eq!(lately.count(), MOST);
        // Two of them long ago.
        let before = Instant::now()
            .checked_sub(LATELY)
            .expect("a machine that is up for a minute");
        for at in lately.0.iter_mut().take(2) {
            *at = before;
        }
        assert_eq!(lately.count(), MOST - 2);
    }
}
