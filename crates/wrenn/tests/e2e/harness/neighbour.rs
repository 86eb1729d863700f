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
/// until `end` has ended it.
pub(crate) async fn assert_undisturbed<A, B: Future<Output = A>, E: Future<Output = ()>>(
    what: &str,
    neighbour: &TestSandbox,
    begin: impl Fn() -> B,
    end: impl Fn(A) -> E,
) {
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        let before = latency(neighbour).await;
        let attack = begin().await;
        tokio::time::sleep(WARM_UP).await;
        let during = latency(neighbour).await;
        end(attack).await;
        eprintln!("{what}: a neighbour's command took {before:?} before, {during:?} during");
        if during <= before * FACTOR {
            return;
        }
        seen.push((before, during));
    }
    panic!("{what}: a neighbour's commands took {seen:?}, each before and during");
}
