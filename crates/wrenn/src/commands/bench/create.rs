//! How long until the first exit code comes out of a sandbox that is restored: of one that stands ready, of one whose VMM stands by,
//! and of one that has to be started. Beside the first stands a clone by hand that was used once and stopped, and gets the same two
//! calls; beside the others a bare QEMU that is started and loads the same state, and beside the second also one that was started
//! before.

use std::time::Instant;

use anyhow::{Result, ensure};
use wrenn_client::api::CreateSandbox;

use super::by_hand::{self, Image, Started, Waiting};
use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::overhead;
use super::pool::Shape;
use super::{Bench, FirstSteps};

/// A create's durable writes: two in the store, two in the journal.
const WRITES: usize = 4;

/// The figures with a full pool, with VMMs that stand by alone, and with an empty pool.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let image = match &bench.hand {
        Some(hand) => Some(hand.image(by_hand::MEMORY).await?),
        None => None,
    };
    let pool = Shape::of(bench).await?;
    let measured = all(bench, &pool, image.as_ref()).await;
    pool.restore().await?;
    if let Some(image) = image {
        image.remove().await?;
    }
    measured
}

async fn all(bench: &Bench, pool: &Shape<'_>, image: Option<&Image<'_>>) -> Result<Vec<Figure>> {
    let mut figures = from_the_pool(bench, pool, image).await?;
    figures.extend(from_a_started_vmm(bench, pool, image).await?);
    pool.drain().await?;
    figures.push(from_nothing(bench, image).await?);
    Ok(figures)
}

/// What stands ready, one at a time, with time in between for another to stand ready.
async fn from_the_pool(
    bench: &Bench,
    pool: &Shape<'_>,
    image: Option<&Image<'_>>,
) -> Result<Vec<Figure>> {
    let [mut wrenn, mut by_hand] = <[Split; 2]>::default();
    let mut durable = Samples::default();
    pool.warm().await?;
    for round in 0..bench.rounds {
        bench.round("create from the pool", round);
        let waiting = match image {
            Some(image) => Some(image.waiting().await?),
            None => None,
        };
        wrenn.push_tried(taken(bench, pool).await?);
        if let Some(waiting) = waiting {
            by_hand.push(by_hand_out(waiting).await?);
            durable.push_ms(overhead::durable_writes(&bench.data, WRITES)?);
        }
    }
    let none = Samples::default();
    let goal = Goal::RatioAndMore(1.5, durable.median());
    let figure = |name, goal, wrenn, by_hand| Figure::new(name, "ms", goal, wrenn, by_hand);
    Ok(vec![
        figure("create from the pool", goal, &wrenn.in_all, &by_hand.in_all),
        figure(
            "  the creation",
            Goal::None,
            &wrenn.creation,
            &by_hand.creation,
        ),
        figure(
            "  the first command",
            Goal::None,
            &wrenn.command,
            &by_hand.command,
        ),
        figure(
            "  its median alone",
            Goal::AtMost(25.0),
            &wrenn.in_all,
            &none,
        ),
        figure(
            "  the slowest of them",
            Goal::Below(60.0),
            &wrenn.in_all,
            &none,
        ),
        figure("  four durable writes", Goal::None, &none, &durable),
    ])
}

/// What was measured whole, and in its two parts.
#[derive(Debug, Default)]
struct Split {
    in_all: Samples,
    creation: Samples,
    command: Samples,
}

impl Split {
    fn push_tried(&mut self, tried: Result<FirstSteps>) {
        match tried {
            Ok(steps) => self.push(steps),
            Err(error) => self.in_all.push_tried("a create from the pool", Err(error)),
        }
    }

    fn push(&mut self, steps: FirstSteps) {
        self.in_all.push_ms(steps.in_all());
        self.creation.push_ms(steps.creation);
        self.command.push_ms(steps.command);
    }
}

/// A VMM has only to load the boot image, one at a time, with time in between for another to stand by.
async fn from_a_started_vmm(
    bench: &Bench,
    pool: &Shape<'_>,
    image: Option<&Image<'_>>,
) -> Result<Vec<Figure>> {
    let [mut wrenn, mut by_hand, mut by_hand_started] = <[Samples; 3]>::default();
    pool.start().await?;
    for round in 0..bench.rounds {
        bench.round("create from a started VMM", round);
        let tried = taken(bench, pool).await?.map(FirstSteps::in_all);
        wrenn.push_tried("a create from a started VMM", tried);
        if let Some(image) = image {
            bare_restore(image, &mut by_hand).await?;
            by_hand_loaded(image.started().await?, &mut by_hand_started).await?;
        }
    }
    let figure = |name, goal, by_hand| Figure::new(name, "ms", goal, &wrenn, by_hand);
    Ok(vec![
        figure(
            "create from a started VMM",
            Goal::RatioAtMost(1.3),
            &by_hand,
        ),
        figure(
            "  beside a QEMU that was started",
            Goal::None,
            &by_hand_started,
        ),
    ])
}

/// One create, which takes what the pool has. It fails where that was nothing.
async fn taken(bench: &Bench, pool: &Shape<'_>) -> Result<Result<FirstSteps>> {
    let hits = pool.full().await?;
    let tried = bench.first_steps(&request(bench)).await;
    let found = pool.full().await? > hits;
    Ok(tried.and_then(|took| {
        ensure!(found, "nothing stood ready");
        Ok(took)
    }))
}

async fn by_hand_out(waiting: Waiting<'_>) -> Result<FirstSteps> {
    let begun = Instant::now();
    let guest = waiting.hand_out().await?;
    let creation = begun.elapsed();
    let worked = guest.exec_true().await;
    let command = begun.elapsed().saturating_sub(creation);
    guest.end().await?;
    worked?;
    Ok(FirstSteps { creation, command })
}

async fn by_hand_loaded(started: Started<'_>, samples: &mut Samples) -> Result<()> {
    let begun = Instant::now();
    let guest = started.restore().await?;
    let worked = guest.exec_true().await;
    samples.push_ms(begun.elapsed());
    guest.end().await?;
    worked
}

/// A QEMU is started, and loads the image.
async fn bare_restore(image: &Image<'_>, samples: &mut Samples) -> Result<()> {
    let prepared = image.prepare().await?;
    let begun = Instant::now();
    let guest = image.restore(prepared).await?;
    let worked = guest.exec_true().await;
    samples.push_ms(begun.elapsed());
    guest.end().await?;
    worked
}

/// Nothing stands ready: a VMM is started and loads the boot image.
async fn from_nothing(bench: &Bench, image: Option<&Image<'_>>) -> Result<Figure> {
    let [mut wrenn, mut by_hand] = <[Samples; 2]>::default();
    // The first one may have to boot, for the image of the others.
    bench.first_exit_code(&request(bench)).await?;
    for round in 0..bench.rounds {
        bench.round("create, the pool empty", round);
        let tried = bench.first_exit_code(&request(bench)).await;
        wrenn.push_tried("a create", tried);
        if let Some(image) = image {
            bare_restore(image, &mut by_hand).await?;
        }
    }
    Ok(Figure::new(
        "create, the pool empty",
        "ms",
        Goal::RatioAtMost(1.3),
        &wrenn,
        &by_hand,
    ))
}

fn request(bench: &Bench) -> CreateSandbox {
    CreateSandbox {
        template: Some(bench.template.clone()),
        ..Default::default()
    }
}
