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
use wrenn_client::api::{ErrorBody, ErrorInfo, ResumeRequest, Sandbox, StartCommand};
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
