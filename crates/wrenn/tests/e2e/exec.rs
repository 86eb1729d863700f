//! Commands that are waited for.

use std::time::Instant;

use wrenn_client::api::{Encoding, ExecRequest};

use crate::harness::{TestSandbox, shared, shell};

#[tokio::test]
async fn a_command_is_told_as_it_was() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;

    let request = ExecRequest {
        cwd: Some("/tmp".to_owned()),
        user: Some("user".to_owned()),
        envs: [("WORD".to_owned(), "spoken".to_owned())].into(),
        stdin: Some("from the caller".to_owned()),
        ..shell("pwd; id -un; echo $WORD; cat; echo aside >&2; exit 7")
    };
    let done = sandbox.exec(&request).await.unwrap();
    assert_eq!(done.stdout, "/tmp\nuser\nspoken\nfrom the caller");
    assert_eq!((done.stderr.as_str(), done.exit_code), ("aside\n", 7));
    assert_eq!(done.encoding, Encoding::Utf8);

    let root = ExecRequest {
        cmd: "id".to_owned(),
        args: vec!["-u".to_owned()],
        ..Default::default()
    };
    assert_eq!(sandbox.exec(&root).await.unwrap().stdout, "0\n");

    let binary = sandbox
        .exec(&shell("printf '\\000\\377'; printf text >&2"))
        .await
        .unwrap();
    assert_eq!(binary.encoding, Encoding::Base64);
    assert_eq!(
        (binary.stdout.as_str(), binary.stderr.as_str()),
        ("AP8=", "dGV4dA==")
    );

    let killed = sandbox.exec(&shell("kill -TERM $$")).await.unwrap();
    assert_eq!(killed.exit_code, 128 + 15);

    let absent = ExecRequest {
        cmd: "no-such-program".to_owned(),
        ..Default::default()
    };
    let error = sandbox.exec(&absent).await.unwrap_err();
    assert!(
        error.api().unwrap().status.unwrap().is_client_error(),
        "{error}"
    );
    sandbox.delete().await;
}

#[tokio::test]
async fn a_command_over_its_time_ends_with_all_its_children() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let script =
        "echo begun; setsid sleep 4711 & (setsid sh -c 'sleep 4712 & sleep 4713' &) ; sleep 4714";
    let begun = Instant::now();
    let done = sandbox
        .exec(&ExecRequest {
            timeout_sec: Some(3),
            ..shell(script)
        })
        .await
        .unwrap();
    assert!(done.timed_out, "{done:?}");
    assert_eq!((done.stdout.as_str(), done.exit_code), ("begun\n", 137));
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert_eq!(
        sandbox
            .sh("pgrep -fa 'sleep 471[1-4]' | grep -v pgrep | grep -v 'sh -c' || true")
            .await,
        ""
    );
    sandbox.delete().await;
}

#[tokio::test]
async fn a_long_output_keeps_head_and_tail_and_stands_in_a_file() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let script = "echo first; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo last";
    let done = sandbox
        .exec(&ExecRequest {
            timeout_sec: Some(120),
            ..shell(script)
        })
        .await
        .unwrap();
    assert!(
        done.truncated && done.stdout.len() <= 8 << 20,
        "{}",
        done.stdout.len()
    );
    assert!(done.stdout.starts_with("first\n") && done.stdout.ends_with("last\n"));
    let file = done.stdout_file.unwrap();
    assert_eq!(
        sandbox.sh(&format!("stat -c %s '{file}'")).await,
        "20000012\n"
    );
    sandbox.delete().await;
}
