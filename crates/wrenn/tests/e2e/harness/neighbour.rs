//! What a sandbox notices of an attack in another one.

use std::future::Future;
use std::time::{Duration, Instant};

use super::TestSandbox;

/// How many calls a figure is made of.
const CALLS: usize = 15;

/// How often it is tried: a machine that does something else for a moment is no attack.
const ROUNDS: u32 = 8;

/// How long an attack goes on before its effect is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// How much longer a neighbour's command may take during an attack.
const FACTOR: u32 = 2;

/// How much of the processors must be idle for a round to count against anybody: where others take all there is, the
/// neighbour shares with them too, and nothing is promised about that.
const SPARE: f64 = 0.05;

/// How many rounds that count are a verdict.
const VERDICT: usize = 3;

/// How long the smallest command takes: the median of some.
pub(crate) async fn latency(sandbox: &TestSandbox) -> Duration {
    let mut taken = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        sandbox.sh(":").await;
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    taken[CALLS / 2]
}

/// Panics when commands of `neighbour` take more than twice as long while the attack that `begin` starts goes on, and
/// until `end` has ended it, although the host has a processor left.
pub(crate) async fn assert_undisturbed<A, B: Future<Output = A>, E: Future<Output = ()>>(
    what: &str,
    neighbour: &TestSandbox,
    begin: impl Fn() -> B,
    end: impl Fn(A) -> E,
) {
    let mut against = Vec::new();
    for _ in 0..ROUNDS {
        let before = latency(neighbour).await;
        let attack = begin().await;
        tokio::time::sleep(WARM_UP).await;
        let clock = Processors::now();
        let during = latency(neighbour).await;
        let idle = Processors::now().idle_since(&clock);
        end(attack).await;
        eprintln!(
            "{what}: a neighbour's command took {before:?} before, {during:?} during, {:.0} % idle",
            idle * 100.0
        );
        if during <= before * FACTOR {
            return;
        }
        if idle >= SPARE {
            against.push((before, during));
        }
    }
    assert!(
        against.len() < VERDICT,
        "{what}: a neighbour's commands took {against:?}, each before and during"
    );
    eprintln!("{what}: the machine was too busy to tell");
}

/// What all processors of the host have done since its boot, in ticks.
struct Processors {
    idle: f64,
    all: f64,
}

impl Processors {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let ticks = stat.lines().next().unwrap().split_whitespace().skip(1);
        // user nice system idle iowait irq softirq steal; what follows is part of the first two.
        let ticks: Vec<f64> = ticks.take(8).map(|ticks| ticks.parse().unwrap()).collect();
        Self {
            idle: ticks[3] + ticks[4],
            all: ticks.iter().sum(),
        }
    }

    /// As a part of one.
    fn idle_since(&self, earlier: &Self) -> f64 {
        (self.idle - earlier.idle) / (self.all - earlier.all).max(1.0)
    }
}
