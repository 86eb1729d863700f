//! Slots that stand ready: whoever starts has one of them, under its own policy, and none is left over.

use std::collections::HashSet;
use std::path::PathBuf;

use wrenn_client::api::{CreateSandbox, Network};
use wrenn_testkit::world::{INTERNET, Service};

use crate::harness::{Server, TestSandbox, until};
use crate::network_policy::reached;
use crate::pools::FILL_LIMIT;

/// Where the world outside answers.
const PORT: u16 = 7072;
/// How many are to stand ready.
const SLOTS: u32 = 2;

/// The virtual machines whose slots there are.
fn slots(server: &Server) -> HashSet<String> {
    let instance = std::fs::read_to_string(server.data().join("instance")).unwrap();
    let label = format!("wrenn-{}-", instance.trim());
    let names = std::fs::read_dir("/run/netns").unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| Some(name.strip_prefix(&label)?.to_owned()))
        .collect()
}

/// The one that a sandbox has.
pub(crate) fn machine_of(server: &Server, sandbox: &TestSandbox) -> String {
    let folder = server.data().join("store/sandboxes").join(&sandbox.id);
    let names = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names = names.map(|name| name.into_string().unwrap());
    names.find(|name| name.starts_with("vm-")).unwrap()
}

/// Waits until as many stand ready as are to.
async fn full(server: &Server) -> HashSet<String> {
    until("slots that stand ready", FILL_LIMIT, || async {
        (server.client().pools().await.ok()?.slots == SLOTS).then(|| slots(server))
    })
    .await
}

fn start() -> Server {
    Server::start_with_env(&[("WRENN_READY_SLOTS", PathBuf::from(SLOTS.to_string()))])
}

#[tokio::test]
async fn who_starts_or_comes_back_has_one_that_stood_ready_under_its_own_policy() {
    let _answers = Service::tcp_echo(PORT).unwrap();
    let server = start();
    let client = server.client();
    let closed = Network {
        internet: false,
        ..Network::default()
    };
    for (policy, reaches) in [(None, true), (Some(closed), false)] {
        let ready = full(&server).await;
        let request = CreateSandbox {
            network: policy,
            ..CreateSandbox::default()
        };
        let sandbox = TestSandbox::create_with(&client, request).await;
        assert!(ready.contains(&machine_of(&server, &sandbox)));
        assert_eq!(reached(&sandbox, PORT).await.contains(&INTERNET), reaches);
        let ready = full(&server).await;
        sandbox.pause().await;
        sandbox.resume().await;
        assert!(ready.contains(&machine_of(&server, &sandbox)));
        assert_eq!(reached(&sandbox, PORT).await.contains(&INTERNET), reaches);
        sandbox.delete().await;
    }
}

#[tokio::test]
async fn an_agent_that_starts_anew_takes_those_of_the_former_away() {
    let mut server = start();
    let sandbox = TestSandbox::create(&server.client()).await.id.clone();
    let before = full(&server).await;
    server.kill();
    server.resume();
    let client = server.client();
    let sandbox = TestSandbox::of(&client, client.sandbox(&sandbox).await.unwrap());
    let kept = machine_of(&server, &sandbox);
    let after = full(&server).await;
    let both: Vec<_> = before.intersection(&after).collect();
    assert_eq!(both, [&kept], "{before:?} {after:?}");
    assert_eq!(after.len(), 1 + SLOTS as usize);
    assert_eq!(sandbox.sh("echo here").await, "here\n");
}
