//! Many creates at once: whether all succeed, in their order, how many start at a time, and how long all take together. By hand as
//! many restores are done, as many of them side by side as the agent lets start.

use std::cell::Cell;
use std::convert::Infallible;
use std::num::NonZero;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use futures::stream::{self, FuturesUnordered};
use futures::{StreamExt, TryStreamExt};
use wrenn_client::api::{CreateSandbox, Sandbox};

use super::Bench;
use super::by_hand::{self, Image};
use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::metrics;
use super::pool::Shape;

/// Starts that the agent has side by side, for each processor, where it is not asked.
const STARTS_PER_CPU: u32 = 2;
/// How many it has.
const TURNS: &str = "wrenn_agent_start_turns_limit";
/// The agent's count of those that start, and how often it is asked for: it tells the most of a longer time.
const MOST_STARTS: &str = "wrenn_agent_starts_in_flight_most";
const ASK: Duration = Duration::from_secs(5);
/// Between two requests, so that they arrive in an order.
const APART: Duration = Duration::from_millis(1);
/// How many are ended side by side.
const ENDS: usize = 4;

/// One create: when it was sent among all, when it was answered, and when its first exit code came.
struct Created {
    sandbox: Sandbox,
    turn: u32,
    answered: Instant,
    took: Result<Duration>,
}

/// What came of all creates.
#[derive(Default)]
struct Burst {
    /// How long each took, how long all took, and how far one was answered from its turn at the most.
    each: Samples,
    total: Samples,
    turns: Samples,
    /// How far one came from where it was sent.
    arrivals: Samples,
    /// How many started at a time at the most; none where only the API is asked.
    starts: Samples,
}

/// The figures of so many at once.
pub(super) async fn measure(bench: &Bench, count: u32) -> Result<Vec<Figure>> {
    let side_by_side = side_by_side(bench).await?;
    let pool = Shape::of(bench).await?;
    // Of a boot image there is one from here on, and a pool to be drained.
    bench.with_sandbox(async |_| Ok(())).await?;
    // What would still be made for the pool would start beside them.
    pool.settled().await?;
    pool.drain().await?;
    let wrenn = watched(bench, count).await;
    let by_hand = restores_by_hand(bench, count, side_by_side).await;
    pool.restore().await?;
    let (wrenn, none, by_hand) = (wrenn?, Samples::default(), by_hand?);
    let failures = wrenn.each.failures();
    let most = f64::from(side_by_side);
    Ok(vec![
        Figure::new("create, all at once", "ms", Goal::None, &wrenn.each, &none),
        Figure::new(
            "  that failed",
            "creates",
            Goal::AtMost(0.0),
            &failures,
            &none,
        ),
        Figure::new(
            "  that start at a time",
            "creates",
            Goal::AtMost(most),
            &wrenn.starts,
            &none,
        ),
        Figure::new(
            "  all of them",
            "ms",
            Goal::RatioAtMost(1.3),
            &wrenn.total,
            &by_hand,
        ),
        Figure::new(
            "  places out of turn",
            "places",
            Goal::AtMost(most),
            &wrenn.turns,
            &none,
        ),
        Figure::new(
            "  that they came out of where they were sent",
            "places",
            Goal::None,
            &wrenn.arrivals,
            &none,
        ),
    ])
}

/// How many the agent lets start at a time.
pub(super) async fn side_by_side(bench: &Bench) -> Result<u32> {
    if bench.hand.is_some() {
        return metrics::of_agent(&bench.data, TURNS).await;
    }
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    Ok(STARTS_PER_CPU * u32::try_from(cpus)?)
}

/// All of them, while the agent is asked how many start.
async fn watched(bench: &Bench, count: u32) -> Result<Burst> {
    let creates = creates(bench, count);
    if bench.hand.is_none() {
        return creates.await;
    }
    let most = Cell::new(0);
    let mut burst = tokio::select! {
        burst = creates => burst?,
        never = watch(bench, &most) => match never {},
    };
    let last = metrics::of_agent(&bench.data, MOST_STARTS).await?;
    burst.starts.push(f64::from(most.get().max(last)));
    Ok(burst)
}

async fn watch(bench: &Bench, most: &Cell<u32>) -> Infallible {
    loop {
        match metrics::of_agent(&bench.data, MOST_STARTS).await {
            Ok(told) => most.set(most.get().max(told)),
            Err(error) => tracing::debug!("the agent does not tell how many start: {error:#}"),
        }
        tokio::time::sleep(ASK).await;
    }
}

