//! A network policy in the database follows the one that the agent has.

mod common;

use common::Bench;
use wrenn_hostagent_api as rpc;
use wrenn_model::NetworkPolicy;

/// The server ended between the agent's answer and its own write.
#[tokio::test]
async fn the_agents_word_holds() {
    let mut bench = Bench::new().await;
    let made = bench.create().await;
    assert_eq!(made.network, NetworkPolicy::default());
    let mut sandbox = bench.agent.sandbox(made.id.as_str()).unwrap();
    sandbox.network = rpc::NetworkPolicy {
        allow: vec!["192.0.2.0/24".into()],
        ..Default::default()
    }
    .into();
    bench.agent.put(sandbox);
    bench.reopen().await;
    let row = bench.until(&made.id, |row| !row.network.internet).await;
    assert_eq!(row.network.allow, ["192.0.2.0/24".parse().unwrap()]);
}
