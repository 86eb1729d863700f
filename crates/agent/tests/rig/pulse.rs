//! How long a process of this machine may be kept from running by all the others: what counts here is what a guest that
//! nobody disturbs would count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// As often as a guest of the fake VMM counts.
const TICK: Duration = Duration::from_millis(20);

/// What is time enough on a machine that has nothing else to do, for one that has.
pub(crate) fn as_busy(limit: Duration) -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let waiting = load.split(' ').next().and_then(|load| load.parse().ok());
    let processors = thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    limit.mul_f64((waiting.unwrap_or(0.0) / processors).max(1.0))
}

/// Which part of the processors' time nobody takes, as it is for a while.
pub(crate) async fn idle(time: Duration) -> f64 {
    // Idle, and waiting for a disk; of all.
    let ticks = || -> (f64, f64) {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let words = stat.lines().next().unwrap().split_whitespace().skip(1);
        // What follows is part of the first two.
        let ticks: Vec<f64> = words.take(8).map(|ticks| ticks.parse().unwrap()).collect();
        (ticks[3] + ticks[4], ticks.iter().sum())
    };
    let before = ticks();
    tokio::time::sleep(time).await;
    let after = ticks();
    (after.0 - before.0) / (after.1 - before.1)
}

/// A thread that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Pulse {
    longest_ms: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
}

impl Pulse {
    pub(crate) fn start() -> Self {
        let (longest_ms, end) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (longest, ended) = (longest_ms.clone(), end.clone());
        thread::spawn(move || {
            let mut last = Instant::now();
            while !ended.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                let gap = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
                longest.fetch_max(gap, Ordering::Relaxed);
                last = Instant::now();
            }
        });
        Self { longest_ms, end }
    }

    /// The longest gap since this was last asked, in milliseconds.
    pub(crate) fn gap_ms(&self) -> u64 {
        self.longest_ms.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}
