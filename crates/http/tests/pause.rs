//! Pause and resume as a caller meets them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::Bench;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use wrenn_model::{ErrorKind, Fault};

const ABSENT: &str = "/v1/sandboxes/sb-aaaaaaaaaaaaaaaaaaaa";

async fn create(bench: &Bench, body: &str) -> String {
    let made = bench.post("/v1/sandboxes", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:?}", made.body);
    format!("/v1/sandboxes/{}", made.json()["id"].as_str().unwrap())
}

fn has_timings(answer: &Value) {
    let timings = answer["timings"].as_array().unwrap();
    assert!(!timings.is_empty());
    for timing in timings {
        assert!(!timing["step"].as_str().unwrap().is_empty());
        assert!(timing["ms"].as_f64().unwrap() > 0.0);
    }
}

#[tokio::test]
async fn a_sandbox_is_paused_and_resumed() {
    let bench = Bench::new().await;
    let path = create(
        &bench,
        r#"{"timeout_sec":60,"on_timeout":"pause","metadata":{"a":"b"}}"#,
    )
    .await;
    let made = bench.get(&path).await.json();
    assert_eq!(
        (&made["on_timeout"], &made["auto_resume"]),
        (&json!("pause"), &json!(false))
    );
    for absent in ["paused_at", "lost_since", "timings"] {
        assert!(made.get(absent).is_none(), "{absent}");
    }

    let paused = bench.post(&format!("{path}/pause"), "").await;
    assert_eq!(paused.status, StatusCode::OK);
    let paused = paused.json();
    has_timings(&paused);
    assert!(paused["memory_bytes"].as_u64() > Some(0) && paused["disk_bytes"].as_u64() > Some(0));
    let seen = bench.get(&path).await.json();
    for (field, value) in [
        ("status", json!("paused")),
        ("transition", Value::Null),
        ("host_ip", Value::Null),
        ("expires_at", Value::Null),
        ("timeout_sec", json!(60)),
        ("metadata", json!({"a": "b"})),
    ] {
        assert_eq!((&paused[field], &seen[field]), (&value, &value), "{field}");
    }
    assert!(paused["paused_at"].as_str().unwrap().ends_with('Z'));
    assert!(seen.get("timings").is_none(), "they are told once");
    let listed = bench.get("/v1/sandboxes?status=paused").await.json();
    assert_eq!(listed[0]["id"], made["id"]);

    let resumed = bench.post(&format!("{path}/resume"), "").await;
    assert_eq!(resumed.status, StatusCode::OK);
    let resumed = resumed.json();
    has_timings(&resumed);
    assert_eq!(resumed["status"], "running");
    assert!(resumed["host_ip"].is_string() && resumed["expires_at"].is_string());
    assert!(resumed.get("memory_bytes").is_none());
}

