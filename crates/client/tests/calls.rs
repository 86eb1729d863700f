//! The client against a small server of the test's own: what goes over the wire, and what comes back when it fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::convert::Infallible;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Multipart, Path, RawQuery};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::{StreamExt, TryStreamExt, stream};
use wrenn_client::api::{
    CreateKey, CreateSandbox, ErrorBody, ErrorInfo, ExecRequest, Network, ResumeRequest, Sandbox,
    StartCommand, TeamLimits,
};
use wrenn_client::{Client, Error, ExecEvent};

async fn serve(router: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Client::new(&url, Some("wrn_key")).unwrap()
}

fn refusal(status: StatusCode, code: &str) -> Response {
    let error = ErrorInfo {
        code: code.to_owned(),
        message: "what happened".to_owned(),
        remedy: "what to do".to_owned(),
        retryable: false,
        request_id: "req-1".to_owned(),
    };
    (status, Json(ErrorBody { error })).into_response()
}

#[tokio::test]
async fn a_refusal_comes_as_the_server_tells_it() {
    let keyed = |headers: HeaderMap| async move {
        assert_eq!(headers["x-api-key"], "wrn_key");
        refusal(StatusCode::NOT_FOUND, "not_found")
    };
    let client = serve(Router::new().route("/v1/sandboxes/{id}", get(keyed))).await;
    let error = client.sandbox("sb-absent").await.unwrap_err();
    let api = error.api().unwrap();
    assert_eq!(
        (api.status, api.code.as_str()),
        (Some(StatusCode::NOT_FOUND), "not_found")
    );
    assert_eq!(error.remedy(), Some("what to do"));
    assert_eq!(error.to_string(), "what happened");
}

#[tokio::test]
async fn an_id_cannot_reach_another_route() {
    let path = |Path(id): Path<String>| async move {
        assert_eq!(id, "../snapshots");
        refusal(StatusCode::NOT_FOUND, "not_found")
    };
    let client = serve(Router::new().route("/v1/sandboxes/{id}", get(path))).await;
    assert!(
        client
            .sandbox("../snapshots")
            .await
            .unwrap_err()
            .api()
            .is_some()
    );
}

#[tokio::test]
async fn nobody_there_says_how_to_start_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::new(&url, None)
        .unwrap()
        .sandboxes()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.remedy().unwrap().contains("wrenn up"));
}

#[tokio::test]
async fn another_kind_of_server_is_told() {
    let client = serve(Router::new().route("/v1/sandboxes", get(|| async { "<html>" }))).await;
    assert!(matches!(
        client.sandboxes().await.unwrap_err(),
        Error::Contract { .. }
    ));
    assert!(matches!(
        client.templates().await.unwrap_err(),
        Error::Contract { .. }
    ));
}

/// The server gives so many at a time, and says in `Link` where it goes on.
#[tokio::test]
async fn a_list_is_read_to_its_end() {
    let sandbox = |id: &str| {
        serde_json::json!({
            "id": id, "owner_id": "default", "template": "minimal", "vcpus": 1, "memory_mb": 128, "timeout_sec": 300,
            "on_timeout": "pause", "auto_resume": false, "hostname": id, "metadata": {}, "status": "running",
            "created_at": "2026-01-01T00:00:00Z", "last_updated": "2026-01-01T00:00:00Z",
            "network": { "internet": true, "allow": [], "deny": [] },
        })
    };
    let list = move |RawQuery(query): RawQuery| async move {
        match query.as_deref() {
            None => (
                [("link", "</v1/sandboxes?cursor=7.sb-b>; rel=\"next\"")],
                Json(vec![sandbox("sb-c"), sandbox("sb-b")]),
            )
                .into_response(),
            Some("cursor=7.sb-b") => Json(vec![sandbox("sb-a")]).into_response(),
            Some(_) => refusal(StatusCode::BAD_REQUEST, "invalid_request"),
        }
    };
    let client = serve(Router::new().route("/v1/sandboxes", get(list))).await;
    let ids = |all: Vec<Sandbox>| all.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(
        ids(client.sandboxes().await.unwrap()),
        ["sb-c", "sb-b", "sb-a"]
    );
    assert_eq!(
        ids(client.newest_sandboxes().await.unwrap()),
        ["sb-c", "sb-b"]
    );
}

