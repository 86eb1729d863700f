//! What is wrong with a request is told, with the documented code and a remedy, and changes nothing.

use serde_json::json;

use crate::harness::{Answer, Server, TestSandbox, request, shared};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Sends a request with the key, as JSON.
fn send(server: &Server, method: &str, path: &str, body: &str) -> Answer {
    request(
        server,
        method,
        path,
        &[JSON, ("X-API-Key", &server.key())],
        body.as_bytes(),
    )
}

fn assert_refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    let body = answer.json();
    let error = &body["error"];
    assert_eq!(error["code"], code, "{what}: {body}");
    for field in ["message", "remedy", "request_id"] {
        assert!(
            error[field].as_str().is_some_and(|text| !text.is_empty()),
            "{what}: {field}: {body}"
        );
    }
    let id = error["request_id"].as_str().unwrap();
    assert!(
        answer.head.contains(&format!("x-request-id: {id}")),
        "{what}: {}",
        answer.head
    );
}

#[tokio::test]
async fn a_wrong_create_makes_nothing() {
    let server = shared();
    let count = || async { server.client().sandboxes().await.unwrap().len() };
    let before = count().await;
    let long = format!(r#"{{"template":"{}"}}"#, "x".repeat(300));
    for (body, status, code) in [
        ("", 400, "invalid_request"),
        ("{", 400, "invalid_request"),
        ("[]", 400, "invalid_request"),
        (r#"{"surprise":1}"#, 400, "invalid_request"),
        (r#"{"auto_resume":"yes"}"#, 400, "invalid_request"),
        (r#"{"on_timeout":"sleep"}"#, 400, "invalid_request"),
        (r#"{"vcpus":"two"}"#, 400, "invalid_request"),
        (r#"{"vcpus":1.5}"#, 400, "invalid_request"),
        (r#"{"vcpus":100000}"#, 400, "invalid_request"),
        (r#"{"memory_mb":100000000}"#, 400, "invalid_request"),
        (r#"{"template":"../x"}"#, 400, "invalid_request"),
        (r#"{"template":"ünïcode"}"#, 400, "invalid_request"),
        (&long, 400, "invalid_request"),
        (r#"{"template":"unheard-of"}"#, 404, "not_found"),
    ] {
        assert_refused(
            &send(&server, "POST", "/v1/sandboxes", body),
            status,
            code,
            body,
        );
    }
    // Other tests share the server and make sandboxes of their own: a template of ours names what we would have made.
    let all = server.client().sandboxes().await.unwrap();
    assert!(
        all.iter().all(|sandbox| sandbox.template == "minimal"),
        "{before} before: {all:?}"
    );
}

#[tokio::test]
async fn a_wrong_call_on_a_sandbox_is_told() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let at = |rest: &str| format!("/v1/sandboxes/{}{rest}", sandbox.id);
    let exec = at("/exec");
    for (method, path, body, status, code) in [
        (
            "GET",
            "/v1/sandboxes/sb-00000000000000000000",
            "",
            404,
            "not_found",
        ),
        ("GET", "/v1/sandboxes/..%2F..%2Fetc", "", 404, "not_found"),
        (
            "DELETE",
            "/v1/sandboxes/sb-00000000000000000000",
            "",
            404,
            "not_found",
        ),
        (
            "POST",
            "/v1/sandboxes/nonsense/exec",
            r#"{"cmd":"true"}"#,
            404,
            "not_found",
        ),
        ("POST", exec.as_str(), "", 400, "invalid_request"),
        ("POST", &exec, "{}", 400, "invalid_request"),
        ("POST", &exec, r#"{"cmd":""}"#, 400, "invalid_request"),
        (
            "POST",
            &exec,
            r#"{"cmd":"true","shell":true}"#,
            400,
            "invalid_request",
        ),
        (
            "POST",
            &exec,
            r#"{"cmd":"true","cwd":"tmp"}"#,
            400,
            "invalid_request",
        ),
        (
            "POST",
            &at("/files/read"),
            r#"{"path":"etc/passwd"}"#,
            400,
            "invalid_request",
        ),
        (
            "POST",
            &at("/files/read"),
            r#"{"path":"/absent"}"#,
            404,
            "not_found",
        ),
        (
            "POST",
            &at("/files/read"),
            r#"{"path":"/etc"}"#,
            400,
            "invalid_request",
        ),
        ("POST", &at("/nowhere"), "", 404, "not_found"),
        (
            "POST",
            &at("/resume"),
            r#"{"warm":true}"#,
            400,
            "invalid_request",
        ),
        ("POST", &at("/resume"), "", 409, "invalid_state"),
        ("PUT", &at(""), "", 405, "method_not_allowed"),
        ("GET", "/v1/nowhere", "", 404, "not_found"),
        ("DELETE", "/v1/snapshots/unheard-of", "", 404, "not_found"),
    ] {
        let what = format!("{method} {path} {body}");
        assert_refused(&send(&server, method, path, body), status, code, &what);
    }
    assert_eq!(sandbox.sh("echo well").await, "well\n");
    sandbox.delete().await;
}

#[tokio::test]
async fn an_upload_in_the_wrong_order_or_size_writes_nothing() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let key = server.key();
    let headers = [
        ("Content-Type", "multipart/form-data; boundary=b"),
        ("X-API-Key", key.as_str()),
    ];
    let part = |name: &str, content: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\n{content}\r\n"
        )
    };
    let path = "--b\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n/root/new\r\n";
    let streamed = format!("/v1/sandboxes/{}/files/stream/write", sandbox.id);
    let wrong = format!("{}{path}--b--\r\n", part("file", "content"));
    let answer = request(&server, "POST", &streamed, &headers, wrong.as_bytes());
    assert_refused(&answer, 400, "invalid_request", "the path after the file");

    let large = format!("{path}{}--b--\r\n", part("file", &"x".repeat(101 << 20)));
    let whole = format!("/v1/sandboxes/{}/files/write", sandbox.id);
    let answer = request(&server, "POST", &whole, &headers, large.as_bytes());
    assert_refused(&answer, 413, "too_large", "101 MiB");
    assert_eq!(sandbox.sh("ls -A /root/new 2>/dev/null || true").await, "");

    let either = format!("{}{path}--b--\r\n", part("file", "content"));
    let answer = request(&server, "POST", &whole, &headers, either.as_bytes());
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(sandbox.sh("cat /root/new").await, "content");
    sandbox.delete().await;
}

#[tokio::test]
async fn without_the_key_nothing_is_told() {
    let server = shared();
    for headers in [
        vec![],
        vec![("X-API-Key", "wrn_00000000000000000000000000000000")],
    ] {
        for path in [
            "/v1/sandboxes",
            "/v1/snapshots",
            "/v1/sandboxes/sb-00000000000000000000/exec/stream",
        ] {
            let answer = request(&server, "GET", path, &headers, b"");
            assert_refused(&answer, 401, "unauthorized", path);
        }
    }
    let health = request(&server, "GET", "/healthz", &[], b"");
    assert_eq!(
        (health.status, &health.json()["agent"]),
        (200, &json!("ready"))
    );
}
