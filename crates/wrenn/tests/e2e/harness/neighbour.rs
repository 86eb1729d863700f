//! What a sandbox notices of an attack in another one.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::TestSandbox;

/// How many calls a figure is made of.
const CALLS: usize = 15;

/// How long an attack goes on, or is over, before what it does is measured.
const SETTLES: Duration = Duration::from_secs(1);

/// How much longer a neighbour's command may take during an attack.
const FACTOR: f64 = 2.0;

/// How many rounds are a verdict, at least and at most: the first on a machine that does nothing else, the last on any.
/// Both are odd, so that there is a median.
const ROUNDS: (usize, usize) = (3, 7);

/// By how much quiet rounds may differ where the machine does nothing else: the slowest by the fastest.
const STEADY: f64 = 1.5;

/// Which part of the processors must be idle for a round to begin: one of two. Where others take them, the neighbour shares
/// with those too, and nothing is promised about that.
const SPARE: f64 = 0.5;

/// How often that is still waited for, by all rounds of all attacks; then they are measured all the same.
static PATIENCE: AtomicU32 = AtomicU32::new(120);

/// One round: how long a neighbour's command took without the attack, and with it.
#[derive(Debug, Clone, Copy)]
struct Round {
    quiet: Duration,
    attacked: Duration,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.attacked.as_secs_f64() / self.quiet.as_secs_f64()
    }
}

/// What rounds say.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Not enough yet.
    Open,
    Undisturbed,
    Disturbed,
}

/// Panics when commands of `neighbour` take more than twice as long while the attack that `begin` starts goes on, and
/// until `end` has ended it: by the median of rounds, in each of which both are measured. A machine that does something
/// else is waited for and given more rounds, and no other excuse.
pub(crate) async fn assert_undisturbed<A, B: Future<Output = A>, E: Future<Output = ()>>(
    what: &str,
    neighbour: &TestSandbox,
    begin: impl Fn() -> B,
    end: impl Fn(A) -> E,
) {
    let mut rounds = Vec::new();
    loop {
        settle().await;
        let quiet = latency(neighbour).await;
        let attack = begin().await;
        tokio::time::sleep(SETTLES).await;
        let attacked = latency(neighbour).await;
        end(attack).await;
        rounds.push(Round { quiet, attacked });
        let (ratio, spread) = (median(rounds.iter().map(Round::ratio)), spread(&rounds));
        eprintln!(
            "{what}: a neighbour's command took {quiet:?}, during it {attacked:?}; {ratio:.2} times as long so far, \
             {spread:.2} times between quiet rounds"
        );
        match verdict(&rounds) {
            Verdict::Open => {}
            Verdict::Undisturbed => return,
            Verdict::Disturbed => panic!(
                "{what}: a neighbour's commands took {ratio:.2} times as long{}: {rounds:?}",
                if spread > STEADY {
                    format!(
                        ", on a machine that is busy with something else: {spread:.2} times between quiet rounds"
                    )
                } else {
                    String::new()
                }
            ),
        }
    }
}

/// Waits until what was done is over and others leave a processor.
async fn settle() {
    loop {
        let clock = Processors::now();
        tokio::time::sleep(SETTLES).await;
        let idle = Processors::now().idle_since(&clock);
        if idle >= SPARE || PATIENCE.load(Relaxed) == 0 {
            return;
        }
        PATIENCE.fetch_sub(1, Relaxed);
        eprintln!("something else is busy: {:.0} % idle", idle * 100.0);
    }
}

/// How long the smallest command takes: the median of some.
async fn latency(sandbox: &TestSandbox) -> Duration {
    let mut taken = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        sandbox.sh(":").await;
        taken.push(begun.elapsed().as_secs_f64());
    }
    Duration::from_secs_f64(median(taken.into_iter()))
}

/// A few rounds are enough to be let go; to be convicted takes all of them, and so does being let go on a machine that is
/// not steady.
fn verdict(rounds: &[Round]) -> Verdict {
    let (least, most) = ROUNDS;
    let undisturbed = median(rounds.iter().map(Round::ratio)) <= FACTOR;
    match rounds.len() {
        len if len >= most && undisturbed => Verdict::Undisturbed,
        len if len >= most => Verdict::Disturbed,
        len if len >= least && len % 2 == 1 && undisturbed && spread(rounds) <= STEADY => {
            Verdict::Undisturbed
        }
        _ => Verdict::Open,
    }
}

/// How many times the fastest quiet round the slowest took.
fn spread(rounds: &[Round]) -> f64 {
    let quiet = || rounds.iter().map(|round| round.quiet.as_secs_f64());
    quiet().fold(0.0, f64::max) / quiet().fold(f64::INFINITY, f64::min)
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
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

#[test]
fn a_verdict_takes_rounds_and_can_be_guilty() {
    let rounds = |pairs: &[(u64, u64)]| -> Verdict {
        let round = |&(quiet, attacked)| Round {
            quiet: Duration::from_millis(quiet),
            attacked: Duration::from_millis(attacked),
        };
        verdict(&pairs.iter().map(round).collect::<Vec<_>>())
    };
    let (good, bad, busy) = ((20, 25), (20, 50), (60, 70));
    assert_eq!(rounds(&[good, good]), Verdict::Open);
    assert_eq!(rounds(&[good, bad, good]), Verdict::Undisturbed);
    assert_eq!(rounds(&[good, good, busy]), Verdict::Open);
    assert_eq!(rounds(&[bad, bad, good]), Verdict::Open);
    assert_eq!(
        rounds(&[good, good, busy, good, bad, bad, busy]),
        Verdict::Undisturbed
    );
    assert_eq!(
        rounds(&[bad, good, bad, good, bad, good, bad]),
        Verdict::Disturbed
    );
}
