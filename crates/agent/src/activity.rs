//! When a sandbox was last used. A call counts from its start to its end; times live in memory only.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use wrenn_sys::wall;

use crate::time::ms;

/// How far the two clocks may differ and nothing has happened to either.
const SAME: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    calls: usize,
    last: Instant,
    last_wall: SystemTime,
}

/// A call under way; its end is this value's.
#[derive(Debug)]
pub(crate) struct Call {
    activity: std::sync::Arc<Activity>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                calls: 0,
                last: Instant::now(),
                last_wall: wall::now(),
            }),
            changed: Notify::new(),
        }
    }

    /// Something happened just now.
    pub(crate) fn touch(&self) {
        self.update(|_| ());
    }

    /// A call begins.
    pub(crate) fn begin(self: &std::sync::Arc<Self>) -> Call {
        self.update(|state| state.calls += 1);
        Call {
            activity: self.clone(),
        }
    }

    /// When it was last used, in milliseconds since the epoch, by the wall clock as it is now: what this says and the time
    /// that is left go together, also after somebody has set the clock.
    pub(crate) fn last_ms(&self) -> i64 {
        let state = self.lock();
        let last = if state.calls > 0 {
            wall::now()
        } else {
            last_used(state.last_wall, state.last.elapsed(), wall::now())
        };
        ms(last)
    }

    /// Returns when nothing has happened for `timeout`.
    pub(crate) async fn idle_for(&self, timeout: Duration) {
        loop {
            let changed = self.changed.notified();
            let expires = {
                let state = self.lock();
                (state.calls == 0).then(|| state.last + timeout)
            };
            match expires {
                Some(at) if at <= Instant::now() => return,
                Some(at) => tokio::time::sleep_until(at).await,
                None => changed.await,
            }
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.last = Instant::now();
        state.last_wall = wall::now();
        drop(state);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// When that was which the wall clock said was at `then`, `idle` ago by the monotonic clock. It is what it was, unless the
/// clock was set or the machine slept meanwhile.
fn last_used(then: SystemTime, idle: Duration, now: SystemTime) -> SystemTime {
    let by_idleness = now.checked_sub(idle).unwrap_or(then);
    let apart = by_idleness
        .duration_since(then)
        .unwrap_or_else(|earlier| earlier.duration());
    if apart > SAME { by_idleness } else { then }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.activity.update(|state| state.calls -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn a_call_holds_the_timer_until_its_end() {
        let activity = Arc::new(Activity::new());
        let began = Instant::now();
        let call = activity.begin();
        let idle = tokio::spawn({
            let activity = activity.clone();
            async move { activity.idle_for(Duration::from_secs(10)).await }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!idle.is_finished());
        drop(call);
        idle.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 70);
    }

    #[test]
    fn a_clock_that_was_set_moves_the_past_along() {
        let (day, idle) = (Duration::from_secs(86_400), Duration::from_secs(7));
        let then = SystemTime::now();
        let now = then + idle;
        let jitter = Duration::from_millis(3);
        assert_eq!(last_used(then, idle + jitter, now), then);
        assert_eq!(last_used(then, idle, now + day), then + day);
        assert_eq!(last_used(then, idle, now - day), then - day);
    }

    #[tokio::test(start_paused = true)]
    async fn a_touch_starts_the_timer_anew() {
        let activity = Arc::new(Activity::new());
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(9)).await;
        activity.touch();
        activity.idle_for(Duration::from_secs(10)).await;
        assert_eq!(began.elapsed().as_secs(), 19);
    }
}
