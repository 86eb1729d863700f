//! Calls with an `Idempotency-Key`: done once, however often they are sent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{Answered, Bench};
use http::{Method, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;
use wrenn_control::{AgentAddress, ApiKey, ControlPlane, Limits};
use wrenn_store::{Once, Store};

const CREATE: &str = "/v1/sandboxes";

async fn keyed(bench: &Bench, key: &str, path: &str, body: &str) -> Answered {
    let request = bench
        .request(Method::POST, path)
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    bench.send(request, body.to_owned()).await
}

fn id(answer: &Answered) -> String {
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn is_replayed(answer: &Answered) -> bool {
    answer.headers.get("idempotency-replayed").is_some()
}

/// Another server on the same database, over the same agent.
async fn another(bench: &Bench) -> SocketAddr {
    let agent = AgentAddress::Unix(bench.folder.path().join("agent.sock"));
    let control = ControlPlane::open(&bench.database, agent, Limits::default())
        .await
        .unwrap();
    let key: ApiKey = bench.key.parse().unwrap();
    control.keys().register("first", &key).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closing = CancellationToken::new();
    let router = wrenn_http::router(control, closing.clone());
    tokio::spawn(wrenn_http::serve(listener, router, closing));
    address
}

#[tokio::test]
async fn a_call_that_is_sent_again_is_not_done_again() {
    let bench = Bench::new().await;
    let first = keyed(&bench, "k-1", CREATE, "{}").await;
    let again = keyed(&bench, "k-1", CREATE, "{}").await;
    assert_eq!(
        (first.status, is_replayed(&first)),
        (StatusCode::CREATED, false)
    );
    assert_eq!(
        (again.status, is_replayed(&again)),
        (StatusCode::CREATED, true)
    );
    assert_eq!(first.json(), again.json());
    assert_eq!(first.headers["location"], again.headers["location"]);
    assert_eq!(first.headers["content-type"], again.headers["content-type"]);
    assert_eq!(bench.agent.count(), 1);

    let exec = format!("{CREATE}/{}/exec", id(&first));
    let said = keyed(&bench, "k-2", &exec, r#"{"cmd":"true"}"#).await;
    let commands = bench.agent.calls();
    let again = keyed(&bench, "k-2", &exec, r#"{"cmd":"true"}"#).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, said.json()));
    assert_eq!(bench.agent.calls(), commands);

    // What was refused for good is refused again, in the same words under another request id.
    let resume = format!("{CREATE}/{}/resume", id(&first));
    let refused = keyed(&bench, "k-3", &resume, "").await;
    refused.refused(409, "invalid_state");
    bench
        .post(&format!("{CREATE}/{}/pause", id(&first)), "")
        .await;
    let again = keyed(&bench, "k-3", &resume, "").await;
    again.refused(409, "invalid_state");
    assert!(is_replayed(&again));
    assert_eq!(
        refused.json()["error"]["message"],
        again.json()["error"]["message"]
    );
}

#[tokio::test]
async fn those_that_come_at_once_are_done_once() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_millis(300));
    let calls = (0..5).map(|_| keyed(&bench, "k", CREATE, "{}"));
    let answers = futures::future::join_all(calls).await;
    let first = id(&answers[0]);
    for answer in &answers {
        assert_eq!(
            (answer.status, id(answer)),
            (StatusCode::CREATED, first.clone())
        );
    }
    assert_eq!(
        answers.iter().filter(|answer| !is_replayed(answer)).count(),
        1
    );
    assert_eq!(bench.agent.count(), 1);
}

#[tokio::test]
async fn a_key_is_of_one_call_and_of_one_team() {
    let bench = Bench::new().await;
    keyed(&bench, "k", CREATE, "{}").await;
    for (path, body) in [(CREATE, r#"{"vcpus":2}"#), (&format!("{CREATE}?x=1"), "{}")] {
        keyed(&bench, "k", path, body)
            .await
            .refused(409, "already_exists");
    }
    let async_ = bench
        .request(Method::POST, CREATE)
        .header("prefer", "respond-async")
        .header("idempotency-key", "k");
    bench
        .send(async_, "{}")
        .await
        .refused(409, "already_exists");
    assert_eq!(bench.agent.count(), 1);

    let theirs = bench.key("red", "sandboxes").await;
    let mut request = bench
        .request(Method::POST, CREATE)
        .header("idempotency-key", "k");
    let headers = request.headers_mut().unwrap();
    headers.insert("x-api-key", theirs.key.parse().unwrap());
    let made = bench.send(request, "{}").await;
    assert_eq!(
        (made.status, is_replayed(&made)),
        (StatusCode::CREATED, false)
    );
    assert_eq!(bench.agent.count(), 2);
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let bench = Bench::new().await;
    for bad in ["", "two words", "ü", &"x".repeat(256)] {
        let request = bench
            .request(Method::POST, CREATE)
            .header("idempotency-key", bad.as_bytes());
        bench
            .send(request, "{}")
            .await
            .refused(400, "invalid_request");
    }
    let twice = bench
        .request(Method::POST, CREATE)
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    bench
        .send(twice, "{}")
        .await
        .refused(400, "invalid_request");
    assert_eq!(bench.agent.count(), 0);
    // It says nothing where nothing is changed.
    let look = bench
        .request(Method::GET, CREATE)
        .header("idempotency-key", "");
    assert_eq!(bench.send(look, "").await.status, StatusCode::OK);
}

/// What is not done is not written down either: another call may have the key.
#[tokio::test]
async fn a_method_that_a_route_has_not_takes_no_key() {
    let bench = Bench::new().await;
    for method in [Method::PUT, Method::PATCH] {
        let request = bench
            .request(method, "/v1/keys")
            .header("idempotency-key", "k-1");
        let refused = bench.send(request, "").await;
        refused.refused(405, "method_not_allowed");
    }
    let made = keyed(&bench, "k-1", CREATE, "{}").await;
    assert_eq!(made.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_may_succeed_later_is_as_if_it_had_not_been_asked() {
    let mut bench = Bench::new().await;
    let socket = bench.folder.path().join("agent.sock");
    bench.agent.stop();
    keyed(&bench, "k", CREATE, "{}")
        .await
        .refused(503, "unavailable");
    bench.agent.restart(&socket).unwrap();
    let made = loop {
        let made = keyed(&bench, "k", CREATE, "{}").await;
        if made.status != StatusCode::SERVICE_UNAVAILABLE {
            break made;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(
        (made.status, is_replayed(&made)),
        (StatusCode::CREATED, false)
    );
}

#[tokio::test]
async fn a_caller_that_hangs_up_finds_its_sandbox_when_it_asks_again() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_millis(500));
    let mut socket = tokio::net::TcpStream::connect(bench.address).await.unwrap();
    let head = format!(
        "POST {CREATE} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
         idempotency-key: k\r\ncontent-length: 2\r\n\r\n{{}}",
        bench.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    while bench
        .get(CREATE)
        .await
        .json()
        .as_array()
        .unwrap()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(socket);
    let again = keyed(&bench, "k", CREATE, "{}").await;
    assert_eq!(
        (again.status, is_replayed(&again)),
        (StatusCode::CREATED, true)
    );
    assert_eq!(again.json()["status"], "running");
    assert_eq!(bench.agent.count(), 1);
}

#[tokio::test]
async fn it_is_known_after_a_restart_and_to_other_servers() {
    let mut bench = Bench::new().await;
    let first = keyed(&bench, "k", CREATE, "{}").await;
    bench.address = another(&bench).await;
    let again = keyed(&bench, "k", CREATE, "{}").await;
    assert!(is_replayed(&again));
    assert_eq!(again.json(), first.json());
}

/// On SQLite, where a server that finds another's call in hand knows that the other is dead. Here it lives, and is not asked.
#[tokio::test]
async fn what_a_dead_server_had_in_hand_is_found_or_told_as_unknown() {
    let mut bench = Bench::new().await;
    if bench.database.as_file().is_none() {
        return;
    }
    let id = bench.sandbox().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_secs(60));
    let exec = format!("{CREATE}/{id}/exec");
    let cut = async |path: &str, key: &str, body: &str| {
        let call = keyed(&bench, key, path, body);
        tokio::time::timeout(Duration::from_millis(500), call)
            .await
            .is_err()
    };
    assert!(cut(CREATE, "create", "{}").await);
    let sleep = r#"{"cmd":"sleep","args":["60"]}"#;
    assert!(cut(&exec, "exec", sleep).await);
    let address = another(&bench).await;
    bench.address = address;

    let found = keyed(&bench, "create", CREATE, "{}").await;
    assert_eq!(found.status, StatusCode::ACCEPTED, "{:?}", found.body);
    let listed = bench.get(CREATE).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["id"], found.json()["id"]);
    for _ in 0..2 {
        let unknown = keyed(&bench, "exec", &exec, sleep).await;
        unknown.refused(409, "already_exists");
        let message = unknown.json()["error"]["message"].to_string();
        assert!(message.contains("nobody knows"), "{message}");
    }
}

/// The call of this key, as if a server had begun it that died so long ago: no other server has it in hand any more.
async fn dies(bench: &Bench, key: &str, ago_ms: i64) {
    let store = Store::open(&bench.database).await.unwrap();
    let seen = store.once("default", key).await.unwrap().unwrap();
    let dead = Once {
        holder: "dead".to_owned(),
        held_at_ms: store.now_ms() - ago_ms,
        ..seen.clone()
    };
    assert!(store.take_over(&seen, &dead).await.unwrap());
    store.close().await;
}

/// Sends it as who waits for no answer longer than a second, until one comes.
async fn impatient(bench: &Bench, key: &str, path: &str, body: &str) -> Answered {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        let call = keyed(bench, key, path, body);
        if let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), call).await {
            return answer;
        }
    }
    panic!("nobody takes {path} over");
}

/// For all that it has in hand at the same time.
#[tokio::test]
async fn a_server_says_that_it_is_at_work() {
    let bench = Bench::new().await;
    let exec = format!("{CREATE}/{}/exec", bench.sandbox().await);
    let sleep = r#"{"cmd":"sleep","args":["60"]}"#;
    for key in ["a", "b"] {
        let call = keyed(&bench, key, &exec, sleep);
        let cut = tokio::time::timeout(Duration::from_millis(200), call).await;
        assert!(cut.is_err());
    }
    let store = Store::open(&bench.database).await.unwrap();
    let held_at = async |key| {
        store
            .once("default", key)
            .await
            .unwrap()
            .unwrap()
            .held_at_ms
    };
    let begun = [held_at("a").await, held_at("b").await];
    assert_ne!(begun[0], begun[1]);
    let started = Instant::now();
    loop {
        let held = [held_at("a").await, held_at("b").await];
        if held[0] == held[1] {
            assert!(held[0] > begun[1]);
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(12));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The callers' own time-outs are shorter than what it takes to hold a server for dead.
#[tokio::test]
async fn who_asks_every_second_hears_of_what_a_dead_server_had_in_hand() {
    let mut bench = Bench::new().await;
    let id = bench.sandbox().await;
    let exec = format!("{CREATE}/{id}/exec");
    let sleep = r#"{"cmd":"sleep","args":["60"]}"#;
    let call = keyed(&bench, "exec", &exec, sleep);
    let cut = tokio::time::timeout(Duration::from_millis(500), call).await;
    assert!(cut.is_err());
    dies(&bench, "exec", 26_000).await;
    bench.address = another(&bench).await;
    let begun = Instant::now();
    let unknown = impatient(&bench, "exec", &exec, sleep).await;
    unknown.refused(409, "already_exists");
    // On a database that others may share, not before it is dead.
    let is_shared = bench.database.as_file().is_none();
    assert_eq!(begun.elapsed() > Duration::from_secs(2), is_shared);
}

#[tokio::test]
async fn a_create_that_is_taken_over_is_pending_and_then_runs() {
    let mut bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_secs(4));
    let call = keyed(&bench, "k", CREATE, "{}");
    let cut = tokio::time::timeout(Duration::from_millis(500), call).await;
    assert!(cut.is_err());
    dies(&bench, "k", 31_000).await;
    bench.address = another(&bench).await;
    let pending = impatient(&bench, "k", CREATE, "{}").await;
    assert_eq!(pending.status, StatusCode::ACCEPTED);
    // Nor has a third server to wait for the second one.
    bench.address = another(&bench).await;
    let mut made = impatient(&bench, "k", CREATE, "{}").await;
    assert_eq!(made.status, StatusCode::ACCEPTED);
    let begun = Instant::now();
    while made.status == StatusCode::ACCEPTED {
        assert!(begun.elapsed() < Duration::from_secs(12));
        tokio::time::sleep(Duration::from_millis(500)).await;
        made = impatient(&bench, "k", CREATE, "{}").await;
    }
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(id(&made), id(&pending));
    assert_eq!(bench.agent.count(), 1);
}

/// Over HTTP/2, and as proxies say it, a URI names the server as well.
#[tokio::test]
async fn a_call_is_the_same_over_another_version_and_to_another_server() {
    let mut bench = Bench::new().await;
    let first = keyed(&bench, "k", CREATE, "{}").await;
    bench.client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    for _ in 0..2 {
        let again = keyed(&bench, "k", CREATE, "{}").await;
        assert_eq!(
            (again.status, is_replayed(&again)),
            (StatusCode::CREATED, true),
            "{:?}",
            again.body
        );
        assert_eq!(id(&again), id(&first));
        bench.address = another(&bench).await;
    }
}

#[tokio::test]
async fn a_secret_is_given_once_and_kept_nowhere() {
    let bench = Bench::new().await;
    let made = keyed(&bench, "k", "/v1/keys", r#"{"name":"ci"}"#).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let secret = made.json()["key"].as_str().unwrap().to_owned();
    let again = keyed(&bench, "k", "/v1/keys", r#"{"name":"ci"}"#).await;
    again.refused(409, "already_exists");
    let listed = bench.get("/v1/keys").await.json();
    let named = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["name"] == json!("ci"));
    assert_eq!(named.count(), 1);
    if let Some(file) = bench.database.as_file() {
        for file in [file.to_owned(), file.with_extension("db-wal")] {
            let bytes = std::fs::read(file).unwrap();
            assert!(
                !bytes
                    .windows(secret.len())
                    .any(|bytes| bytes == secret.as_bytes())
            );
        }
    }
}

#[tokio::test]
async fn a_command_that_breaks_off_is_not_run_again() {
    let mut bench = Bench::new().await;
    let exec = format!("{CREATE}/{}/exec", bench.sandbox().await);
    let sleep = r#"{"cmd":"sleep","args":["60"]}"#;
    let socket = bench.folder.path().join("agent.sock");
    let stop = async {
        while bench.agent.commands() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.agent.stop();
    };
    let (broke_off, ()) = tokio::join!(keyed(&bench, "k", &exec, sleep), stop);
    broke_off.refused(503, "unavailable");
    bench.agent.restart(&socket).unwrap();
    let again = keyed(&bench, "k", &exec, sleep).await;
    again.refused(409, "already_exists");
    assert!(is_replayed(&again));
    let message = again.json()["error"]["message"].to_string();
    assert!(message.contains("nobody knows"), "{message}");
}