/// A listener that says this to everybody and then waits.
fn says(words: &'static [u8]) -> Client {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut callers = Vec::new();
        for caller in listener.incoming() {
            let mut caller = caller.unwrap();
            std::io::Write::write_all(&mut caller, words).unwrap();
            callers.push(caller);
        }
    });
    Client::new(&url, Some("wrn_key")).unwrap()
}

#[tokio::test]
async fn who_speaks_no_http_is_no_server() {
    let (ssh, tls) = (
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        &[0x15, 3, 1, 0, 2, 2, 70][..],
    );
    // They may be heard before the request is on its way, or after.
    for words in [ssh, tls].repeat(20) {
        let error = says(words).sandboxes().await.unwrap_err();
        assert!(matches!(error, Error::Contract { .. }), "{error:?}");
        assert!(error.remedy().unwrap().contains("--url"));
    }
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for_to_the_end_of_days() {
    let client = says(b"");
    tokio::time::pause();
    let error = client.sandboxes().await.unwrap_err();
    assert!(matches!(error, Error::Silent { .. }), "{error:?}");
    assert!(error.remedy().unwrap().contains("--url"));
}

#[tokio::test]
async fn a_key_that_is_not_known_says_how_to_give_another() {
    let refuse = || async { refusal(StatusCode::UNAUTHORIZED, "unauthorized") };
    let client = serve(Router::new().route("/v1/sandboxes", get(refuse))).await;
    let error = client.sandboxes().await.unwrap_err();
    assert!(
        error.remedy().unwrap().contains("WRENN_API_KEY"),
        "{error:?}"
    );
    // Who shows no key is told what the server says.
    let stranger = Client::new(client.url(), None).unwrap();
    let error = stranger.sandboxes().await.unwrap_err();
    assert_eq!(error.remedy(), Some("what to do"));
}

#[tokio::test]
async fn an_upload_is_multipart_with_the_path_first() {
    let write = |mut form: Multipart| async move {
        let path = form.next_field().await.unwrap().unwrap();
        assert_eq!(path.name(), Some("path"));
        assert_eq!(path.text().await.unwrap(), "/tmp/ä b");
        let file = form.next_field().await.unwrap().unwrap();
        assert_eq!(file.name(), Some("file"));
        let size: usize = file
            .map_ok(|chunk| chunk.len())
            .try_fold(0, |a, b| async move { Ok(a + b) })
            .await
            .unwrap();
        assert_eq!(size, 3 << 20);
        StatusCode::NO_CONTENT
    };
    let route = "/v1/sandboxes/{id}/files/stream/write";
    let limit = axum::extract::DefaultBodyLimit::disable();
    let client = serve(Router::new().route(route, post(write)).layer(limit)).await;
    let content = stream::iter(vec![Ok::<_, Infallible>(Bytes::from(vec![7; 1 << 20])); 3]);
    client
        .write_file("sb-1", "/tmp/ä b", content)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_upload_whose_source_fails_does_not_end_well() {
    let write = |body: Body| async move {
        let ended = body
            .into_data_stream()
            .try_for_each(|_| async { Ok(()) })
            .await;
        assert!(
            ended.is_err(),
            "the server must see that the rest is missing"
        );
        StatusCode::BAD_REQUEST
    };
    let client =
        serve(Router::new().route("/v1/sandboxes/{id}/files/stream/write", post(write))).await;
    let content = stream::iter([
        Ok(Bytes::from("half")),
        Err(std::io::Error::other("the disk is gone")),
    ]);
    let error = client.write_file("sb-1", "/a", content).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_upload_tells_the_refusal_although_much_is_left_to_send() {
    let refuse = || async { refusal(StatusCode::NOT_FOUND, "not_found") };
    let client =
        serve(Router::new().route("/v1/sandboxes/{id}/files/stream/write", post(refuse))).await;
    let content = stream::iter(std::iter::repeat_n(
        Ok::<_, Infallible>(Bytes::from(vec![0; 1 << 16])),
        1 << 10,
    ));
    let error = client.write_file("sb-1", "/a", content).await.unwrap_err();
    assert_eq!(
        error.api().map(|api| api.code.as_str()),
        Some("not_found"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_download_that_breaks_off_is_an_error() {
    let read = || async {
        let chunks = [Ok(Bytes::from("begin")), Err(std::io::Error::other("gone"))];
        Body::from_stream(stream::iter(chunks).then(|chunk| async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            chunk
        }))
    };
    let client =
        serve(Router::new().route("/v1/sandboxes/{id}/files/stream/read", post(read))).await;
    let content = client.read_file("sb-1", "/a").await.unwrap();
    let chunks: Vec<_> = content.collect().await;
    assert_eq!(chunks[0].as_ref().unwrap(), "begin");
    assert!(matches!(chunks.last(), Some(Err(Error::Broken { .. }))));
}

/// Says what it was told: the input back on both streams, the signal as the exit code.
async fn converse(mut socket: WebSocket) {
    let mut say = async |text: &str| socket_send(&mut socket, text).await;
    let start = say(r#"{"type":"start","pid":7}"#).await;
    assert_eq!(start, r#"{"type":"start","cmd":"cat","stdin":true}"#);
    assert_eq!(
        say(r#"{"type":"stdout","data":"text"}"#).await,
        "binary:[0, 255]"
    );
    assert_eq!(
        say(r#"{"type":"stderr","data_b64":"AP8="}"#).await,
        r#"{"type":"signal","signal":2}"#
    );
    assert_eq!(
        say(r#"{"type":"exit","exit_code":130}"#).await,
        r#"{"type":"close_stdin"}"#
    );
}

/// Waits for a message, answers with `text` and gives the message.
async fn socket_send(socket: &mut WebSocket, text: &str) -> String {
    let said = match socket.recv().await.unwrap().unwrap() {
        Message::Text(said) => said.to_string(),
        Message::Binary(said) => format!("binary:{said:?}").replace("b\"\\0\\xff\"", "[0, 255]"),
        other => panic!("{other:?}"),
    };
    socket.send(Message::text(text)).await.unwrap();
    said
}

#[tokio::test]
async fn a_stream_speaks_both_ways() {
    let upgrade = |upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(converse) };
    let client = serve(Router::new().route("/v1/sandboxes/{id}/exec/stream", get(upgrade))).await;
    let start = StartCommand {
        cmd: "cat".to_owned(),
        stdin: true,
        ..Default::default()
    };
    let (mut control, mut events) = client.exec_stream("sb-1", &start).await.unwrap();
    assert_eq!(events.next().await.unwrap(), ExecEvent::Start { pid: 7 });
    control.stdin(Bytes::from_static(&[0, 255])).await.unwrap();
    assert_eq!(
        events.next().await.unwrap(),
        ExecEvent::Stdout("text".into())
    );
    control.signal(2).await.unwrap();
    assert_eq!(
        events.next().await.unwrap(),
        ExecEvent::Stderr(Bytes::from_static(&[0, 255]))
    );
    control.close_stdin().await.unwrap();
    let end = ExecEvent::Exit {
        exit_code: 130,
        timed_out: false,
    };
    assert_eq!(events.next().await.unwrap(), end);
    assert!(events.next().await.is_err());
}

#[tokio::test]
async fn a_stream_that_is_refused_tells_why() {
    let refuse = || async { refusal(StatusCode::CONFLICT, "invalid_state") };
    let client = serve(Router::new().route("/v1/sandboxes/{id}/exec/stream", get(refuse))).await;
    let error = client
        .exec_stream("sb-1", &StartCommand::default())
        .await
        .unwrap_err();
    assert_eq!(error.api().unwrap().code, "invalid_state");
}

#[tokio::test]
async fn a_resume_says_how_and_learns_what_it_took() {
    let resume = |body: String| async move {
        assert_eq!(body, r#"{"cold":true}"#);
        r#"{"id":"sb-1","status":"running","template":"minimal","vcpus":1,"memory_mb":512,"timeout_sec":300,
            "on_timeout":"pause","auto_resume":true,"created_at":"2026-03-01T12:00:00.000Z",
            "lost_since":"2026-03-01T12:30:00.000Z","last_updated":"2026-03-01T13:00:00.000Z",
            "timings":[{"step":"boot","ms":1.5}]}"#
    };
    let client = serve(Router::new().route("/v1/sandboxes/{id}/resume", post(resume))).await;
    let resumed = client
        .resume("sb-1", &ResumeRequest { cold: true })
        .await
        .unwrap();
    assert_eq!(resumed.sandbox.status, "running");
    assert!(resumed.sandbox.lost_since.is_some() && resumed.sandbox.auto_resume);
    assert_eq!(
        (resumed.timings[0].step.as_str(), resumed.timings[0].ms),
        ("boot", 1.5)
    );
}

/// A server that hangs up after the first request, and answers the others so. It tells what each request was.
fn breaks_once(answer: &'static str) -> (Client, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let hears = heard.clone();
    std::thread::spawn(move || {
        for (number, caller) in listener.incoming().enumerate() {
            let mut caller = caller.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            // All that is sent here comes in one piece, or ends with its JSON.
            loop {
                let read = caller.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..read]);
                let text = String::from_utf8_lossy(&request);
                let has_body = text.contains("content-type");
                if read == 0 || text.ends_with(if has_body { "}" } else { "\r\n\r\n" }) {
                    break;
                }
            }
            let mut heard = hears.lock().unwrap();
            heard.push(String::from_utf8(request).unwrap());
            drop(heard);
            if number > 0 {
                caller.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    (Client::new(&url, Some("wrn_key")).unwrap(), heard)
}

/// An answer that closes its connection.
macro_rules! answer {
    ($status:literal, $json:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n",
            $json
        )
    };
}

const RUNNING: &str = answer!(
    "200 OK",
    r#"{"id":"sb-1","owner_id":"default","status":"running","template":"minimal","vcpus":1,"memory_mb":512,"timeout_sec":300,
        "on_timeout":"pause","auto_resume":true,"hostname":"sb-1","metadata":{},"created_at":"2026-03-01T12:00:00.000Z",
        "last_updated":"2026-03-01T13:00:00.000Z","network":{"internet":true,"allow":[],"deny":[]},"timings":[],
        "name":"red","limits":{},"sandbox_id":"sb-1","cmd":"true","encoding":"utf-8","stdout":"","stderr":"","exit_code":0,"duration_ms":1,"timed_out":false}"#
);

/// The value of the one `Idempotency-Key` of a request.
fn key_of(request: &str) -> &str {
    let keys: Vec<_> = request
        .lines()
        .filter_map(|line| line.strip_prefix("idempotency-key: "))
        .collect();
    assert_eq!(keys.len(), 1, "{request}");
    keys[0]
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_sent_again_with_its_key() {
    let mut keys = std::collections::BTreeSet::new();
    for which in 0..8 {
        let (client, heard) = breaks_once(RUNNING);
        let create = CreateSandbox::default();
        let command = ExecRequest {
            cmd: "true".to_owned(),
            ..Default::default()
        };
        let done = match which {
            0 => client.create_sandbox(&create).await.map(drop),
            1 => client.create_sandbox_timed(&create).await.map(drop),
            2 => client.begin_sandbox(&create).await.map(drop),
            3 => client.pause("sb-1").await.map(drop),
            4 => client
                .resume("sb-1", &ResumeRequest::default())
                .await
                .map(drop),
            5 => client
                .set_network("sb-1", &Network::default())
                .await
                .map(drop),
            6 => client
                .put_team("red", &TeamLimits::default())
                .await
                .map(drop),
            _ => client.exec("sb-1", &command).await.map(drop),
        };
        done.unwrap_or_else(|error| panic!("{which}: {error:?}"));
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 2, "{which}");
        assert_eq!(heard[0], heard[1]);
        assert!(key_of(&heard[0]).len() >= 32);
        assert!(
            keys.insert(key_of(&heard[0]).to_owned()),
            "each call has its own"
        );
    }
}

/// What has a secret in its answer is given once: sent again, it would say no more than that.
#[tokio::test]
async fn a_secret_is_not_asked_for_twice() {
    let (client, heard) = breaks_once(RUNNING);
    let request: CreateKey = serde_json::from_str(r#"{"name":"ci"}"#).unwrap();
    let error = client.create_key(&request).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    assert!(!heard[0].contains("idempotency-key"));
}

#[tokio::test]
async fn what_nobody_knows_the_end_of_says_where_to_look() {
    const UNKNOWN: &str = answer!(
        "409 Conflict",
        r#"{"error":{"code":"already_exists","message":"nobody knows","remedy":"use another key","retryable":false,"request_id":"r"}}"#
    );
    let (client, _) = breaks_once(UNKNOWN);
    let error = client.pause("sb-1").await.unwrap_err();
    assert_eq!(error.to_string(), "nobody knows");
    let remedy = error.remedy().unwrap();
    assert!(
        remedy.contains("look") && !remedy.contains("key"),
        "{remedy}"
    );
}

/// The server goes on with a create whose caller hangs up; who gives it up unmakes what comes of it.
#[tokio::test]
async fn a_create_that_is_given_up_is_unmade() {
    let (tell, mut told) = tokio::sync::mpsc::channel(16);
    let made = tell.clone();
    let create = move |headers: HeaderMap| async move {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        let seen = made.send(format!("create {key}")).await;
        seen.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let (_, body) = RUNNING.split_once("\r\n\r\n").unwrap();
        body
    };
    let delete = move |Path(id): Path<String>| async move {
        tell.send(format!("delete {id}")).await.unwrap();
        StatusCode::NO_CONTENT
    };
    let router = Router::new()
        .route("/v1/sandboxes", post(create))
        .route("/v1/sandboxes/{id}", axum::routing::delete(delete));
    let client = serve(router).await;
    let request = CreateSandbox::default();
    let soon = std::time::Duration::from_millis(100);
    for explicit in [false, true] {
        if explicit {
            let given_up = tokio::time::sleep(soon);
            let none = client.create_sandbox_unless(given_up, &request).await;
            assert!(none.unwrap().is_none());
        } else {
            let call = tokio::time::timeout(soon, client.create_sandbox(&request)).await;
            assert!(call.is_err());
        }
        let mut next = async || {
            let told = tokio::time::timeout(50 * soon, told.recv()).await;
            told.expect("it is unmade").unwrap()
        };
        let first = next().await;
        assert_eq!(next().await, first);
        assert_eq!(next().await, "delete sb-1");
    }
    let never = std::future::pending();
    let made = client.create_sandbox_unless(never, &request).await.unwrap();
    assert_eq!(made.unwrap().id, "sb-1");
    client.create_sandbox(&request).await.unwrap();
    tokio::time::sleep(2 * soon).await;
    let rest: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert!(
        rest.len() == 2 && rest.iter().all(|said| said.starts_with("create")),
        "{rest:?}"
    );
}

#[tokio::test]
async fn an_attached_stream_names_the_process() {
    let converse = |mut socket: WebSocket| async move {
        let said = socket_send(&mut socket, r#"{"type":"start","pid":7}"#).await;
        assert_eq!(said, r#"{"type":"connect","pid":7}"#);
    };
    let upgrade = move |upgrade: WebSocketUpgrade| async move { upgrade.on_upgrade(converse) };
    let client = serve(Router::new().route("/v1/sandboxes/{id}/exec/stream", get(upgrade))).await;
    let (_control, mut events) = client.exec_attach("sb-1", 7).await.unwrap();
    assert_eq!(events.next().await.unwrap(), ExecEvent::Start { pid: 7 });
}
