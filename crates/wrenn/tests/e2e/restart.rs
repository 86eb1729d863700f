//! Wrenn may end at any moment, in any way: sandboxes go on.

use std::time::Duration;

use wrenn_client::api::{CreateSandbox, ResumeRequest, StartCommand};
use wrenn_client::{Client, ExecEvent};

use crate::harness::{MEMORY, Server, TestSandbox, until, wrenn};

/// Counts in a file, for as long as it lives.
async fn start_counting(client: &Client, sandbox: &TestSandbox) {
    let script = "i=0; while :; do i=$((i+1)); echo $i > /run/count; sleep 0.1; done";
    let command = StartCommand {
        cmd: "sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        detach: true,
        ..Default::default()
    };
    let (control, mut events) = client.exec_stream(&sandbox.id, &command).await.unwrap();
    assert!(matches!(
        events.next().await.unwrap(),
        ExecEvent::Start { .. }
    ));
    drop((control, events));
    until("the first count", Duration::from_secs(20), || async {
        count(sandbox, client).await
    })
    .await;
}

async fn count(sandbox: &TestSandbox, client: &Client) -> Option<u64> {
    // It is empty for a moment each time that it is written.
    let request = crate::harness::shell(
        "until count=$(cat /run/count) && [ \"$count\" ]; do :; done; echo $count",
    );
    let done = client.exec(&sandbox.id, &request).await.unwrap();
    done.stdout.trim().parse().ok()
}

async fn boot_id(sandbox: &TestSandbox, client: &Client) -> String {
    let request = crate::harness::shell("cat /proc/sys/kernel/random/boot_id");
    client.exec(&sandbox.id, &request).await.unwrap().stdout
}

#[tokio::test]
async fn a_command_outlives_the_death_of_wrenn() {
    let mut server = Server::start();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    start_counting(&client, &sandbox).await;
    let boot = boot_id(&sandbox, &client).await;

    for signal in ["KILL", "TERM"] {
        let before = count(&sandbox, &server.client()).await.unwrap();
        if signal == "KILL" {
            server.kill();
        } else {
            let (status, said) = server.terminate();
            assert!(status.success(), "{status}: {said}");
        }
        server.resume();
        let client = server.client();
        let now = client.sandbox(&sandbox.id).await.unwrap();
        assert_eq!(now.status, "running", "after SIG{signal}");
        assert_eq!(
            boot_id(&sandbox, &client).await,
            boot,
            "the same guest after SIG{signal}"
        );
        let after = count(&sandbox, &client).await.unwrap();
        assert!(after > before, "the command is alive after SIG{signal}");
        until("the next count", Duration::from_secs(20), || async {
            count(&sandbox, &client)
                .await
                .filter(|count| *count > after)
        })
        .await;
    }
    assert!(server.client().delete_sandbox(&sandbox.id).await.unwrap());
}

#[tokio::test]
async fn a_create_that_is_cut_by_a_kill_leaves_nothing_half() {
    let mut server = Server::start();
    for delay_ms in [50, 400, 1500] {
        let client = server.client();
        let request = CreateSandbox {
            memory_mb: Some(MEMORY),
            ..Default::default()
        };
        let creating = tokio::spawn(async move { client.create_sandbox(&request).await });
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        server.kill();
        drop(creating.await.unwrap());
        server.resume();
        let client = server.client();
        until("a settled sandbox", Duration::from_secs(150), || async {
            let all = client.sandboxes().await.unwrap();
            all.iter()
                .all(|sandbox| sandbox.transition.is_none() && sandbox.status != "pending")
                .then_some(())
        })
        .await;
    }
    // The server's end checks that the kernel has nothing of them.
}

#[tokio::test]
async fn down_ends_what_a_dead_wrenn_left() {
    let mut server = Server::start();
    let sandbox = TestSandbox::create(&server.client()).await;
    server.kill();
    let output = server.down();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["destroyed"], 1);

    server.resume();
    let client = server.client();
    until(
        "the end of the sandbox",
        Duration::from_secs(60),
        || async { (client.sandbox(&sandbox.id).await.unwrap().status == "stopped").then_some(()) },
    )
    .await;
}

#[tokio::test]
async fn a_down_that_fails_lets_nothing_begin_and_may_be_asked_again() {
    let mut server = Server::start();
    let client = server.client();
    TestSandbox::create(&client).await;
    let paused = TestSandbox::create(&client).await;
    paused.pause().await;
    // The store can not be unmounted while somebody is in it.
    let held = std::fs::File::open(server.data().join("store/templates")).unwrap();
    let refused = wrenn(&server.data()).arg("down").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("run `wrenn down` again"), "{said}");
    // The rules that keep guests from the host are gone by now.
    for begun in [
        client.create_sandbox(&CreateSandbox::default()).await.err(),
        client
            .resume(&paused.id, &ResumeRequest::default())
            .await
            .err(),
    ] {
        let error = begun.expect("nothing begins any more");
        assert_eq!(error.api().unwrap().code, "unavailable", "{error}");
    }
    drop(held);
    assert!(server.down().status.success());
    server.resume();
    let paused = TestSandbox::of(
        &server.client(),
        server.client().sandbox(&paused.id).await.unwrap(),
    );
    paused.resume().await;
    paused.delete().await;
}
