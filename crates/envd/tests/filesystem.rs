//! The filesystem service as E2B's clients call it: Connect with JSON over HTTP/1.1.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use common::{Agent, TOKEN};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Calls one method; the status and body of the answer. HTTP/1.0 keeps the body free of chunks.
async fn call(agent: &Agent, method: &str, request: Value) -> (u16, Value) {
    let body = request.to_string();
    let text = format!(
        "POST /{method} HTTP/1.0\r\nhost: x\r\nx-access-token: {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(agent.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn filesystem(agent: &Agent, method: &str, request: Value) -> (u16, Value) {
    call(agent, &format!("filesystem.Filesystem/{method}"), request).await
}

#[tokio::test]
async fn entries_are_made_told_moved_and_removed() {
    let (agent, _client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("{}/{name}", dir.path().display());
    let (status, made) = filesystem(&agent, "MakeDir", json!({"path": at("a/b")})).await;
    assert_eq!((status, &made["entry"]["path"]), (200, &json!(at("a/b"))));
    assert_eq!(made["entry"]["type"], "FILE_TYPE_DIRECTORY");
    assert_eq!(
        (&made["entry"]["owner"], &made["entry"]["permissions"]),
        (&json!("root"), &json!("drwxr-xr-x"))
    );

    std::fs::write(at("a/file"), "four").unwrap();
    let (_, told) = filesystem(&agent, "Stat", json!({"path": at("a/file")})).await;
    assert_eq!(
        (&told["entry"]["size"], &told["entry"]["type"]),
        (&json!("4"), &json!("FILE_TYPE_FILE"))
    );
    assert!(
        told["entry"]["modifiedTime"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );

    let (_, list) = filesystem(&agent, "ListDir", json!({"path": at(""), "depth": 2})).await;
    let names: Vec<_> = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].clone())
        .collect();
    assert_eq!(names, ["a", "b", "file"]);

    let request = json!({"source": at("a/file"), "destination": at("c/moved")});
    let (status, moved) = filesystem(&agent, "Move", request).await;
    assert_eq!((status, &moved["entry"]["name"]), (200, &json!("moved")));
    assert_eq!(
        filesystem(&agent, "Remove", json!({"path": at("c")}))
            .await
            .0,
        200
    );
    assert!(!dir.path().join("c").exists());
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_code() {
    let (agent, _client) = Agent::initialised().await;
    for (method, request, code) in [
        ("Stat", json!({"path": "/no/such"}), "not_found"),
        ("Stat", json!({}), "invalid_argument"),
        ("Stat", json!({"path": "a\u{0}b"}), "invalid_argument"),
        (
            "ListDir",
            json!({"path": "/etc/passwd"}),
            "invalid_argument",
        ),
        ("ListDir", json!({"path": "/no/such"}), "not_found"),
        ("MakeDir", json!({"path": "/tmp"}), "already_exists"),
        (
            "Move",
            json!({"source": "/no/such", "destination": "/tmp/x"}),
            "not_found",
        ),
        ("CreateWatcher", json!({"path": "/tmp"}), "unimplemented"),
    ] {
        let (status, answer) = filesystem(&agent, method, request.clone()).await;
        assert!(
            status >= 400 && answer["code"] == code,
            "{method} {request}: {status} {answer}"
        );
    }
    let (_, answer) = call(&agent, "process.Process/Update", json!({})).await;
    assert_eq!(answer["code"], "invalid_argument");
}
