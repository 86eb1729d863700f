//! Fifty pauses and resumes of one sandbox that works all the time: it never notices, but for the clock.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use wrenn_client::api::CreateSandbox;

use crate::harness::{TestSandbox, shared, shell};

const ROUNDS: usize = 50;

/// What the program does at least between two pauses.
const STEPS: u64 = 10;

/// Keeps a hash chain in memory and on disk and ends at the first difference.
const PROGRAM: &str = include_str!("pause/hash_chain.py");

/// What the program says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    pid: u32,
    step: u64,
}

async fn seen(sandbox: &TestSandbox) -> Option<Seen> {
    let file = sandbox.client.read_file(&sandbox.id, "/run/chain").await;
    let content: Vec<_> = file.ok()?.try_collect().await.ok()?;
    let text = String::from_utf8(content.concat()).ok()?;
    let (pid, step) = text.trim().split_once(' ')?;
    Some(Seen {
        pid: pid.parse().ok()?,
        step: step.parse().ok()?,
    })
}

/// Waits until the program has done more than `step` steps.
async fn beyond(sandbox: &TestSandbox, step: u64) -> Seen {
    let begun = Instant::now();
    loop {
        if let Some(seen) = seen(sandbox).await.filter(|seen| seen.step > step) {
            return seen;
        }
        if begun.elapsed() > Duration::from_secs(60) {
            let why = sandbox.exec(&shell("cat /root/failed")).await;
            panic!("no step follows {step}: {why:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn boot(sandbox: &TestSandbox) -> String {
    sandbox.sh("cat /proc/sys/kernel/random/boot_id").await
}

#[tokio::test]
async fn fifty_rounds_under_load_change_nothing() {
    let server = shared();
    let client = server.client();
    let request = CreateSandbox {
        memory_mb: Some(256),
        timeout_sec: Some(3600),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&client, request).await;
    let program = futures::stream::iter([Ok::<_, std::io::Error>(PROGRAM.into())]);
    client
        .write_file(&sandbox.id, "/root/hash_chain.py", program)
        .await
        .unwrap();
    sandbox.begin("exec python3 /root/hash_chain.py run").await;
    let first = beyond(&sandbox, 0).await;
    let first_boot = boot(&sandbox).await;
    let begun = Instant::now();
    let mut last = first.clone();
    let (mut pauses, mut resumes) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let began = Instant::now();
        sandbox.pause().await;
        pauses.push(began.elapsed());
        let began = Instant::now();
        sandbox.resume().await;
        let back = beyond(&sandbox, last.step - 1).await;
        resumes.push(began.elapsed());
        let now = beyond(&sandbox, back.step + STEPS).await;
        assert_eq!(now.pid, first.pid, "round {round}: another process");
        last = now;
    }
    let took = begun.elapsed();
    eprintln!(
        "{ROUNDS} rounds in {took:?}, {} steps; pause p50 {:?} p95 {:?}; resume to the first answer p50 {:?} p95 {:?}",
        last.step - first.step,
        percentile(&mut pauses, 50),
        percentile(&mut pauses, 95),
        percentile(&mut resumes, 50),
        percentile(&mut resumes, 95),
    );
    assert_eq!(boot(&sandbox).await, first_boot);
    sandbox.sh(&format!("kill {}", last.pid)).await;
    let lines: u64 = sandbox
        .sh("echo 3 > /proc/sys/vm/drop_caches; python3 /root/hash_chain.py check")
        .await
        .trim()
        .parse()
        .unwrap();
    assert!(
        lines >= last.step,
        "the log of {} steps has {lines} lines",
        last.step
    );
    assert_eq!(
        sandbox
            .sh("dmesg | grep -ciE 'ext4.*error|i/o error' || true")
            .await,
        "0\n"
    );
    sandbox.delete().await;
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}
