//! Runs cases side by side, those that measure alone, and tells of them as tests are told of.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::lane::Lane;

/// How many run at once, each in a lane of its own. Two installations side by side are a test in themselves.
const LANES: usize = 2;

/// How long a case may take; most take a second.
const LIMIT: Duration = Duration::from_secs(300);

/// Something to try, by its name.
pub(crate) trait Case: Send {
    fn name(&self) -> String;
    /// Whether it measures what others beside it would disturb: it runs after all others.
    fn alone(&self) -> bool;
    /// Panics when something is not as it must be.
    fn run(&self, lane: &mut Lane) -> impl Future<Output = ()>;
}

/// Runs those that the program's arguments name, all without any.
pub(crate) fn run<C: Case>(cases: Vec<C>) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| words.iter().any(|word| word == name);
    let wanted = |case: &C| {
        let mut parts = words
            .iter()
            .filter(|word| !word.starts_with('-'))
            .peekable();
        parts.peek().is_none() || parts.any(|part| case.name().contains(part.as_str()))
    };
    // None of these is ignored.
    let none = flag("--ignored");
    let (cases, others): (Vec<C>, Vec<C>) =
        cases.into_iter().partition(|case| !none && wanted(case));
    if flag("--list") {
        cases
            .iter()
            .for_each(|case| println!("{}: test", case.name()));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", cases.len());
    let (began, count) = (Instant::now(), cases.len());
    let (alone, together): (VecDeque<C>, VecDeque<C>) = cases.into_iter().partition(C::alone);
    let failed = side_by_side(LANES, together) + side_by_side(1, alone);
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        count.saturating_sub(failed),
        others.len(),
        began.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(failed > 0))
}

/// Runs cases in so many lanes; how many failed.
fn side_by_side<C: Case>(lanes: usize, cases: VecDeque<C>) -> usize {
    let queue = Mutex::new(cases);
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(|| work(&queue))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap_or(1)).sum()
    })
}

/// Takes one case after the other; how many failed. A lane in which one failed is not trusted with another.
fn work<C: Case>(queue: &Mutex<VecDeque<C>>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let (mut lane, mut failed) = (None, 0);
    while let Some(case) = next() {
        let began = Instant::now();
        let mut in_lane = lane
            .take()
            .unwrap_or_else(|| runtime.block_on(Lane::open()));
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let run = async { tokio::time::timeout(LIMIT, case.run(&mut in_lane)).await };
            let in_time = runtime.block_on(run);
            in_time.expect("a case ends");
        }));
        let result = if ran.is_ok() { "ok" } else { "FAILED" };
        let took = began.elapsed().as_secs_f64();
        println!("test {} ... {result} <{took:.2}s>", case.name());
        if ran.is_ok() {
            lane = Some(in_lane);
        } else {
            failed += 1;
            in_lane.show_log();
            close(&runtime, in_lane);
        }
    }
    if let Some(lane) = lane
        && !close(&runtime, lane)
    {
        failed += 1;
    }
    failed
}

/// Whether everything could be taken down.
fn close(runtime: &tokio::runtime::Runtime, lane: Lane) -> bool {
    let closed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(lane.close())));
    if closed.is_err() {
        println!("a lane could not be taken down");
    }
    closed.is_ok()
}
