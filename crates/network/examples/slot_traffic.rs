//! What policies and limits cost: `scripts/in-world cargo run --release -p wrenn-network --example slot_traffic`.
//!
//! The guest is testkit's, whose frames a thread copies one by one: the figures compare slots, they say nothing about
//! what a virtual machine gets through one.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use wrenn_model::{InstanceId, NetworkPolicy, Subnet, VmId};
use wrenn_network::{
    Config, GATEWAY_ADDRESS, GUEST_ADDRESS, GUEST_MAC, GUEST_PREFIX, Limits, Network, SlotIndexes,
};
use wrenn_testkit::guest::{FakeGuest, Identity};
use wrenn_testkit::world::{INTERNET, outside};

const PORT: u16 = 4600;
const FOR: Duration = Duration::from_secs(5);
const CHANGES: u32 = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let unlimited = Limits {
        bytes_per_sec: 1 << 40,
        packets_per_sec: 1 << 30,
        ..Limits::default()
    };
    let halved = Limits {
        bytes_per_sec: 20_000_000,
        ..Limits::default()
    };
    let open = NetworkPolicy::default();
    let longest = longest();
    for (name, limits, policy) in [
        ("no limit, default policy", unlimited, &open),
        ("no limit, longest policy", unlimited, &longest),
        ("default limits and policy", Limits::default(), &open),
        ("20 MB/s", halved, &open),
    ] {
        measure(name, limits, policy).await?;
    }
    Ok(())
}

/// Every list is full, and the address that is used is the last one of them.
fn longest() -> NetworkPolicy {
    let list = |first| (0..63).map(move |n| Subnet::host(Ipv4Addr::new(first, 0, 0, n)));
    NetworkPolicy {
        internet: false,
        allow: list(8).chain([Subnet::host(INTERNET)]).collect(),
        deny: list(9).collect(),
    }
}

async fn measure(name: &str, limits: Limits, policy: &NetworkPolicy) -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let network = Network::open(Config {
        instance: InstanceId::random(),
        state_dir: state.path().to_owned(),
        ranges: None,
        resolvers: Vec::new(),
        uplink: None,
        opened: Vec::new(),
        limits,
    })
    .await?;
    let index = SlotIndexes::new([]).allocate().unwrap_or(1);
    let plan = network.plan(index, &VmId::random());
    let mut slot = network.create(&plan, policy).await?;
    let identity = Identity {
        address: GUEST_ADDRESS,
        prefix: GUEST_PREFIX,
        gateway: GATEWAY_ADDRESS,
        mac: GUEST_MAC,
    };
    let tap = slot.take_tap().ok_or("the slot has no TAP")?;
    let guest = FakeGuest::start(tap, identity).await?;
    let mut rates = Vec::new();
    for upward in [true, false] {
        let listener = outside(|| TcpListener::bind((INTERNET, PORT)))?;
        let inner = guest.connect((INTERNET, PORT), FOR)?;
        let outer = listener.accept()?.0;
        let (from, to) = if upward {
            (inner, outer)
        } else {
            (outer, inner)
        };
        rates.push(stream(from, to)?);
    }
    let begun = Instant::now();
    for _ in 0..CHANGES {
        network.change(&plan, policy).await?;
    }
    let change = begun.elapsed() / CHANGES;
    println!(
        "{name:26}  up {:5.0} Mbit/s, down {:5.0} Mbit/s, a change {change:?}",
        rates[0], rates[1]
    );
    drop(guest);
    network.close().await?;
    Ok(())
}

/// Megabits a second.
fn stream(mut from: TcpStream, mut to: TcpStream) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    let sending = std::thread::spawn(move || {
        let piece = vec![7; 64 << 10];
        while begun.elapsed() < FOR && from.write_all(&piece).is_ok() {}
    });
    let (mut received, mut buffer) = (0_u64, vec![0; 256 << 10]);
    while let length @ 1.. = to.read(&mut buffer)? {
        received += length as u64;
    }
    if sending.join().is_err() {
        return Err("the sender failed".into());
    }
    Ok(received as f64 * 8.0 / 1e6 / begun.elapsed().as_secs_f64())
}
