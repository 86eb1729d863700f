//! The API as a caller meets it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::Bench;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wrenn_model::{ErrorKind, Fault};

const ABSENT: &str = "/v1/sandboxes/sb-aaaaaaaaaaaaaaaaaaaa";

#[tokio::test]
async fn a_life() {
    let bench = Bench::new().await;
    let body = r#"{"vcpus":2,"memory_mb":256,"timeout_sec":60,"metadata":{"team":"red"},"envs":{"A":"b"},"hostname":"box"}"#;
    let made = bench.post("/v1/sandboxes", body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let sandbox = made.json();
    let path = made.headers["location"].to_str().unwrap();
    assert_eq!(
        path,
        format!("/v1/sandboxes/{}", sandbox["id"].as_str().unwrap())
    );
    for (field, value) in [
        ("status", json!("running")),
        ("template", json!("minimal")),
        ("vcpus", json!(2)),
        ("memory_mb", json!(256)),
        ("timeout_sec", json!(60)),
        ("isolation", json!("emulated")),
        ("metadata", json!({"team": "red"})),
        ("transition", Value::Null),
        ("status_reason", Value::Null),
    ] {
        assert_eq!(sandbox[field], value, "{field}");
    }
    assert!(sandbox["started_at"].as_str().unwrap().ends_with('Z'));
    assert!(sandbox["expires_at"].as_str() > sandbox["started_at"].as_str());
    assert!(sandbox.get("envs").is_none(), "variables may be secrets");

    assert_eq!(bench.get(path).await.json()["id"], sandbox["id"]);
    assert_eq!(
        bench.post(&format!("{path}/ping"), "").await.status,
        StatusCode::NO_CONTENT
    );
    let ran = bench
        .post(
            &format!("{path}/exec"),
            r#"{"cmd":"echo","args":["a b","c"]}"#,
        )
        .await
        .json();
    assert_eq!(ran["stdout"], "a b c\n");
    assert_eq!(
        (&ran["exit_code"], &ran["encoding"], &ran["cmd"]),
        (&json!(0), &json!("utf-8"), &json!("echo"))
    );
    let console = bench.get(&format!("{path}/console")).await;
    assert!(
        console.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );

    for _ in 0..2 {
        assert_eq!(bench.delete(path).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(bench.agent.count(), 0);
    let gone = bench.get(path).await.json();
    assert_eq!(
        (&gone["status"], &gone["status_reason"]),
        (&json!("stopped"), &json!("destroyed on request"))
    );
    bench
        .post(&format!("{path}/exec"), r#"{"cmd":"true"}"#)
        .await
        .refused(409, "invalid_state");
    bench
        .get(&format!("{path}/console"))
        .await
        .refused(409, "invalid_state");
}

/// Every route that there is, from the document that the routes themselves make.
#[tokio::test]
async fn every_route_wants_a_key_and_only_few_do_not() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let document: Value = serde_json::from_str(wrenn_http::document::json()).unwrap();
    let (mut probed, mut open) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"] == json!([{}]) {
                open.push(path.clone());
                continue;
            }
            let uri = format!(
                "http://{}{}",
                bench.address,
                path.replace("{id}", &id).replace("{name}", "minimal")
            );
            for key in [
                None,
                Some(""),
                Some("wrn_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                Some("\u{fc}"),
            ] {
                let mut request = Request::builder()
                    .method(method.to_uppercase().as_str())
                    .uri(&uri);
                if let Some(key) = key {
                    request = request.header("x-api-key", key.as_bytes());
                }
                bench.send(request, "").await.refused(401, "unauthorized");
            }
            probed += 1;
        }
    }
    assert_eq!(
        (probed, open),
        (33, vec!["/healthz".to_owned(), "/v1/hosts/join".to_owned()])
    );
    assert_eq!(
        bench.get(&format!("/v1/sandboxes/{id}")).await.json()["status"],
        "running",
        "nothing has changed"
    );
    for path in ["/healthz", "/openapi.yaml", "/openapi.json", "/docs/"] {
        let request = Request::builder().uri(format!("http://{}{path}", bench.address));
        assert_eq!(
            bench.send(request, "").await.status,
            StatusCode::OK,
            "{path}"
        );
    }
}

#[tokio::test]
async fn bad_requests_are_named_and_change_nothing() {
    let bench = Bench::new().await;
    let long = format!(r#"{{"template":"{}"}}"#, "x".repeat(300));
    for body in [
        "",
        " ",
        "null",
        "[]",
        "{",
        "{}x",
        "1",
        r#""x""#,
        r#"{"cpus":1}"#,
        r#"{"autoresume":true}"#,
        r#"{"auto_resume":"yes"}"#,
        r#"{"on_timeout":"explode"}"#,
        r#"{"on_timeout":null,"on_timeout":"none"}"#,
        r#"{"vcpus":1,"vcpus":2}"#,
        r#"{"vcpus":"2"}"#,
        r#"{"vcpus":2.5}"#,
        r#"{"vcpus":1e99}"#,
        r#"{"vcpus":5}"#,
        r#"{"vcpus":9223372036854775807}"#,
        r#"{"memory_mb":8193}"#,
        r#"{"memory_mb":1}"#,
        r#"{"timeout_sec":99999999}"#,
        r#"{"template":"../x"}"#,
        r#"{"template":"\u00fc"}"#,
        r#"{"template":""}"#,
        &long,
        r#"{"hostname":"a.b"}"#,
        r#"{"metadata":{"":"x"}}"#,
        r#"{"metadata":["x"]}"#,
        r#"{"envs":{"1A":"x"}}"#,
        r#"{"envs":{"A":"\u0000"}}"#,
    ] {
        bench
            .post("/v1/sandboxes", body)
            .await
            .refused(400, "invalid_request");
    }
    bench
        .post("/v1/sandboxes", r#"{"template":"absent"}"#)
        .await
        .refused(404, "not_found");
    let request = bench
        .request(Method::POST, "/v1/sandboxes")
        .header("content-type", "text/plain");
    bench
        .send(request, "{}")
        .await
        .refused(400, "invalid_request");
    let large = format!(r#"{{"metadata":{{"a":"{}"}}}}"#, "x".repeat(3 << 20));
    bench
        .post("/v1/sandboxes", &large)
        .await
        .refused(413, "too_large");
    assert_eq!(bench.get("/v1/sandboxes").await.json(), json!([]));
    assert_eq!(bench.agent.count(), 0);
}

#[tokio::test]
async fn bad_calls_on_a_sandbox_are_named() {
    let bench = Bench::new().await;
    let sandbox = format!("/v1/sandboxes/{}", bench.sandbox().await);
    for body in [
        "",
        "{}",
        r#"{"cmd":""}"#,
        r#"{"cmd":["a"]}"#,
        r#"{"cmd":"a","cwd":"tmp"}"#,
        r#"{"cmd":"a","tty":true}"#,
        r#"{"cmd":"a\u0000"}"#,
        r#"{"cmd":"a","timeout_sec":100000}"#,
        r#"{"cmd":"a","user":"a:b"}"#,
    ] {
        bench
            .post(&format!("{sandbox}/exec"), body)
            .await
            .refused(400, "invalid_request");
    }
    bench
        .post(&format!("{sandbox}/exec"), r#"{"cmd":"absent"}"#)
        .await
        .refused(404, "not_found");
    for (body, status, code) in [
        (r#"{"path":"tmp/x"}"#, 400, "invalid_request"),
        (r#"{"path":"/a\u0000"}"#, 400, "invalid_request"),
        (r#"{"path":"/tmp"}"#, 400, "invalid_request"),
        ("{}", 400, "invalid_request"),
        (r#"{"path":"/absent"}"#, 404, "not_found"),
    ] {
        bench
            .post(&format!("{sandbox}/files/read"), body)
            .await
            .refused(status, code);
        bench
            .post(&format!("{sandbox}/files/stream/read"), body)
            .await
            .refused(status, code);
    }
    bench
        .get(&format!("{sandbox}/exec/stream"))
        .await
        .refused(400, "invalid_request");
    for id in [
        "sb-abc",
        "..%2f..%2fetc",
        "%ff",
        &"x".repeat(300),
        "sb-AAAAAAAAAAAAAAAAAAAA",
    ] {
        let answered = bench.get(&format!("/v1/sandboxes/{id}")).await;
        let (status, code) = if id == "%ff" {
            (400, "invalid_request")
        } else {
            (404, "not_found")
        };
        answered.refused(status, code);
    }
    bench.delete(ABSENT).await.refused(404, "not_found");
    bench
        .post(&format!("{ABSENT}/ping"), "")
        .await
        .refused(404, "not_found");
    bench
        .post(&format!("{ABSENT}/exec"), r#"{"cmd":"true"}"#)
        .await
        .refused(404, "not_found");
    bench
        .form(
            &format!("{ABSENT}/files/write"),
            &[("path", b"/a"), ("file", b"")],
        )
        .await
        .refused(404, "not_found");
    bench
        .get("/v1/sandboxes?state=running")
        .await
        .refused(400, "invalid_request");
    assert_eq!(bench.agent.commands(), 0);
}

#[tokio::test]
async fn the_routing_refuses_in_the_same_form() {
    let bench = Bench::new().await;
    bench.get("/").await.refused(404, "not_found");
    bench.get("/v1/nothing").await.refused(404, "not_found");
    let wrong = bench
        .send(bench.request(Method::PUT, "/v1/sandboxes"), "{}")
        .await;
    wrong.refused(405, "method_not_allowed");
    assert!(wrong.headers["allow"].to_str().unwrap().contains("POST"));
    bench
        .delete("/healthz")
        .await
        .refused(405, "method_not_allowed");

    let request = bench
        .request(Method::GET, "/v1/nothing")
        .header("x-request-id", "mine-1");
    let named = bench.send(request, "").await;
    assert_eq!(named.headers["x-request-id"], "mine-1");
    named.refused(404, "not_found");
    let request = bench
        .request(Method::GET, "/healthz")
        .header("x-request-id", "not a word");
    let renamed = bench.send(request, "").await;
    assert!(
        renamed.headers["x-request-id"]
            .to_str()
            .unwrap()
            .starts_with("req-")
    );
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for i in 0..5 {
        let body = format!(r#"{{"metadata":{{"n":"{i}","all":"a b&c=d"}}}}"#);
        ids.push(bench.post("/v1/sandboxes", &body).await.json()["id"].clone());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ids.reverse();
    bench
        .delete(&format!("/v1/sandboxes/{}", ids[0].as_str().unwrap()))
        .await;
    let list = async |query: &str| -> Vec<Value> {
        let found = bench.get(&format!("/v1/sandboxes{query}")).await.json();
        found
            .as_array()
            .unwrap()
            .iter()
            .map(|sandbox| sandbox["id"].clone())
            .collect()
    };
    assert_eq!(list("").await, ids);
    assert_eq!(list("?status=running").await, ids[1..]);
    assert_eq!(
        list("?metadata=n%3D2&metadata=all%3Da%20b%26c%3Dd").await,
        ids[2..3]
    );
    assert_eq!(
        list("?metadata=n%3D2&metadata=all%3Dno").await,
        Vec::<Value>::new()
    );
    assert_eq!(list("?template=python").await, Vec::<Value>::new());

    let (mut path, mut paged) = (
        "/v1/sandboxes?metadata=all%3Da%20b%26c%3Dd&limit=2".to_owned(),
        Vec::new(),
    );
    for page in 0.. {
        assert!(page < 3);
        let answered = bench.get(&path).await;
        paged.extend(
            answered
                .json()
                .as_array()
                .unwrap()
                .iter()
                .map(|sandbox| sandbox["id"].clone()),
        );
        let Some(link) = answered.headers.get("link") else {
            break;
        };
        let link = link.to_str().unwrap();
        path = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .unwrap()
            .to_owned();
    }
    assert_eq!(paged, ids);
}

#[tokio::test]
async fn commands_end_as_they_end() {
    let bench = Bench::new().await;
    let exec = format!("/v1/sandboxes/{}/exec", bench.sandbox().await);
    assert_eq!(
        bench.post(&exec, r#"{"cmd":"false"}"#).await.json()["exit_code"],
        1
    );
    assert_eq!(
        bench
            .post(&exec, r#"{"cmd":"cat","stdin":"hi"}"#)
            .await
            .json()["stdout"],
        "hi"
    );
    let late = bench
        .post(&exec, r#"{"cmd":"sleep","args":["30"],"timeout_sec":1}"#)
        .await;
    assert_eq!(late.status, StatusCode::OK);
    assert_eq!(
        (&late.json()["timed_out"], &late.json()["exit_code"]),
        (&json!(true), &json!(137))
    );
    let bytes = bench
        .post(&exec, r#"{"cmd":"hex","args":["ff00"]}"#)
        .await
        .json();
    assert_eq!(
        (&bytes["stdout"], &bytes["encoding"]),
        (&json!("/wA="), &json!("base64"))
    );
    // Larger than the RPC's own default limits.
    let large = bench
        .post(&exec, r#"{"cmd":"spew","args":["8"]}"#)
        .await
        .json();
    assert_eq!(large["stdout"].as_str().unwrap().len(), 8 << 20);
    bench
        .post(&exec, r#"{"cmd":"lost"}"#)
        .await
        .refused(502, "agent_error");
}

#[tokio::test]
async fn an_agent_that_is_away_is_503_a_busy_host_429_and_a_full_one_507() {
    let bench = Bench::new().await;
    let sandbox = format!("/v1/sandboxes/{}", bench.sandbox().await);
    let busy = Fault::new(ErrorKind::HostBusy, "too many wait", "come back").retry_after(9);
    bench.agent.set(|knobs| knobs.create_fails = Some(busy));
    let refused = bench.post("/v1/sandboxes", "{}").await;
    refused.refused(429, "resource_exhausted");
    assert_eq!(refused.headers["retry-after"], "9");

    let full = Fault::new(ErrorKind::HostFull, "no room left", "destroy some");
    bench.agent.set(|knobs| knobs.create_fails = Some(full));
    let refused = bench.post("/v1/sandboxes", "{}").await;
    refused.refused(507, "resource_exhausted");
    assert!(!refused.headers.contains_key("retry-after"));
    assert_eq!(refused.json()["error"]["remedy"], "destroy some");
    assert_eq!(refused.json()["error"]["retryable"], true);

    bench.agent.set(|knobs| knobs.recovering = true);
    assert_eq!(bench.get("/healthz").await.json()["agent"], "recovering");
    bench.agent.stop();
    assert_eq!(bench.get("/healthz").await.json()["agent"], "unreachable");
    bench
        .post("/v1/sandboxes", "{}")
        .await
        .refused(503, "unavailable");
    bench
        .post(&format!("{sandbox}/exec"), r#"{"cmd":"true"}"#)
        .await
        .refused(503, "unavailable");
    bench.get("/v1/snapshots").await.refused(503, "unavailable");
    assert_eq!(bench.get(&sandbox).await.json()["status"], "running");
    assert_eq!(bench.delete(&sandbox).await.status, StatusCode::ACCEPTED);
    assert_eq!(bench.get(&sandbox).await.json()["transition"], "stopping");
}

#[tokio::test]
async fn templates_are_listed_and_deleted() {
    let bench = Bench::new().await;
    let listed = bench.get("/v1/snapshots").await.json();
    assert_eq!(
        listed[0],
        json!({"name": "minimal", "type": "base", "size_bytes": 1 << 20, "created_at": "2026-03-01T12:00:00.000Z"})
    );
    assert_eq!(bench.get("/v1/snapshots?type=base").await.json(), listed);
    assert_eq!(
        bench.get("/v1/snapshots?type=snapshot").await.json(),
        json!([])
    );
    bench
        .get("/v1/snapshots?type=x")
        .await
        .refused(400, "invalid_request");
    assert_eq!(
        bench.delete("/v1/snapshots/python").await.status,
        StatusCode::NO_CONTENT
    );
    bench
        .delete("/v1/snapshots/python")
        .await
        .refused(404, "not_found");
    bench
        .delete("/v1/snapshots/..%2fx")
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn who_does_not_wait_is_told_at_once() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_millis(200));
    let request = bench
        .request(Method::POST, "/v1/sandboxes")
        .header("prefer", "respond-async");
    let accepted = bench.send(request, "{}").await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert_eq!(accepted.headers["preference-applied"], "respond-async");
    assert_eq!(
        (&accepted.json()["status"], &accepted.json()["transition"]),
        (&json!("pending"), &json!("starting"))
    );
    let path = accepted.headers["location"].to_str().unwrap();
    bench
        .post(&format!("{path}/exec"), r#"{"cmd":"true"}"#)
        .await
        .refused(409, "invalid_state");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.get(path).await.json()["status"], "running");
}

/// Over a bare socket: what the server sees when a client hangs up.
#[tokio::test]
async fn a_caller_that_hangs_up_has_its_sandbox_unwound() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_secs(60));
    let mut socket = tokio::net::TcpStream::connect(bench.address).await.unwrap();
    let head = format!(
        "POST /v1/sandboxes HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: 2\r\n\r\n{{}}",
        bench.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut nothing = [0; 1];
    tokio::time::timeout(Duration::from_millis(300), socket.read(&mut nothing))
        .await
        .unwrap_err();
    assert_eq!(bench.agent.count(), 1);
    drop(socket);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let rows = bench.get("/v1/sandboxes").await.json();
        if rows[0]["status"] == "stopped" {
            assert_eq!(rows[0]["status_reason"], "its creator went away");
            assert_eq!(bench.agent.count(), 0);
            return;
        }
    }
    panic!("it was not unwound");
}

#[tokio::test]
async fn exec_writes_nothing_of_its_sandbox() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let exec = format!("/v1/sandboxes/{id}/exec");
    let written = async || {
        let row = bench.control.sandboxes().get(&id.parse().unwrap()).await;
        let history = bench.request(Method::GET, "/v1/events");
        let events = bench
            .send(history.header("accept", "application/json"), "")
            .await;
        (row.unwrap().version, events.json())
    };
    let before = written().await;
    for _ in 0..20 {
        assert_eq!(
            bench.post(&exec, r#"{"cmd":"true"}"#).await.status,
            StatusCode::OK
        );
    }
    assert_eq!(written().await, before);
}
