//! When a sandbox was last used. A call counts from its start to its end; times live in memory only.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::time::ms;

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
                last_wall: SystemTime::now(),
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

    /// Milliseconds since the epoch.
    pub(crate) fn last_ms(&self) -> i64 {
        let state = self.lock();
        let last = if state.calls > 0 {
            SystemTime::now()
        } else {
            state.last_wall
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
        state.last_wall = SystemTime::now();
        drop(state);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
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
