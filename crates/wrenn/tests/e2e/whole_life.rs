//! All that happens to a sandbox, one thing after the other: also where each VMM and each host has to show that it can do that.

use wrenn_client::api::{CreateSandbox, ForkResult, ForkSandbox};

use crate::harness::{Server, TestSandbox};

/// Which isolation the host has to have; whichever it has, where nobody says.
const WANTED: &str = "WRENN_TEST_ISOLATION";

/// Its memory and its disk as they were: a file in each.
const KEPT: &str = "cat /dev/shm/kept /root/kept";

#[tokio::test]
async fn a_sandbox_is_made_paused_resumed_and_forked() {
    // Nothing stands ready that would do the same beside it.
    let server = Server::start();
    let client = server.client();
    let source = TestSandbox::create_with(&client, CreateSandbox::default()).await;
    if let Ok(wanted) = std::env::var(WANTED) {
        assert_eq!(source.isolation.as_deref(), Some(wanted.as_str()));
    }
    assert_eq!(source.sh("uname -s").await, "Linux\n");
    source
        .sh("echo memory > /dev/shm/kept; echo disk > /root/kept")
        .await;

    // Twice: the second pause is made of the first one's image.
    for round in 1..=2 {
        source.pause().await;
        source.resume().await;
        let lines = source.sh(KEPT).await;
        assert_eq!(lines.lines().next(), Some("memory"), "round {round}");
        source.sh(&format!("echo {round} >> /root/kept")).await;
    }
    assert_eq!(source.sh(KEPT).await, "memory\ndisk\n1\n2\n");

    let request = ForkSandbox {
        count: Some(2),
        ..ForkSandbox::default()
    };
    let forked = client.fork(&source.id, &request).await.unwrap();
    let mut children = Vec::new();
    for result in forked.results {
        match result {
            ForkResult::Sandbox(child) => children.push(TestSandbox::of(&client, *child)),
            ForkResult::Error(error) => panic!("{error:?}"),
        }
    }
    for child in &children {
        assert_eq!(child.sh(KEPT).await, "memory\ndisk\n1\n2\n");
        child
            .sh("echo child > /dev/shm/kept; echo > /root/kept")
            .await;
    }
    assert_eq!(source.sh(KEPT).await, "memory\ndisk\n1\n2\n");
    children.push(source);
    for one in children {
        one.delete().await;
    }
}
