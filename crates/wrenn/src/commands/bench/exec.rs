//! One short command: through the API, and straight to the guest agent of a guest that was booted by hand.

use std::time::Instant;

use anyhow::Result;

use super::Bench;
use super::by_hand;
use super::figures::{Figure, Samples};
use super::goal::Goal;

/// Rounds that are not counted: the first calls translate code under emulation and fill caches.
const WARM_UP: u32 = 10;
/// A call is short, so that each round has several.
const CALLS: u32 = 10;

/// The figure of exec.
pub(super) async fn measure(bench: &Bench) -> Result<Figure> {
    let [mut wrenn, mut by_hand] = <[Samples; 2]>::default();
    bench
        .with_sandbox(async |sandbox| {
            let guest = match &bench.hand {
                Some(hand) => Some(hand.prepare(by_hand::MEMORY).await?.boot().await?),
                None => None,
            };
            for call in 0..WARM_UP + bench.rounds * CALLS {
                let begun = Instant::now();
                bench.exec_true(sandbox).await?;
                let took = begun.elapsed();
                let counted = call >= WARM_UP;
                if counted {
                    wrenn.push_ms(took);
                }
                let Some(guest) = &guest else { continue };
                let begun = Instant::now();
                guest.exec_true().await?;
                if counted {
                    by_hand.push_ms(begun.elapsed());
                }
            }
            match guest {
                Some(guest) => guest.end().await,
                None => Ok(()),
            }
        })
        .await?;
    Ok(Figure::new(
        "exec of true",
        "ms",
        Goal::MoreAtMost(5.0),
        &wrenn,
        &by_hand,
    ))
}
