//! A guest that dirties its memory, is paused and resumed, again and again: each pause is based on the one before.
//!
//! By hand it is the same guest, which dirties as much: QEMU stopped, its state saved, the page map asked, its pages
//! copied over a clone of the image that it maps, its disk's layer cloned; then a new QEMU on that image. What both have
//! to wait for until it is on the platter stands apart: it is the disk's time, and no one's work.

use std::time::Instant;

use anyhow::Result;
use wrenn_client::api::{Paused, ResumeRequest, Sandbox};
use wrenn_model::MiB;

use super::Bench;
use super::by_hand::{self, Guest};
use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::written::LastPause;

/// The steps of a pause before the guest stands still, while the disk is waited for, and after it is published.
const NOT_COUNTED: [&str; 3] = ["quiesce", SYNC, "retire"];
const SYNC: &str = "sync";

/// A guest, and what it does between two pauses.
struct Case {
    memory: MiB,
    /// How much a program writes to memory, in MiB. The guest around it dirties some more.
    writes: u32,
    names: Names,
}

/// What its figures are called: each by a name of its own, for whoever reads them as JSON.
struct Names {
    pause: &'static str,
    sync: &'static str,
    written: &'static str,
    resume: &'static str,
    first: &'static str,
    late: &'static str,
}

macro_rules! names {
    ($what:literal) => {
        Names {
            pause: concat!("pause, ", $what),
            sync: concat!("  in fsync, ", $what),
            written: concat!("  written beside dirtied, ", $what),
            resume: concat!("resume to first exit code, ", $what),
            first: concat!("  of generations 1 to 5, ", $what),
            late: concat!("  from the 10th on, ", $what),
        }
    };
}

const CASES: [Case; 3] = [
    Case {
        memory: by_hand::MEMORY,
        writes: 12,
        names: names!("17 MiB"),
    },
    Case {
        memory: by_hand::MEMORY,
        writes: 63,
        names: names!("68 MiB"),
    },
    Case {
        memory: MiB(4096),
        writes: 12,
        names: names!("17 MiB of 4 GiB"),
    },
];

/// The figures of pause and resume.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    // What the first case took: one with as much to write should take as long, however large its guest is.
    let mut small = None;
    for case in CASES {
        let sandbox = match bench.create_with(Some(case.memory)).await {
            Ok(sandbox) => sandbox,
            // The large one may be more than the host has.
            Err(error) if case.memory > by_hand::MEMORY => {
                tracing::warn!("not measured, {}: {error:#}", case.names.pause);
                continue;
            }
            Err(error) => return Err(error),
        };
        let measured = bench.with(sandbox, async |sandbox| {
            let mut hand = match &bench.hand {
                Some(hand) => Some(hand.prepare(case.memory).await?.boot().await?),
                None => None,
            };
            let measured = rounds(bench, &case, sandbox, hand.as_mut()).await;
            if let Some(hand) = hand {
                hand.end().await?;
            }
            measured
        });
        let measured = measured.await?;
        let goal = if case.memory > by_hand::MEMORY {
            Goal::Like("that of 512 MiB", small)
        } else {
            Goal::RatioAtMost(2.0)
        };
        small = small.or(measured.wrenn.pause.median());
        figures.extend(measured.figures(&case.names, goal));
    }
    Ok(figures)
}

/// What was measured on one side.
#[derive(Default)]
struct Side {
    pause: Samples,
    sync: Samples,
    /// MiB: on Wrenn's side what a pause wrote, by hand what the guest had written.
    bytes: Samples,
    /// In the order of generations.
    resume: Samples,
}

#[derive(Default)]
struct Sides {
    wrenn: Side,
    hand: Side,
}

async fn rounds(
    bench: &Bench,
    case: &Case,
    sandbox: &Sandbox,
    mut hand: Option<&mut Guest<'_>>,
) -> Result<Sides> {
    let mut sides = Sides::default();
    // The first pause has all that the boot has written, and is not counted.
    for round in 0..=bench.rounds {
        bench.round(case.names.pause, round.max(1) - 1);
        sides.wrenn.round(bench, case, sandbox, round > 0).await?;
        if let Some(guest) = &mut hand {
            sides.hand.round_by_hand(guest, case, round > 0).await?;
        }
    }
    Ok(sides)
}

impl Side {
    async fn round(
        &mut self,
        bench: &Bench,
        case: &Case,
        sandbox: &Sandbox,
        counted: bool,
    ) -> Result<()> {
        bench.exec(sandbox, "dd", &writing(case.writes)).await?;
        let last = match bench.hand {
            Some(_) => Some(LastPause::of(&bench.data, &sandbox.id)?),
            None => None,
        };
        let paused = bench.client.pause(&sandbox.id).await?;
        if counted {
            self.pause
                .push(time_in(&paused, |step| !NOT_COUNTED.contains(&step)));
            self.sync.push(time_in(&paused, |step| step == SYNC));
            if let Some(last) = last {
                self.bytes.push(mib(last.written_since()?));
            }
        }
        let begun = Instant::now();
        let request = ResumeRequest::default();
        bench.client.resume(&sandbox.id, &request).await?;
        bench.exec_true(sandbox).await?;
        self.resume.push_ms(begun.elapsed());
        Ok(())
    }

    async fn round_by_hand(
        &mut self,
        guest: &mut Guest<'_>,
        case: &Case,
        counted: bool,
    ) -> Result<()> {
        guest.exec("dd", &writing(case.writes)).await?;
        let captured = guest.pause().await?;
        if counted {
            self.pause.push_ms(captured.took);
            self.sync.push_ms(captured.fsync);
            self.bytes.push(mib(captured.dirtied));
        }
        self.resume.push_ms(guest.resume().await?);
        Ok(())
    }
}

impl Sides {
    fn figures(&self, names: &Names, goal: Goal) -> Vec<Figure> {
        let Self { wrenn, hand } = self;
        let mut figures = vec![
            Figure::new(names.pause, "ms", goal, &wrenn.pause, &hand.pause),
            Figure::new(names.sync, "ms", Goal::None, &wrenn.sync, &hand.sync),
            Figure::new(
                names.written,
                "MiB",
                Goal::RatioAtMost(1.3),
                &wrenn.bytes,
                &hand.bytes,
            ),
            Figure::new(
                names.resume,
                "ms",
                Goal::RatioAtMost(1.3),
                &wrenn.resume,
                &hand.resume,
            ),
        ];
        let first = wrenn.resume.some(0..5).median();
        for (name, goal, generations) in [
            (names.first, Goal::None, 0..5),
            (names.late, Goal::Like("the first", first), 9..usize::MAX),
        ] {
            let [wrenn, hand] = [wrenn, hand].map(|side| side.resume.some(generations.clone()));
            figures.push(Figure::new(name, "ms", goal, &wrenn, &hand));
        }
        figures
    }
}

/// What `dd` is told to write so many MiB of no order to memory, to the same pages each time.
pub(super) fn writing(mib: u32) -> [String; 5] {
    [
        "if=/dev/urandom".to_owned(),
        "of=/dev/shm/dirty".to_owned(),
        "bs=1M".to_owned(),
        format!("count={mib}"),
        "conv=notrunc".to_owned(),
    ]
}

/// Milliseconds in some of the steps.
fn time_in(paused: &Paused, counts: impl Fn(&str) -> bool) -> f64 {
    let steps = paused.timings.iter();
    steps
        .filter(|timing| counts(&timing.step))
        .map(|timing| timing.ms)
        .sum()
}

fn mib(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "MiB with two digits")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}
