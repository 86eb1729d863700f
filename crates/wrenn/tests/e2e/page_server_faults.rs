//! A page server that dies before a step of a capture, while the guest's memory is still being brought: the guest ends with it, what was
//! captured before is as it was, and nothing half is kept. Wants what the tests of `firecracker` want.

use std::time::Duration;

use wrenn_agent::{Capture, FORK, PAUSE, SNAPSHOT};
use wrenn_client::Result;
use wrenn_client::api::{CreateSnapshot, ForkResult, ForkSandbox, Sandbox};

use crate::firecracker::{SUM, member, paused_with_much};
use crate::harness::{Server, TestSandbox};
use crate::pause_faults::{arm, holdings, settles};

/// How long a guest may run on without its page server: it is missed at once.
const UNNOTICED: Duration = Duration::from_secs(5);
/// What a snapshot that comes about is called.
const COPY: &str = "copy";

/// Captures it. Of what came about nothing is kept but a pause.
async fn capture(sandbox: &TestSandbox, capture: Capture) -> Result<()> {
    let (client, id) = (&sandbox.client, &sandbox.id);
    match capture {
        PAUSE => drop(client.pause(id).await?),
        SNAPSHOT => {
            let request = CreateSnapshot {
                sandbox_id: id.clone(),
                name: Some(COPY.to_owned()),
            };
            client.create_snapshot(&request, false, false).await?;
            client.delete_template(COPY).await?;
        }
        _ => {
            for child in client.fork(id, &ForkSandbox::default()).await?.results {
                if let ForkResult::Sandbox(child) = child {
                    client.delete_sandbox(&child.id).await?;
                }
            }
        }
    }
    Ok(())
}

/// What it is once a page server that has died was missed.
async fn outcome(sandbox: &TestSandbox) -> Sandbox {
    let began = std::time::Instant::now();
    loop {
        let now = settles(sandbox, &["running", "paused", "error"]).await;
        if now.status != "running" || began.elapsed() > UNNOTICED {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether whoever brought its memory has said that all of it is there.
fn has_its_memory(server: &Server, id: &str) -> bool {
    let folder = server.data().join("store/sandboxes").join(id);
    let entries = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let told = entries.filter_map(|entry| entry.join("pages.done").metadata().ok());
    told.map(|told| told.len()).collect::<Vec<_>>() == [1]
}

/// That there is nothing of a copy of it, whether that came about or not.
async fn nothing_is_kept(sandbox: &TestSandbox) {
    let all = sandbox.client.sandboxes().await.unwrap();
    let others: Vec<_> = all.iter().filter(|one| one.id != sandbox.id).collect();
    assert!(others.is_empty(), "{others:?}");
    let templates = sandbox.client.templates().await.unwrap();
    assert!(templates.iter().all(|one| one.name != COPY));
}

async fn walk(captured_for: Capture) {
    let mut server = Server::start();
    let (mut sandbox, sum) = paused_with_much(&server).await;
    let mut struck = 0;
    for step in captured_for.steps {
        let point = format!("{}.{}", captured_for.name, step.name());
        arm(&mut server, &mut sandbox, &format!("{point}=killpages*1"));
        let paused_at = sandbox.now().await.paused_at;
        sandbox.resume().await;
        let brings = member(&server.data(), &sandbox.id, "wrenn-pages").is_some();
        let answer = capture(&sandbox, captured_for).await;
        let now = outcome(&sandbox).await;
        println!(
            "{point} (still brought: {brings}): {answer:?}, then {} {:?}",
            now.status, now.status_reason
        );
        let lost = now.status == "error";
        assert!(brings || !lost, "{point}");
        struck += u32::from(lost);
        match now.status.as_str() {
            // There was nobody left to kill, and all went well.
            "running" => {
                assert!(captured_for != PAUSE && answer.is_ok(), "{point}");
                assert!(has_its_memory(&server, &sandbox.id), "{point}");
                sandbox.pause().await;
            }
            "error" => assert_eq!(now.paused_at, paused_at, "{point}"),
            _ => assert!(captured_for == PAUSE && answer.is_ok(), "{point}"),
        }
        nothing_is_kept(&sandbox).await;
        let resumed = sandbox.resume().await.sandbox;
        assert_eq!(resumed.lost_since.is_some(), lost, "{point}");
        assert_eq!(sandbox.sh(SUM).await, sum, "{point}");
        assert_eq!(holdings(&server, &sandbox.id), (1, 1), "{point}");
        sandbox.pause().await;
    }
    // Else all of its memory was there before anything was tried.
    assert!(struck >= 2, "{struck}");
    arm(&mut server, &mut sandbox, "");
    sandbox.resume().await;
    assert_eq!(sandbox.sh(SUM).await, sum);
    sandbox.delete().await;
}

#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn it_dies_before_each_step_of_a_pause() {
    walk(PAUSE).await;
}

#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn it_dies_before_each_step_of_a_snapshot() {
    walk(SNAPSHOT).await;
}

#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn it_dies_before_each_step_of_a_fork() {
    walk(FORK).await;
}
