//! A sandbox that nobody uses is paused, and whoever uses it again wakes it.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use futures::future::join_all;
use wrenn_client::Client;
use wrenn_client::api::CreateSandbox;

use crate::harness::{Server, TestSandbox, assert_invalid_state, shared, shell};

/// Long enough for a command to be run, short enough to be waited for.
const TIMEOUT_SEC: i64 = 4;

async fn create(client: &Client, auto_resume: bool) -> TestSandbox {
    let request = CreateSandbox {
        timeout_sec: Some(TIMEOUT_SEC),
        on_timeout: Some("pause".to_owned()),
        auto_resume: Some(auto_resume),
        ..Default::default()
    };
    TestSandbox::create_with(client, request).await
}

/// Its pid, which only the same memory still has.
async fn leave_running(sandbox: &TestSandbox) -> String {
    sandbox.begin("echo $$ > /run/pid; exec sleep 86400").await;
    sandbox
        .sh("while ! [ -s /run/pid ]; do sleep 0.1; done; cat /run/pid")
        .await
}

async fn pauses(sandbox: &TestSandbox) {
    let paused = sandbox.becomes("paused", Duration::from_secs(60)).await;
    assert!(paused.paused_at.is_some() && paused.expires_at.is_none());
}

#[tokio::test]
async fn whoever_uses_it_wakes_it() {
    let server = shared();
    let client = server.client();
    let sandbox = create(&client, true).await;
    assert_eq!(
        (sandbox.on_timeout.as_str(), sandbox.auto_resume),
        ("pause", true)
    );
    leave_running(&sandbox).await;
    sandbox.sh("echo content > /root/file").await;

    pauses(&sandbox).await;
    assert_eq!(
        sandbox.sh("kill -0 $(cat /run/pid) && echo alive").await,
        "alive\n"
    );
    assert_eq!(sandbox.now().await.status, "running");

    pauses(&sandbox).await;
    let file = client.read_file(&sandbox.id, "/root/file").await.unwrap();
    let content: Vec<_> = file.try_collect().await.unwrap();
    assert_eq!(content.concat(), b"content\n");

    pauses(&sandbox).await;
    client.ping(&sandbox.id).await.unwrap();
    assert_eq!(sandbox.now().await.status, "running");

    pauses(&sandbox).await;
    let content = futures::stream::iter([Ok::<_, std::io::Error>("new\n".into())]);
    client
        .write_file(&sandbox.id, "/root/file", content)
        .await
        .unwrap();
    assert_eq!(sandbox.sh("cat /root/file").await, "new\n");
    sandbox.delete().await;
}

#[tokio::test]
async fn ten_callers_wake_it_once() {
    let server = Server::start();
    let client = server.client();
    let sandbox = create(&client, true).await;
    let pid = leave_running(&sandbox).await;
    pauses(&sandbox).await;
    let before = resumes(&server, &sandbox);
    let began = Instant::now();
    let ten = join_all((0..10).map(|_| sandbox.sh("cat /run/pid"))).await;
    eprintln!(
        "ten callers woke it and were served after {:?}",
        began.elapsed()
    );
    assert_eq!(ten, vec![pid; 10]);
    assert_eq!(resumes(&server, &sandbox) - before, 1, "{}", server.log());
    sandbox.delete().await;
}

/// How often the log says that the sandbox was resumed.
fn resumes(server: &Server, sandbox: &TestSandbox) -> usize {
    let is_one = |line: &&str| line.contains(&sandbox.id) && line.contains("resumed");
    server.log().lines().filter(is_one).count()
}

#[tokio::test]
async fn without_auto_resume_it_sleeps_on() {
    let server = shared();
    let client = server.client();
    let sandbox = create(&client, false).await;
    pauses(&sandbox).await;
    assert_invalid_state(sandbox.exec(&shell("true")).await);
    assert_invalid_state(client.ping(&sandbox.id).await);
    assert_invalid_state(client.read_file(&sandbox.id, "/etc/hostname").await);
    assert_eq!(sandbox.now().await.status, "paused");
    sandbox.resume().await;
    assert_eq!(sandbox.sh("echo awake").await, "awake\n");
    sandbox.delete().await;
}

#[tokio::test]
async fn on_timeout_none_leaves_it_alone() {
    let server = shared();
    let request = CreateSandbox {
        timeout_sec: Some(2),
        on_timeout: Some("none".to_owned()),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&server.client(), request).await;
    assert_eq!(sandbox.expires_at, None);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(sandbox.now().await.status, "running");
    sandbox.delete().await;
}

#[tokio::test]
async fn destroy_reaches_a_paused_sandbox() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    sandbox.pause().await;
    let folder = server.data().join("store/sandboxes").join(&sandbox.id);
    assert!(folder.exists());
    let (client, id) = (sandbox.client.clone(), sandbox.id.clone());
    sandbox.delete().await;
    assert!(!folder.exists());
    assert_eq!(client.sandbox(&id).await.unwrap().status, "stopped");
}
