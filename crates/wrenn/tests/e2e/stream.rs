//! Commands that stream.

use std::time::Duration;

use bytes::Bytes;
use wrenn_client::api::StartCommand;
use wrenn_client::{ExecEvent, ExecEvents};

use crate::harness::{TestSandbox, shared, start, until};

/// Everything until the end: standard output, standard error, exit code.
async fn rest(events: &mut ExecEvents) -> (Vec<u8>, Vec<u8>, i32) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match events.next().await.unwrap() {
            ExecEvent::Start { .. } => {}
            ExecEvent::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            ExecEvent::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            ExecEvent::Exit { exit_code, .. } => return (stdout, stderr, exit_code),
        }
    }
}

#[tokio::test]
async fn input_output_and_end_come_in_order() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let command = StartCommand {
        stdin: true,
        ..start("printf 'ready'; cat; echo end >&2; exit 5")
    };
    let (mut control, mut events) = sandbox
        .client
        .exec_stream(&sandbox.id, &command)
        .await
        .unwrap();
    assert!(matches!(events.next().await.unwrap(), ExecEvent::Start { pid } if pid > 1));
    assert_eq!(
        events.next().await.unwrap(),
        ExecEvent::Stdout("ready".into())
    );
    // Every byte, and a character cut in two by the caller.
    let every: Vec<u8> = (0..=255).chain("ä".bytes()).collect();
    control
        .stdin(Bytes::copy_from_slice(&every[..257]))
        .await
        .unwrap();
    control
        .stdin(Bytes::copy_from_slice(&every[257..]))
        .await
        .unwrap();
    control.close_stdin().await.unwrap();
    let (stdout, stderr, code) = rest(&mut events).await;
    assert_eq!((stdout, stderr, code), (every, b"end\n".to_vec(), 5));
    sandbox.delete().await;
}

#[tokio::test]
async fn a_signal_arrives_and_stop_ends() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let trap = start("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done");
    let (mut control, mut events) = sandbox
        .client
        .exec_stream(&sandbox.id, &trap)
        .await
        .unwrap();
    assert!(matches!(
        events.next().await.unwrap(),
        ExecEvent::Start { .. }
    ));
    assert_eq!(
        events.next().await.unwrap(),
        ExecEvent::Stdout("ready\n".into())
    );
    control.signal(2).await.unwrap();
    assert_eq!(
        rest(&mut events).await,
        (b"caught\n".to_vec(), Vec::new(), 9)
    );

    let deaf = start("trap '' INT TERM; setsid sleep 4721 & sleep 4722");
    let (mut control, mut events) = sandbox
        .client
        .exec_stream(&sandbox.id, &deaf)
        .await
        .unwrap();
    assert!(matches!(
        events.next().await.unwrap(),
        ExecEvent::Start { .. }
    ));
    control.stop().await.unwrap();
    let (stdout, stderr, code) = rest(&mut events).await;
    assert_eq!((stdout, stderr, code), (Vec::new(), Vec::new(), 137));
    gone(&sandbox, "sleep 472[12]").await;
    sandbox.delete().await;
}

#[tokio::test]
async fn a_caller_that_vanishes_ends_the_command_unless_it_asked_otherwise() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    for (seconds, detach) in [("4731", false), ("4732", true)] {
        let command = StartCommand {
            detach,
            ..start(&format!("exec sleep {seconds}"))
        };
        let (control, mut events) = sandbox
            .client
            .exec_stream(&sandbox.id, &command)
            .await
            .unwrap();
        assert!(matches!(
            events.next().await.unwrap(),
            ExecEvent::Start { .. }
        ));
        drop((control, events));
    }
    gone(&sandbox, "sleep 4731").await;
    assert_ne!(sandbox.sh("pgrep -f '^sleep 4732' || true").await, "");
    sandbox.delete().await;
}

#[tokio::test]
async fn a_flood_is_complete_and_waits_for_a_slow_reader() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let command = start("head -c 16777216 /dev/zero; printf done >&2");
    let (_control, mut events) = sandbox
        .client
        .exec_stream(&sandbox.id, &command)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (stdout, stderr, code) = rest(&mut events).await;
    assert_eq!(
        (stdout.len(), stderr.as_slice(), code),
        (16 << 20, b"done".as_slice(), 0)
    );
    sandbox.delete().await;
}

async fn gone(sandbox: &TestSandbox, pattern: &str) {
    until(
        &format!("the end of {pattern}"),
        Duration::from_secs(20),
        || async {
            sandbox
                .sh(&format!("pgrep -f '^{pattern}' || true"))
                .await
                .is_empty()
                .then_some(())
        },
    )
    .await;
}