async fn creates(bench: &Bench, count: u32) -> Result<Burst> {
    let mut burst = Burst::default();
    // A connection for each: else they would arrive in the order in which those come to stand.
    try_join_all((0..count).map(|_| bench.client.health())).await?;
    tracing::info!("burst: {count} creates");
    let begun = Instant::now();
    let mut under_way: FuturesUnordered<_> = (0..count).map(|turn| create(bench, turn)).collect();
    let (mut answered, mut sent) = (Vec::new(), Vec::new());
    let mut made = Vec::new();
    while let Some(created) = under_way.next().await {
        let tried = created.and_then(|created| {
            answered.push((created.answered, created.sandbox.created_at));
            sent.push((created.sandbox.created_at, created.turn));
            made.push(created.sandbox);
            created.took
        });
        burst.each.push_tried("a create of a burst", tried);
    }
    burst.total.push_ms(begun.elapsed());
    burst.turns.push(out_of_turn(answered));
    burst.arrivals.push(out_of_turn(sent));
    let ends = stream::iter(made).map(|sandbox| async move {
        let ended = bench.client.delete_sandbox(&sandbox.id).await;
        ended.map(drop)
    });
    ends.buffer_unordered(ENDS).try_collect::<()>().await?;
    Ok(burst)
}

async fn create(bench: &Bench, turn: u32) -> Result<Created> {
    tokio::time::sleep(APART * turn).await;
    let begun = Instant::now();
    let request = CreateSandbox {
        template: Some(bench.template.clone()),
        ..Default::default()
    };
    let sandbox = bench.client.create_sandbox(&request).await?;
    let answered = Instant::now();
    let worked = bench.exec_true(&sandbox).await;
    Ok(Created {
        sandbox,
        turn,
        answered,
        took: worked.map(|()| begun.elapsed()),
    })
}

/// How many places the one that is furthest from its turn stands from it, by when each was answered and when it had come. Those that
/// failed have none; of those that came at once any may be first.
fn out_of_turn<T: Ord, U: Ord + Copy>(mut answered: Vec<(T, U)>) -> f64 {
    answered.sort();
    let mut by_turn: Vec<_> = answered.iter().map(|(_, came)| *came).enumerate().collect();
    by_turn.sort_by_key(|(_, came)| *came);
    let places = by_turn.iter().enumerate();
    let off = places.map(|(turn, (place, _))| turn.abs_diff(*place));
    f64::from(u32::try_from(off.max().unwrap_or(0)).unwrap_or(u32::MAX))
}

async fn restores_by_hand(bench: &Bench, count: u32, side_by_side: u32) -> Result<Samples> {
    let mut total = Samples::default();
    if let Some(hand) = &bench.hand {
        let image = hand.image(by_hand::MEMORY).await?;
        let took = restores(&image, count, side_by_side).await;
        image.remove().await?;
        total.push_ms(took?);
    }
    Ok(total)
}

/// How long so many restores by hand take, each with its first exit code.
pub(super) async fn restores(image: &Image<'_>, count: u32, side_by_side: u32) -> Result<Duration> {
    let mut prepared = Vec::new();
    for _ in 0..count {
        prepared.push(image.prepare().await?);
    }
    tracing::info!("{count} restores by hand");
    let begun = Instant::now();
    let restores = stream::iter(prepared).map(|prepared| async {
        let guest = image.restore(prepared).await?;
        guest.exec_true().await?;
        anyhow::Ok(guest)
    });
    let guests = restores.buffer_unordered(usize::try_from(side_by_side)?);
    let guests: Vec<_> = guests.try_collect().await?;
    let took = begun.elapsed();
    for guest in guests {
        guest.end().await?;
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_from_its_turn_counts() {
        assert_eq!(out_of_turn(vec![(1, 0), (2, 1), (3, 2)]), 0.0);
        assert_eq!(out_of_turn(vec![(9, 0), (1, 1), (2, 2), (3, 3)]), 3.0);
        // The second of them failed: who came after it was in turn.
        assert_eq!(out_of_turn(vec![(1, 0), (2, 2), (3, 3)]), 0.0);
        assert_eq!(out_of_turn(vec![(1, 7), (2, 7), (3, 5)]), 2.0);
        assert_eq!(out_of_turn(Vec::<(u32, u32)>::new()), 0.0);
    }
}