#[tokio::test]
async fn only_what_never_times_out_has_no_end() {
    let bench = Bench::new().await;
    for (body, ends) in [
        ("{}", true),
        (r#"{"on_timeout":"destroy"}"#, true),
        (r#"{"on_timeout":"none"}"#, false),
    ] {
        let path = create(&bench, body).await;
        assert_eq!(
            bench.get(&path).await.json()["expires_at"].is_string(),
            ends,
            "{body}"
        );
    }
}

#[tokio::test]
async fn what_its_status_does_not_allow_is_409() {
    let bench = Bench::new().await;
    let path = create(&bench, "{}").await;
    bench
        .post(&format!("{path}/resume"), "")
        .await
        .refused(409, "invalid_state");
    bench.post(&format!("{path}/pause"), "").await;
    bench
        .post(&format!("{path}/pause"), "")
        .await
        .refused(409, "invalid_state");
    for (call, body) in [
        ("ping", ""),
        ("exec", r#"{"cmd":"true"}"#),
        ("files/read", r#"{"path":"/a"}"#),
        ("files/stream/read", r#"{"path":"/a"}"#),
    ] {
        let refused = bench.post(&format!("{path}/{call}"), body).await;
        refused.refused(409, "invalid_state");
        let remedy = refused.json()["error"]["remedy"].clone();
        assert!(
            remedy.as_str().unwrap().contains("/resume"),
            "{call}: {remedy}"
        );
    }
    let form = [("path", &b"/a"[..]), ("file", b"x")];
    bench
        .form(&format!("{path}/files/write"), &form)
        .await
        .refused(409, "invalid_state");
    bench
        .get(&format!("{path}/exec/stream"))
        .await
        .refused(409, "invalid_state");
    assert_eq!(bench.agent.resumes(), 0);

    bench.delete(&path).await;
    bench
        .post(&format!("{path}/pause"), "")
        .await
        .refused(409, "invalid_state");
    bench
        .post(&format!("{path}/resume"), "")
        .await
        .refused(409, "invalid_state");
    bench
        .post(&format!("{ABSENT}/pause"), "")
        .await
        .refused(404, "not_found");
    bench
        .post(&format!("{ABSENT}/resume"), "{}")
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_resume_takes_an_object_that_it_knows_or_nothing() {
    let bench = Bench::new().await;
    let path = create(&bench, "{}").await;
    bench.post(&format!("{path}/pause"), "").await;
    let resume = format!("{path}/resume");
    for body in [
        "[]",
        "{",
        r#"{"cold":"yes"}"#,
        r#"{"cold":null}"#,
        r#"{"warm":true}"#,
        r#"{"cold":true,"cold":true}"#,
    ] {
        bench
            .post(&resume, body)
            .await
            .refused(400, "invalid_request");
    }
    let text = bench
        .request(Method::POST, &resume)
        .header("content-type", "text/plain");
    bench.send(text, "{}").await.refused(400, "invalid_request");
    assert_eq!(bench.get(&path).await.json()["status"], "paused");
    for nothing in ["{}", "null", " "] {
        assert_eq!(bench.post(&resume, nothing).await.status, StatusCode::OK);
        bench.post(&format!("{path}/pause"), "").await;
    }
}

#[tokio::test]
async fn a_pause_that_does_not_fit_the_host_can_be_booted() {
    let bench = Bench::new().await;
    let path = create(&bench, "{}").await;
    bench.post(&format!("{path}/pause"), "").await;
    let remedy = "boot it from its disk with {\"cold\": true}";
    let mismatch = Fault::new(ErrorKind::Conflict, "this host's CPU lacks avx512f", remedy);
    bench.agent.set(|knobs| knobs.resume_fails = Some(mismatch));
    let refused = bench.post(&format!("{path}/resume"), "").await;
    refused.refused(409, "conflict");
    assert_eq!(refused.json()["error"]["remedy"], remedy);
    assert_eq!(bench.get(&path).await.json()["status"], "paused");
    let booted = bench
        .post(&format!("{path}/resume"), r#"{"cold":true}"#)
        .await;
    assert_eq!(booted.json()["status"], "running");
}

#[tokio::test]
async fn after_an_error_it_says_since_when_work_is_lost() {
    let bench = Bench::new().await;
    let path = create(&bench, "{}").await;
    let paused_at = bench.post(&format!("{path}/pause"), "").await.json()["paused_at"].clone();
    bench.post(&format!("{path}/resume"), "").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut sandbox = bench
        .agent
        .sandbox(path.rsplit('/').next().unwrap())
        .unwrap();
    (sandbox.status, sandbox.status_reason) = ("error".into(), "the VMM was killed".into());
    bench.agent.put(sandbox);
    bench.control.reconcile().await.unwrap();
    let failed = bench.get(&path).await.json();
    assert_eq!(
        (&failed["status"], &failed["paused_at"]),
        (&json!("error"), &paused_at)
    );
    let resumed = bench.post(&format!("{path}/resume"), "").await.json();
    assert_eq!(
        (&resumed["status"], &resumed["lost_since"]),
        (&json!("running"), &paused_at)
    );
}

#[tokio::test]
async fn calls_wake_a_sandbox_that_resumes_by_itself_once() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.resume_takes = Duration::from_millis(200));
    let path = create(&bench, r#"{"auto_resume":true}"#).await;
    assert_eq!(bench.get(&path).await.json()["auto_resume"], true);
    bench.post(&format!("{path}/pause"), "").await;
    let exec = format!("{path}/exec");
    let calls = (0..8).map(|_| bench.post(&exec, r#"{"cmd":"echo","args":["hi"]}"#));
    for answered in futures::future::join_all(calls).await {
        assert_eq!(answered.json()["stdout"], "hi\n");
    }
    assert_eq!(bench.agent.resumes(), 1);

    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        bench.post(&format!("{path}/pause"), "").await.status,
        StatusCode::OK
    );
    let form = [("path", &b"/tmp/a"[..]), ("file", b"one")];
    let written = bench.form(&format!("{path}/files/write"), &form).await;
    assert_eq!(written.status, StatusCode::NO_CONTENT);
    assert_eq!(bench.agent.resumes(), 2);
    let ping = bench.post(&format!("{path}/ping"), "").await;
    assert_eq!(ping.status, StatusCode::NO_CONTENT);
}

/// Who hangs up changes nothing: what has begun comes to its end.
#[tokio::test]
async fn a_caller_that_hangs_up_does_not_stop_a_pause() {
    let bench = Bench::new().await;
    let path = create(&bench, "{}").await;
    bench
        .agent
        .set(|knobs| knobs.pause_takes = Duration::from_millis(300));
    let call = format!("{path}/pause");
    let pause = bench.post(&call, "");
    drop(tokio::time::timeout(Duration::from_millis(100), pause).await);
    assert_eq!(bench.get(&path).await.json()["transition"], "pausing");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let row = bench.get(&path).await.json();
    assert_eq!(
        (&row["status"], row.get("transition")),
        (&json!("paused"), None)
    );
}
