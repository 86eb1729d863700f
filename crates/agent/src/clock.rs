//! The host's wall clock may jump: somebody sets it, or the machine slept. Every guest has a clock of its own, which is
//! wrong then by as much, and is set again.
//!
//! What Wrenn itself measures (inactivity, time limits) goes by the monotonic clock, which neither jumps nor counts the
//! time that the machine slept. A machine that slept looks like one whose clock was set forward.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use tokio::time::Instant;
use wrenn_sys::wall;

use crate::Agent;
use crate::handle::Handle;

/// How often the clocks are compared.
const LOOK: Duration = Duration::from_secs(1);
/// How far the wall clock may have moved against the monotonic one before guests hear of it.
const TOLERANCE: Duration = Duration::from_secs(1);
/// In how many guests it is set at once.
const AT_ONCE: usize = 16;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    wall: SystemTime,
    monotonic: Instant,
}

impl Reading {
    fn now() -> Self {
        Self {
            wall: wall::now(),
            monotonic: Instant::now(),
        }
    }

    /// By how much the wall clock went ahead of the monotonic one since `earlier`, in seconds; negative when it fell back.
    fn drift_since(&self, earlier: &Self) -> f64 {
        let wall = match self.wall.duration_since(earlier.wall) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(back) => -back.duration().as_secs_f64(),
        };
        wall - (self.monotonic - earlier.monotonic).as_secs_f64()
    }
}

/// Notices that the wall clock was moved: at once, or little by little.
#[derive(Debug)]
struct Steps {
    /// When guests' clocks were last right.
    right: Reading,
}

impl Steps {
    /// By how many seconds the wall clock has moved, when guests should hear of it; once.
    fn look(&mut self, now: Reading) -> Option<f64> {
        let drift = now.drift_since(&self.right);
        (drift.abs() > TOLERANCE.as_secs_f64()).then(|| {
            self.right = now;
            drift
        })
    }
}

impl Agent {
    /// Sets the clocks of guests that run once, since nobody looked while there was no agent, and whenever the host's
    /// was moved.
    pub(crate) async fn follow_clock(&self) {
        self.recovered().await;
        let mut steps = Steps {
            right: Reading::now(),
        };
        self.set_clocks().await;
        while !self.down.is_cancelled() {
            tokio::time::sleep(LOOK).await;
            if let Some(seconds) = steps.look(Reading::now()) {
                tracing::warn!(
                    seconds,
                    "the host's clock was set, or it slept: guests' clocks are set again"
                );
                self.set_clocks().await;
            }
        }
    }

    async fn set_clocks(&self) {
        let all = futures::stream::iter(self.table.all());
        all.for_each_concurrent(AT_ONCE, async |handle: Arc<Handle>| {
            handle.set_clock().await;
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn later(reading: Reading, wall: Duration, monotonic: Duration) -> Reading {
        Reading {
            wall: reading.wall + wall,
            monotonic: reading.monotonic + monotonic,
        }
    }

    #[test]
    fn a_step_either_way_is_told_once_and_the_passing_of_time_is_not() {
        let start = Reading::now();
        let mut steps = Steps { right: start };
        assert_eq!(steps.look(later(start, DAY, DAY)), None);
        let forward = later(start, 2 * DAY, DAY);
        let told = steps.look(forward).unwrap();
        assert!((told - DAY.as_secs_f64()).abs() < 1e-3, "{told}");
        assert_eq!(steps.look(forward), None);
        let back = later(start, DAY, DAY);
        let told = steps.look(back).unwrap();
        assert!((told + DAY.as_secs_f64()).abs() < 1e-3, "{told}");
        assert_eq!(steps.look(back), None);
    }

    #[test]
    fn many_small_corrections_are_told_when_they_come_to_a_second() {
        let start = Reading::now();
        let mut steps = Steps { right: start };
        let told = (1..=10_000_u32).filter(|second| {
            let wall = Duration::from_millis(1000 * u64::from(*second) + u64::from(*second) / 2);
            let now = later(start, wall, Duration::from_secs(u64::from(*second)));
            steps.look(now).is_some()
        });
        assert_eq!(told.count(), 4);
    }
}
