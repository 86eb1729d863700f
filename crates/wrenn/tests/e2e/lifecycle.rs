//! From create to the end, by whatever ends it.

use std::time::{Duration, Instant};

use futures::future::join_all;
use wrenn_client::api::CreateSandbox;

use crate::harness::{MEMORY, TestSandbox, shared, shell, until};

#[tokio::test]
async fn a_sandbox_lives_and_is_gone() {
    let server = shared();
    let client = server.client();
    let request = CreateSandbox {
        hostname: Some("spring".to_owned()),
        metadata: [("purpose".to_owned(), "test".to_owned())].into(),
        envs: [("GREETING".to_owned(), "hello".to_owned())].into(),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&client, request).await;
    assert!(sandbox.host_ip.is_some() && sandbox.started_at.is_some());
    assert!(matches!(
        sandbox.isolation.as_deref(),
        Some("kvm" | "emulated")
    ));
    assert_eq!(sandbox.metadata["purpose"], "test");

    let said = sandbox.sh("hostname; echo $GREETING $WRENN_SANDBOX $WRENN_SANDBOX_ID; tr '\\0' ' ' < /proc/1/cmdline").await;
    assert!(
        said.starts_with(&format!("spring\nhello true {}\n/init", sandbox.id)),
        "{said}"
    );
    assert!(
        client
            .sandboxes()
            .await
            .unwrap()
            .iter()
            .any(|other| other.id == sandbox.id)
    );

    let id = sandbox.id.clone();
    sandbox.delete().await;
    assert_eq!(client.sandbox(&id).await.unwrap().status, "stopped");
    assert!(
        client.delete_sandbox(&id).await.unwrap(),
        "deleting again is fine"
    );
    let error = client.exec(&id, &shell("true")).await.unwrap_err();
    assert_eq!(error.api().unwrap().code, "invalid_state", "{error}");
}

#[tokio::test]
async fn ten_at_once_are_each_their_own() {
    let server = shared();
    let client = server.client();
    let ten = join_all((0..10).map(|_| TestSandbox::create(&client))).await;
    let names = join_all(ten.iter().map(|sandbox| async {
        let name = sandbox
            .sh("cat /etc/machine-id; echo $WRENN_SANDBOX_ID > /root/mine; sync; cat /root/mine")
            .await;
        assert!(name.ends_with(&format!("{}\n", sandbox.id)), "{name}");
        name
    }))
    .await;
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 10, "{names:?}");
    let mut addresses: Vec<_> = ten
        .iter()
        .filter_map(|sandbox| sandbox.host_ip.clone())
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 10);
    join_all(ten.into_iter().map(TestSandbox::delete)).await;
}

#[tokio::test]
async fn a_guest_that_powers_off_is_stopped() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    // The command's own end may be lost with the guest.
    drop(sandbox.exec(&shell("poweroff")).await);
    let stopped = sandbox.becomes("stopped", Duration::from_secs(60)).await;
    assert!(stopped.status_reason.is_some());
    sandbox.delete().await;
}

#[tokio::test]
async fn a_guest_that_panics_is_an_error_with_its_console() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    drop(sandbox.exec(&shell("echo c > /proc/sysrq-trigger")).await);
    let failed = sandbox.becomes("error", Duration::from_secs(60)).await;
    let reason = failed.status_reason.unwrap();
    assert!(reason.contains("panic"), "{reason}");
    let console = sandbox.client.console(&sandbox.id).await.unwrap();
    let console = String::from_utf8_lossy(&console);
    assert!(console.contains("Kernel panic"), "{console}");
    sandbox.delete().await;
}

#[tokio::test]
async fn nobody_uses_it_and_it_goes() {
    let server = shared();
    let request = CreateSandbox {
        timeout_sec: Some(6),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&server.client(), request).await;
    let used = Instant::now();
    while used.elapsed() < Duration::from_secs(10) {
        sandbox.client.ping(&sandbox.id).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let asked = Instant::now();
    let stopped = sandbox.becomes("stopped", Duration::from_secs(30)).await;
    assert!(
        asked.elapsed() > Duration::from_secs(2),
        "a ping resets the timer"
    );
    assert!(stopped.status_reason.is_some());
}

#[tokio::test]
async fn a_long_command_counts_as_use() {
    let server = shared();
    let request = CreateSandbox {
        timeout_sec: Some(5),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&server.client(), request).await;
    assert_eq!(sandbox.sh("sleep 12; echo awake").await, "awake\n");
    sandbox.delete().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_nothing() {
    let server = shared();
    let client = server.client();
    let label = [("caller".to_owned(), "gone".to_owned())];
    let request = CreateSandbox {
        memory_mb: Some(MEMORY),
        metadata: label.into(),
        ..Default::default()
    };
    let given_up =
        tokio::time::timeout(Duration::from_millis(600), client.create_sandbox(&request)).await;
    assert!(given_up.is_err(), "a guest does not boot that fast");
    until(
        "the end of the sandbox",
        Duration::from_secs(60),
        || async {
            let all = client.sandboxes().await.unwrap();
            let mine: Vec<_> = all
                .iter()
                .filter(|sandbox| sandbox.metadata.contains_key("caller"))
                .collect();
            // Those who wait for its turn have no row yet.
            let is_seen = !mine.is_empty();
            (is_seen && mine.iter().all(|sandbox| sandbox.status == "stopped")).then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn a_caller_that_does_not_wait_polls() {
    let server = shared();
    let client = server.client();
    let request = CreateSandbox {
        memory_mb: Some(MEMORY),
        ..Default::default()
    };
    let pending = client.begin_sandbox(&request).await.unwrap();
    assert_eq!(pending.status, "pending");
    until("a running sandbox", Duration::from_secs(120), || async {
        (client.sandbox(&pending.id).await.unwrap().status == "running").then_some(())
    })
    .await;
    assert!(client.delete_sandbox(&pending.id).await.unwrap());
}
