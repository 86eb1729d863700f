//! How long saving and loading take, phase by phase. Run it alone, on a machine that is otherwise idle:
//! `cargo test --release -p wrenn-vmm --test figures -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod lab;

use std::time::{Duration, Instant};

use lab::Lab;
use lab::generation::{Generation, WORK, begins};
use wrenn_vmm::Vmm;

const ROUNDS: usize = 20;

#[tokio::test]
#[ignore = "it measures"]
async fn figures() {
    let lab = Lab::new().await;
    let spec = lab.vm(WORK).await;
    let machine = lab.start(&spec).await;
    begins(&machine, 3).await;
    machine.freeze().await.unwrap();
    let saved = Generation::save(&lab, None, &spec, &machine).await;
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();

    let mut phases: [Vec<Duration>; 5] = Default::default();
    let mut written = 0;
    for _ in 0..ROUNDS {
        let spec = saved.spec(&lab).await;
        let mut lap = Lap::begin();
        let machine = saved.restore(&lab, &spec).await.unwrap();
        phases[0].push(lap.end());
        machine.thaw().await.unwrap();
        phases[1].push(lap.end());
        saved.goes_on(&machine, 3).await;
        lap.end();
        machine.freeze().await.unwrap();
        phases[2].push(lap.end());
        let capture = machine.capture().await.unwrap();
        phases[3].push(lap.end());
        written = capture.pieces.iter().map(|piece| piece.len >> 10).sum();
        lap.end();
        lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
        phases[4].push(lap.end());
    }
    let names = ["restore", "thaw", "freeze", "capture", "remove"];
    for (name, mut times) in names.into_iter().zip(phases) {
        times.sort();
        let (least, half, most) = (times[0], times[ROUNDS / 2], times[ROUNDS * 19 / 20]);
        println!("{name}: least {least:?}, p50 {half:?}, p95 {most:?}");
    }
    println!("{written} KiB written by the guest between");
}

struct Lap(Instant);

impl Lap {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn end(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}
