//! What hostile answers cost: the memory of this process, measured while it is answered. One test, since a process has but
//! one highest mark.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod guest;

use std::time::Duration;

use guest::{Guest, PLAIN, STREAM, UNARY, follow, frame, started, true_};
use tokio::time::Instant;

/// What one call may take, the attacker's own buffers in this process and what the allocator keeps included.
const MOST: u64 = 16 << 20;

/// How long each is kept up.
const LIMIT: Duration = Duration::from_secs(20);

/// In bytes, from /proc/self/status.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

/// The most that this process takes beyond what it has, while `attack` goes on.
async fn cost(attack: impl Future<Output = ()>) -> u64 {
    // Sets the highest mark back to what is taken now: proc_pid_clear_refs(5).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    attack.await;
    memory("VmHWM").saturating_sub(before)
}

async fn answered(first: Vec<u8>, then: Vec<u8>) {
    let guest = Guest::answering(first, then).await;
    let client = guest.client();
    // Each in the way that reads most of it; which error it is, others test.
    client.processes().await.unwrap_err();
    client.metrics().await.unwrap_err();
    follow(&guest).await;
}

#[tokio::test]
async fn no_answer_fills_the_memory() {
    let with = |head: &str, rest: &[u8]| [head.as_bytes(), rest].concat();
    let stream = |rest: &[u8]| [STREAM.as_bytes(), &started(), rest].concat();
    let empty_elements = [0x0a, 0x00].repeat(512 << 10);
    // A field of a number that nobody knows, nested in itself as deep as a megabyte allows.
    let unknown = [0x7b].repeat(1 << 20);
    let attacks: [(&str, Vec<u8>, Vec<u8>); 9] = [
        ("a body without end", with(PLAIN, b""), vec![b' '; 64 << 10]),
        (
            "a header without end",
            b"HTTP/1.1 200 OK\r\nx: ".to_vec(),
            vec![b'y'; 64 << 10],
        ),
        (
            "a list of nothings",
            with(UNARY, &empty_elements),
            Vec::new(),
        ),
        ("fields of no meaning", with(UNARY, &unknown), Vec::new()),
        (
            "a list without end",
            with(UNARY, b""),
            empty_elements.clone(),
        ),
        (
            "a frame of 4 GiB",
            stream(&[0, 0xff, 0xff, 0xff, 0xff]),
            vec![0; 64 << 10],
        ),
        (
            "a frame of nothings",
            stream(&frame(0, &empty_elements[..200 << 10])),
            Vec::new(),
        ),
        (
            "an end full of numbers",
            stream(&frame(2, &b"[0,".repeat(20 << 10))),
            Vec::new(),
        ),
        (
            "a refusal full of numbers",
            b"HTTP/1.1 500 X\r\nconnection: close\r\n\r\n{\"code\":[0".to_vec(),
            b",0".repeat(30 << 10),
        ),
    ];
    // The first call ever pays for what all share.
    cost(answered(with(PLAIN, b"x"), Vec::new())).await;
    for (name, first, then) in attacks {
        let begun = Instant::now();
        let taken = cost(answered(first, then)).await;
        println!("{name}: {} KiB in {:?}", taken >> 10, begun.elapsed());
        assert!(taken < MOST, "{name}: {taken} bytes");
        assert!(begun.elapsed() < LIMIT, "{name}: {:?}", begun.elapsed());
    }
    let taken = cost(unread()).await;
    println!("streams that nobody reads: {} KiB", taken >> 10);
    assert!(taken < MOST, "{taken} bytes");
}

/// Streams that were begun and are not read.
async fn unread() {
    let event = frame(0, &[0x0a, 0x06, 0x12, 0x04, 0x0a, 0x02, b'x', b'x']);
    let answer = [STREAM.as_bytes(), &started()].concat();
    let guest = Guest::answering(answer, event.repeat(10_000)).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(guest.client().start(true_()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
}
