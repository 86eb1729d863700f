//! Pauses and resumes beside other calls: each pair has one defined outcome, whichever comes first.

use std::time::Duration;

use wrenn_client::api::ResumeRequest;
use wrenn_client::{Error, Result};

use crate::harness::{Server, TestSandbox, assert_invalid_state, shared, shell, until};

fn is_invalid_state<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Api(error)) if error.code == "invalid_state")
}

#[tokio::test]
async fn two_pauses_at_once_are_one() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let (one, other) = tokio::join!(client.pause(&sandbox.id), client.pause(&sandbox.id));
    // The second joins the first, or comes after it.
    assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
    for result in [one, other] {
        assert!(result.is_ok() || is_invalid_state(&result), "{result:?}");
    }
    assert_eq!(sandbox.now().await.status, "paused");
    assert_invalid_state(client.pause(&sandbox.id).await);
    sandbox.resume().await;
    assert_eq!(sandbox.sh("echo well").await, "well\n");
    sandbox.delete().await;
}

#[tokio::test]
async fn two_resumes_at_once_are_one() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    sandbox.sh("echo mine > /run/mine").await;
    sandbox.pause().await;
    let warm = ResumeRequest::default();
    let (one, other) = tokio::join!(
        client.resume(&sandbox.id, &warm),
        client.resume(&sandbox.id, &warm)
    );
    assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
    for result in [one, other] {
        assert!(result.is_ok() || is_invalid_state(&result), "{result:?}");
    }
    assert_eq!(sandbox.sh("cat /run/mine").await, "mine\n");
    assert_invalid_state(client.resume(&sandbox.id, &warm).await);
    sandbox.delete().await;
}

#[tokio::test]
async fn a_pause_ends_the_call_and_not_the_command() {
    the_call_ends_and_not_the_command(&shared()).await;
}

/// Whoever hears of a pause before the guest stands still has time to end what runs in it, and must not.
#[tokio::test]
async fn a_slow_pause_ends_no_command_either() {
    let mut server = Server::start();
    server.terminate();
    server.resume_with("pause.quiesce=late");
    the_call_ends_and_not_the_command(&server).await;
}

async fn the_call_ends_and_not_the_command(server: &Server) {
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let (caller, id) = (client.clone(), sandbox.id.clone());
    let long = shell("echo $$ > /run/pid; sleep 4; echo over > /run/over; sleep 86400");
    let calling = tokio::spawn(async move { caller.exec(&id, &long).await });
    sandbox
        .sh("while ! [ -s /run/pid ]; do sleep 0.1; done")
        .await;
    sandbox.pause().await;
    let answer = tokio::time::timeout(Duration::from_secs(5), calling).await;
    assert_invalid_state(answer.expect("the call ends with the pause").unwrap());
    sandbox.resume().await;
    until(
        "the command's second step",
        Duration::from_secs(30),
        || async {
            let looked = sandbox.exec(&shell("cat /run/over")).await.unwrap();
            (looked.stdout == "over\n").then_some(())
        },
    )
    .await;
    sandbox.sh("kill -0 $(cat /run/pid)").await;
    sandbox.delete().await;
}

#[tokio::test]
async fn a_pause_ends_an_upload_and_the_old_file_stays() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    sandbox.sh("echo old > /root/file; sync").await;
    let endless = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((
            Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b'x'; 32 << 10])),
            (),
        ))
    });
    let (caller, id) = (client.clone(), sandbox.id.clone());
    let uploading =
        tokio::spawn(async move { caller.write_file(&id, "/root/file", endless).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!uploading.is_finished());
    sandbox.pause().await;
    let answer = tokio::time::timeout(Duration::from_secs(15), uploading).await;
    assert_invalid_state(answer.expect("the upload ends with the pause").unwrap());
    sandbox.resume().await;
    assert_eq!(
        sandbox
            .sh("cat /root/file; ls -A /root | grep -v '^\\.[bp]'")
            .await,
        "old\nfile\n"
    );
    sandbox.delete().await;
}

/// Waits until it has been accepted; it may have ended already.
async fn began(sandbox: &TestSandbox, transition: &str) {
    let before = sandbox.status.clone();
    until(transition, Duration::from_secs(5), || async {
        let now = sandbox.now().await;
        (now.transition.as_deref() == Some(transition) || now.status != before).then_some(())
    })
    .await;
}

#[track_caller]
fn assert_done_or_overtaken<T>(result: Result<T>) {
    if let Err(error) = result {
        let code = error.api().map(|error| error.code.as_str());
        assert_eq!(code, Some("conflict"), "{error}");
    }
}

#[tokio::test]
async fn a_destroy_during_a_pause_wins() {
    let server = shared();
    let client = server.client();
    for delay_ms in [0, 20, 60, 150] {
        let sandbox = TestSandbox::create(&client).await;
        let (caller, id) = (client.clone(), sandbox.id.clone());
        let pausing = tokio::spawn(async move { caller.pause(&id).await });
        began(&sandbox, "pausing").await;
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        let id = sandbox.id.clone();
        sandbox.delete().await;
        assert_done_or_overtaken(pausing.await.unwrap());
        assert_eq!(client.sandbox(&id).await.unwrap().status, "stopped");
        assert!(!server.data().join("store/sandboxes").join(&id).exists());
    }
}

#[tokio::test]
async fn a_destroy_during_a_resume_wins() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    sandbox.pause().await;
    let (caller, id) = (client.clone(), sandbox.id.clone());
    let resuming = tokio::spawn(async move { caller.resume(&id, &ResumeRequest::default()).await });
    let patience = Duration::from_secs(5);
    until("the resume", patience, || async {
        let now = sandbox.now().await;
        (now.transition.is_some() || now.status == "running").then_some(())
    })
    .await;
    let id = sandbox.id.clone();
    sandbox.delete().await;
    assert_done_or_overtaken(resuming.await.unwrap());
    assert_eq!(client.sandbox(&id).await.unwrap().status, "stopped");
    assert!(!server.data().join("store/sandboxes").join(&id).exists());
}

#[tokio::test]
async fn a_ping_during_a_resume_is_refused_until_it_runs() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    sandbox.pause().await;
    let warm = ResumeRequest::default();
    let pings = async {
        // Every one of them, up to the first that is answered.
        let mut refused = 0;
        loop {
            let ping = client.ping(&sandbox.id).await;
            if ping.is_ok() {
                return refused;
            }
            assert_invalid_state(ping);
            refused += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (resumed, refused) = tokio::join!(client.resume(&sandbox.id, &warm), pings);
    resumed.unwrap();
    assert!(refused > 0, "none came before it ran");
    client.ping(&sandbox.id).await.unwrap();
    sandbox.delete().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_changes_neither_pause_nor_resume() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let soon = Duration::from_millis(5);
    drop(tokio::time::timeout(soon, client.pause(&sandbox.id)).await);
    sandbox.becomes("paused", Duration::from_secs(30)).await;
    let warm = ResumeRequest::default();
    drop(tokio::time::timeout(soon, client.resume(&sandbox.id, &warm)).await);
    sandbox.becomes("running", Duration::from_secs(30)).await;
    assert_eq!(sandbox.sh("echo well").await, "well\n");
    sandbox.delete().await;
}
