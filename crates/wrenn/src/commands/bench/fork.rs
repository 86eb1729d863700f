//! A guest that has written some memory and is forked: how long it stands still, and when all children have run a command. By
//! hand the same guest is saved, which is what its source stands still for, and one is restored; then as many, side by side.

use std::time::Instant;

use anyhow::{Result, anyhow};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use wrenn_client::api::{ForkResult, ForkSandbox, Sandbox};

use super::Bench;
use super::burst::{restores, side_by_side};
use super::by_hand::{self, Image};
use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::pause::writing;

/// How much the source writes to memory, in MiB, beside what its guest does by itself.
const WRITES: u32 = 12;
/// For so many children there is a goal.
pub(super) const CHILDREN: u32 = 10;

#[derive(Default)]
struct Side {
    frozen: Samples,
    ready: Samples,
    /// By hand: as many as there are children.
    as_many: Samples,
}

/// The figures of forks into so many children.
pub(super) async fn measure(bench: &Bench, count: u32) -> Result<Vec<Figure>> {
    let image = match &bench.hand {
        Some(hand) => Some(hand.image(by_hand::MEMORY).await?),
        None => None,
    };
    let measured = rounds(bench, count, image.as_ref()).await;
    if let Some(image) = image {
        image.remove().await?;
    }
    let (wrenn, by_hand) = measured?;
    let (ready, as_many) = match count {
        CHILDREN => (Goal::RatioAtMost(6.0), Goal::RatioAtMost(1.3)),
        _ => (Goal::None, Goal::None),
    };
    Ok(vec![
        Figure::new(
            "fork, its source stands still",
            "ms",
            Goal::RatioAtMost(2.0),
            &wrenn.frozen,
            &by_hand.frozen,
        ),
        Figure::new(
            "fork to all children's exit codes",
            "ms",
            ready,
            &wrenn.ready,
            &by_hand.ready,
        ),
        Figure::new(
            "  beside as many restores",
            "ms",
            as_many,
            &wrenn.ready,
            &by_hand.as_many,
        ),
    ])
}

async fn rounds(bench: &Bench, count: u32, image: Option<&Image<'_>>) -> Result<(Side, Side)> {
    let (mut wrenn, mut by_hand) = (Side::default(), Side::default());
    let side_by_side = side_by_side(bench).await?;
    for round in 0..bench.rounds {
        bench.round("fork", round);
        bench
            .with_sandbox(async |source| wrenn.round(bench, source, count).await)
            .await?;
        if let Some(image) = image {
            by_hand.round_by_hand(image).await?;
            let took = restores(image, count, side_by_side).await?;
            by_hand.as_many.push_ms(took);
        }
    }
    Ok((wrenn, by_hand))
}

impl Side {
    async fn round(&mut self, bench: &Bench, source: &Sandbox, count: u32) -> Result<()> {
        bench.exec(source, "dd", &writing(WRITES)).await?;
        let request = ForkSandbox {
            count: Some(count.into()),
            ..Default::default()
        };
        let begun = Instant::now();
        let forked = bench.client.fork(&source.id, &request).await?;
        self.frozen.push(forked.frozen_ms);
        let mut children = Vec::new();
        let mut failed = None;
        for result in forked.results {
            match result {
                ForkResult::Sandbox(child) => children.push(*child),
                ForkResult::Error(error) => failed = Some(anyhow!("{}", error.message)),
            }
        }
        let mut execs: FuturesUnordered<_> = children
            .iter()
            .map(|child| bench.exec_true(child))
            .collect();
        while let Some(worked) = execs.next().await {
            failed = failed.or(worked.err());
        }
        let took = begun.elapsed();
        self.ready
            .push_tried("a child of a fork", failed.map_or(Ok(took), Err));
        for child in &children {
            bench.client.delete_sandbox(&child.id).await?;
        }
        Ok(())
    }

    async fn round_by_hand(&mut self, image: &Image<'_>) -> Result<()> {
        let prepared = image.prepare().await?;
        let begun = Instant::now();
        let mut guest = image.restore(prepared).await?;
        guest.exec_true().await?;
        self.ready.push_ms(begun.elapsed());
        guest.exec("dd", &writing(WRITES)).await?;
        self.frozen.push_ms(guest.pause().await?.took);
        guest.leave().await
    }
}
