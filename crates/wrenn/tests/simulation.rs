//! A seeded simulation: the real control plane and the real agent in one process, over machines, slots and a wire that are
//! simulated, under a clock that only this test moves. Calls are lost, late and doubled, machines die, either half is killed
//! anywhere, hours pass at once. No sandbox is lost, none runs twice, none is unwatched.
//!
//! `WRENN_SIMULATION_SEEDS=5000` plays so many seeds; `WRENN_SIMULATION_SEED=7` plays this one and prints what happened, or
//! begins with it.
//!
//! What follows from the seed: what callers want and when, which call, step or machine is struck by what, how long each takes,
//! when who dies. What does not: ids and keys, which are random as ever; in which order a hash map is walked, and which of
//! several things that are ready at the same moment goes first, where tokio chooses; when a thread of the database, the
//! journal or the file work comes back within a moment that takes no time. So two runs of a seed part only where several
//! things meet in one moment, mostly in nothing but their order. Decisions are drawn by name and not in turn, so that what
//! parts there does not change everything that follows. A failure that needs such a meeting may take a few runs to come back.

#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]

mod simulated;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use simulated::dice::Seed;
use simulated::play::{Outcome, play};
use wrenn_testkit::xfs;

/// How much room the store has; more than an agent wants to be free.
const DISK: u64 = 8 << 30;
/// How many seeds are played every day, and how many when there is time.
const SEEDS: u64 = 150;
const MANY_SEEDS: u64 = 5_000;
/// How many are played twice.
const REPEATED: u64 = 10;
/// How many seeds may have failed before the others are not played any more.
const ENOUGH: usize = 5;

/// Time stands still only while nothing else goes on in this process.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn no_sandbox_is_lost_none_runs_twice_and_none_is_unwatched() {
    let (first, count) = (
        number("WRENN_SIMULATION_SEED"),
        number("WRENN_SIMULATION_SEEDS"),
    );
    let all = if first.is_some() { 1 } else { SEEDS };
    play_all(first.unwrap_or(1), count.unwrap_or(all));
}

#[test]
#[ignore = "it takes minutes"]
fn thousands_of_seeds() {
    play_all(SEEDS + 1, MANY_SEEDS);
}

/// A seed that failed can be looked at again.
#[test]
fn a_seed_plays_the_same_again() {
    alone(|root| {
        let (mut lines, mut same) = (0, 0);
        for seed in 1..=REPEATED {
            let [first, again] = [(); 2].map(|()| played(Seed(seed), &root.join("seed")));
            assert_eq!(first.decisions, again.decisions);
            lines += first.history.len();
            let again: HashSet<_> = again.history.into_iter().collect();
            same += first
                .history
                .iter()
                .filter(|line| again.contains(*line))
                .count();
        }
        println!("of {lines} lines, {same} were the same again");
        assert!(
            same * 10 > lines * 6,
            "of {lines} lines, only {same} were the same again"
        );
    });
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn alone(test: impl FnOnce(&Path) + Send + 'static) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    xfs::on_xfs(DISK, test);
}

fn play_all(first: u64, count: u64) {
    alone(move |root| {
        let began = Instant::now();
        let (mut steps, mut count_played) = (0, 0);
        let mut failed = Vec::new();
        for seed in first..first + count {
            let outcome = played(Seed(seed), &root.join("seed"));
            steps += outcome.steps;
            count_played += 1;
            if outcome.wrong.is_some() || count == 1 {
                println!("{}", outcome.history.join("\n"));
            }
            if let Some(wrong) = outcome.wrong {
                println!("seed {seed}: {wrong}\nWRENN_SIMULATION_SEED={seed} replays it\n");
                failed.push(seed);
            }
            if failed.len() == ENOUGH {
                break;
            }
        }
        let each = began.elapsed() / count_played;
        println!(
            "{count_played} seeds, {each:?} and {} steps each",
            steps / u64::from(count_played)
        );
        assert!(failed.is_empty(), "these seeds failed: {failed:?}");
    });
}

fn played(seed: Seed, folder: &Path) -> Outcome {
    std::fs::create_dir(folder).unwrap();
    let outcome = play(seed, folder);
    std::fs::remove_dir_all(folder).unwrap();
    outcome
}
