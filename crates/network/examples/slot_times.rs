//! How long slots take: `scripts/in-world cargo run --release -p wrenn-network --example slot_times`.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use wrenn_model::{InstanceId, NetworkPolicy, VmId};
use wrenn_network::{Config, Error, Limits, Network, SlotIndexes, SlotPlan};
use wrenn_sys::netns;

const ROUNDS: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let state = tempfile::tempdir()?;
    let config = Config {
        instance: InstanceId::random(),
        state_dir: state.path().to_owned(),
        ranges: None,
        resolvers: Vec::new(),
        uplink: None,
        opened: Vec::new(),
        limits: Limits::default(),
    };
    let network = Network::open(config.clone()).await?;
    let measured = measure(&network).await;
    let standing = fill(&network, 200).await;
    let (_, took) = timed(Network::open(config)).await?;
    println!("open with 200 slots standing  {took:?}");
    network.close().await?;
    standing?;
    measured
}

async fn measure(network: &Network) -> Result<(), Box<dyn std::error::Error>> {
    let policy = NetworkPolicy::default();
    let mut indexes = SlotIndexes::new([]);
    let mut plan = || network.plan(indexes.allocate().unwrap_or(1), &VmId::random());
    let (mut creates, mut entries, mut removes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plan = plan();
        let (slot, took) = timed(network.create(&plan, &policy)).await?;
        creates.push(took);
        let begun = Instant::now();
        let namespace = netns::open(&plan.label)?;
        netns::enter(namespace, || Ok(())).await?;
        entries.push(begun.elapsed());
        drop(slot);
        removes.push(timed(network.remove(&plan)).await?.1);
    }
    print("create", creates);
    print("enter", entries);
    print("remove", removes);
    let plans: Vec<SlotPlan> = (0..20).map(|_| plan()).collect();
    let (_, took) = timed(try_join_all(
        plans.iter().map(|plan| network.create(plan, &policy)),
    ))
    .await?;
    println!("20 creates at once  {took:?}");
    let (_, took) = timed(try_join_all(plans.iter().map(|plan| network.remove(plan)))).await?;
    println!("20 removes at once  {took:?}");
    Ok(())
}

async fn fill(network: &Network, count: u16) -> Result<(), Error> {
    for index in 1..=count {
        network
            .create(
                &network.plan(index, &VmId::random()),
                &NetworkPolicy::default(),
            )
            .await?;
    }
    Ok(())
}

async fn timed<T>(work: impl Future<Output = Result<T, Error>>) -> Result<(T, Duration), Error> {
    let begun = Instant::now();
    let result = work.await?;
    Ok((result, begun.elapsed()))
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what:18} median {:?}, p95 {:?}",
        times[times.len() / 2],
        times[times.len() * 95 / 100]
    );
}
