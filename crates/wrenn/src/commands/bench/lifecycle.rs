//! How long until the first exit code comes out of a sandbox that boots, and until nothing of it exists.

use std::time::Instant;

use anyhow::Result;
use wrenn_client::api::CreateSandbox;

use super::Bench;
use super::by_hand;
use super::figures::{Figure, Samples};
use super::goal::Goal;

/// The figures of create and delete.
pub(super) async fn measure(bench: &Bench) -> Result<(Figure, Figure)> {
    let [
        mut create,
        mut create_by_hand,
        mut delete,
        mut delete_by_hand,
    ] = <[Samples; 4]>::default();
    let request = CreateSandbox {
        template: Some(bench.template.clone()),
        cold: true,
        ..Default::default()
    };
    for round in 0..bench.rounds {
        bench.round("create, cold, and delete", round);
        let begun = Instant::now();
        let sandbox = bench.client.create_sandbox(&request).await?;
        let worked = bench.exec_true(&sandbox).await;
        create.push_ms(begun.elapsed());
        let begun = Instant::now();
        bench.client.delete_sandbox(&sandbox.id).await?;
        delete.push_ms(begun.elapsed());
        worked?;

        let Some(hand) = &bench.hand else { continue };
        let bench_made = hand.prepare(by_hand::MEMORY).await?;
        let begun = Instant::now();
        let guest = bench_made.boot().await?;
        let worked = guest.exec_true().await;
        create_by_hand.push_ms(begun.elapsed());
        let begun = Instant::now();
        guest.end().await?;
        delete_by_hand.push_ms(begun.elapsed());
        worked?;
    }
    Ok((
        Figure::new(
            "create, cold",
            "ms",
            Goal::RatioAtMost(1.15),
            &create,
            &create_by_hand,
        ),
        Figure::new(
            "delete to nothing left",
            "ms",
            Goal::AtMost(150.0),
            &delete,
            &delete_by_hand,
        ),
    ))
}
