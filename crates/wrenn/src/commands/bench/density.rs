//! What memory idle sandboxes take that they do not share, beside bare clones by hand in the same state.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bench;
use super::by_hand::{self, Hand};
use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::machines::{self, Memory};
use super::pool::Shape;

/// How long all are left alone before they are looked at.
const SETTLE: Duration = Duration::from_secs(10);
/// As many clones by hand share one image. Of one alone no page would be shared.
const BY_HAND: usize = 3;

/// The figures of so many idle sandboxes.
pub(super) async fn measure(bench: &Bench, count: u32) -> Result<Vec<Figure>> {
    let pool = Shape::of(bench).await?;
    // Of a boot image there is one from here on, and a pool to be drained.
    bench.with_sandbox(async |_| Ok(())).await?;
    pool.drain().await?;
    let wrenn = sandboxes(bench, count).await;
    let by_hand = match &bench.hand {
        Some(hand) => clones(hand).await,
        None => Ok(Vec::new()),
    };
    pool.restore().await?;
    let (wrenn, by_hand) = (Side::of(&wrenn?), Side::of(&by_hand?));
    Ok(vec![
        Figure::new(
            "unshared memory of an idle sandbox",
            "MiB",
            Goal::RatioAtMost(1.3),
            &wrenn.written,
            &by_hand.written,
        ),
        // More of them read more of the image, but it is there once: were it there for each, it would be many times as much.
        Figure::new(
            "  pages of files, of all together",
            "MiB",
            Goal::RatioAtMost(2.0),
            &wrenn.files,
            &by_hand.files,
        ),
    ])
}

#[derive(Default)]
struct Side {
    written: Samples,
    files: Samples,
}

impl Side {
    fn of(all: &[Memory]) -> Self {
        let mut side = Self::default();
        all.iter().for_each(|one| side.written.push(one.written));
        if !all.is_empty() {
            side.files.push(all.iter().map(|one| one.files).sum());
        }
        side
    }
}

/// What VMMs take that came with so many sandboxes, each of which has run one command.
async fn sandboxes(bench: &Bench, count: u32) -> Result<Vec<Memory>> {
    let before = machines::vmms(&bench.data)?;
    let mut made = Vec::new();
    let measured = async {
        for _ in 0..count {
            let sandbox = bench.create().await?;
            made.push(sandbox.id.clone());
            bench.exec_true(&sandbox).await?;
        }
        tracing::info!("density: {count} sandboxes rest");
        tokio::time::sleep(SETTLE).await;
        let after = machines::vmms(&bench.data)?;
        let new: Vec<_> = after.difference(&before).copied().collect();
        ensure!(
            new.len() == made.len(),
            "{} VMMs came with {} sandboxes",
            new.len(),
            made.len()
        );
        new.into_iter().map(machines::memory).collect()
    }
    .await;
    for id in &made {
        bench.client.delete_sandbox(id).await?;
    }
    measured
}

async fn clones(hand: &Hand) -> Result<Vec<Memory>> {
    let image = hand.image(by_hand::MEMORY).await?;
    let mut guests = Vec::new();
    for _ in 0..BY_HAND {
        let guest = image.restore(image.prepare().await?).await?;
        guest.exec_true().await?;
        guests.push(guest);
    }
    tokio::time::sleep(SETTLE).await;
    let memory = guests.iter().map(|guest| machines::memory(guest.pid()?));
    let memory: Result<Vec<_>> = memory.collect();
    for guest in guests {
        guest.end().await?;
    }
    image.remove().await?;
    memory
}
