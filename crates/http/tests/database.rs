//! The database goes away, before a call and in the middle of it: 503, nothing is lost, and it goes on by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::{Duration, Instant};

use common::Bench;
use http::Method;
use serde_json::Value;
use wrenn_testkit::postgres::Cluster;

async fn bench(cluster: &Cluster) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    Bench::on(folder, cluster.database().parse().unwrap()).await
}

/// The calls that take their time over a sandbox; `ID` stands for a running one, `PAUSED` for one that is paused.
const LASTING: &[(&str, &str, &str)] = &[
    ("POST", "/v1/sandboxes", "{}"),
    ("POST", "/v1/sandboxes/ID/pause", ""),
    ("POST", "/v1/sandboxes/PAUSED/resume", ""),
    ("PUT", "/v1/sandboxes/ID/network", r#"{"internet":false}"#),
    ("DELETE", "/v1/sandboxes/ID", ""),
    ("POST", "/v1/sandboxes/ID/fork", r#"{"count":2}"#),
];

/// Every call that changes something, as the contract names them.
fn mutating() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(wrenn_http::document::json()).unwrap();
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let takes = operation["parameters"].to_string();
            if takes.contains("Idempotency-Key") {
                calls.push((verb.to_uppercase().parse().unwrap(), path.clone()));
            }
        }
    }
    assert!(calls.len() >= 14, "{calls:?}");
    calls
}

/// One of them, with all that it needs.
struct Whole {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
    key: Option<String>,
}

impl Whole {
    async fn new(bench: &Bench, (method, route): &(Method, String), key: Option<String>) -> Self {
        let mut whole = Self {
            method: method.clone(),
            path: route.clone(),
            content_type: "application/json",
            body: Vec::new(),
            key,
        };
        if route.contains("/sandboxes/{id}") {
            let id = bench.sandbox().await;
            if route.ends_with("/resume") {
                let paused = bench.post(&format!("/v1/sandboxes/{id}/pause"), "").await;
                assert_eq!(paused.status, 200);
            }
            whole.path = route.replace("{id}", &id);
        }
        let json = match (method.as_str(), route.as_str()) {
            ("POST", "/v1/sandboxes") => "{}",
            ("POST", "/v1/keys") => r#"{"name":"ci"}"#,
            ("DELETE", "/v1/keys/{id}") => {
                let key = bench.key("red", "read").await;
                whole.path = route.replace("{id}", &key.id);
                ""
            }
            ("POST", "/v1/snapshots") => {
                let id = bench.sandbox().await;
                whole.body = format!(r#"{{"sandbox_id":"{id}","name":"warm"}}"#).into();
                return whole;
            }
            ("POST", "/v1/pools") => r#"{"template":"minimal","count":1}"#,
            ("DELETE", "/v1/snapshots/{name}") => {
                whole.path = route.replace("{name}", "python");
                ""
            }
            ("PUT", "/v1/teams/{name}") => {
                whole.path = route.replace("{name}", "blue");
                r#"{"max_vcpus":1}"#
            }
            ("PUT", _) => r#"{"internet":false}"#,
            ("POST", _) if route.ends_with("/exec") => r#"{"cmd":"true"}"#,
            ("POST", _) if route.ends_with("/write") => {
                whole.content_type = "multipart/form-data; boundary=frontier";
                whole.body = common::form(&[("path", b"/f"), ("file", b"content")]);
                return whole;
            }
            _ => "",
        };
        whole.body = json.into();
        assert!(!whole.path.contains('{'), "{route}: what does it need?");
        whole
    }

    async fn send(&self, bench: &Bench) -> common::Answered {
        let mut request = bench
            .request(self.method.clone(), &self.path)
            .header("content-type", self.content_type);
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }
        bench.send(request, self.body.clone()).await
    }
}

/// What calls change: rows, keys, teams, templates, and what the agent has done.
async fn changed(bench: &Bench) -> Vec<Value> {
    let mut seen = vec![bench.agent.done().into(), bench.agent.count().into()];
    for list in [
        "/v1/sandboxes",
        "/v1/keys",
        "/v1/teams",
        "/v1/snapshots",
        "/v1/pools",
    ] {
        let mut list = bench.get(list).await.json();
        if list["pools"].is_array() {
            list = list["pools"].take();
        }
        for one in list.as_array_mut().unwrap() {
            // When something was last used says that it was used, and no more.
            one.as_object_mut()
                .unwrap()
                .retain(|name, _| !name.starts_with("last_"));
        }
        seen.push(list);
    }
    seen
}

async fn call(
    bench: &Bench,
    key: Option<&str>,
    (method, path, body): (&str, &str, &str),
) -> common::Answered {
    let method: Method = method.parse().unwrap();
    let mut request = bench
        .request(method, path)
        .header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    bench.send(request, body.to_owned()).await
}

/// The call with the ids of two sandboxes made for it.
async fn prepare(bench: &Bench, path: &str) -> (String, Vec<String>) {
    let (running, paused) = (bench.sandbox().await, bench.sandbox().await);
    let pause = format!("/v1/sandboxes/{paused}/pause");
    assert_eq!(bench.post(&pause, "").await.status, 200);
    let path = path.replace("ID", &running).replace("PAUSED", &paused);
    (path, vec![running, paused])
}

fn is_away(answer: &common::Answered) {
    answer.refused(503, "unavailable");
    assert_eq!(answer.json()["error"]["retryable"], true);
}

#[tokio::test]
async fn without_a_database_a_call_changes_nothing_and_works_again_when_it_is_back() {
    let cluster = Cluster::start();
    for has_key in [false, true] {
        let bench = bench(&cluster).await;
        for (number, operation) in mutating().iter().enumerate() {
            let key = has_key.then(|| format!("k-{number}"));
            let call = Whole::new(&bench, operation, key).await;
            let before = changed(&bench).await;
            cluster.stop();
            let away = call.send(&bench).await;
            // Templates and pools are the host's, and nothing of them is in the database: that is done, and the answer says so.
            let of_the_host = ["/v1/snapshots/{name}", "/v1/pools"].contains(&operation.1.as_str());
            let is_done = !has_key && of_the_host;
            if is_done {
                assert!(away.status.is_success(), "{operation:?}");
            } else {
                is_away(&away);
            }
            is_away(&bench.get("/v1/sandboxes").await);
            is_away(&bench.get("/healthz").await);
            cluster.restart();
            if is_done {
                let again = call.send(&bench).await;
                let is_again = again.status.is_success() || again.status == 404;
                assert!(is_again, "{operation:?}: {:?}", again.body);
                continue;
            }
            assert_eq!(changed(&bench).await, before, "{operation:?} {has_key}");
            let again = call.send(&bench).await;
            let what = format!("{operation:?} {has_key}: {:?}", again.body);
            assert!(again.status.is_success(), "{what}");
            assert!(
                !again.headers.contains_key("idempotency-replayed"),
                "{what}"
            );
            if !has_key {
                continue;
            }
            let after = changed(&bench).await;
            let calls = bench.agent.calls();
            let third = call.send(&bench).await;
            if matches!(operation.1.as_str(), "/v1/keys" | "/v1/hosts/invitations") {
                third.refused(409, "already_exists");
            } else {
                assert_eq!(third.status, again.status, "{what}");
            }
            assert!(third.headers.contains_key("idempotency-replayed"), "{what}");
            assert_eq!(bench.agent.calls(), calls, "{what}");
            assert_eq!(changed(&bench).await, after, "{what}");
        }
    }
}

#[tokio::test]
async fn in_the_middle_of_a_call_it_is_told_and_settled_when_it_is_back() {
    let cluster = Cluster::start();
    let bench = bench(&cluster).await;
    let cases = LASTING
        .iter()
        .flat_map(|call| [(call, false), (call, true)]);
    for (number, (&(method, path, body), has_key)) in cases.enumerate() {
        let key = has_key.then(|| format!("k-{number}"));
        bench.agent.set(|knobs| *knobs = Default::default());
        let (path, ids) = prepare(&bench, path).await;
        let bystander = bench.sandbox().await;
        bench.agent.set(|knobs| {
            let long = Duration::from_millis(500);
            (knobs.create_takes, knobs.destroy_takes) = (long, long);
            (knobs.pause_takes, knobs.resume_takes, knobs.network_takes) = (long, long, long);
            knobs.fork_takes = long;
        });
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            cluster.stop();
        };
        let (answer, ()) = tokio::join!(
            call(&bench, key.as_deref(), (method, &path, body)),
            stopping
        );
        is_away(&answer);
        assert_eq!(bench.agent.sandbox(&bystander).unwrap().status, "running");
        cluster.restart();
        bench.agent.set(|knobs| *knobs = Default::default());
        settled(&bench).await;
        // Asked again, it is done, or has been done.
        let begun = Instant::now();
        let again = call(&bench, key.as_deref(), (method, &path, body)).await;
        // This server knows that it has nothing in hand.
        assert!(begun.elapsed() < Duration::from_secs(15), "{method} {path}");
        let done = again.status.is_success() || again.status.as_u16() == 409;
        assert!(done, "{method} {path}: {:?}", again.body);
        settled(&bench).await;
        for id in ids.iter().chain([&bystander]) {
            let row = bench.get(&format!("/v1/sandboxes/{id}")).await.json();
            let seen = bench.agent.sandbox(id);
            let status = seen.map_or("stopped".into(), |seen| seen.status);
            assert_eq!(row["status"], status, "{method} {path}");
        }
    }
    let rows = bench.get("/v1/sandboxes").await.json();
    let alive = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["status"] != "stopped");
    assert_eq!(alive.count(), bench.agent.count());
}

/// Waits until nothing is under way in any row.
async fn settled(bench: &Bench) {
    for _ in 0..200 {
        bench.control.reconcile().await.unwrap();
        let rows = bench.get("/v1/sandboxes").await.json();
        if rows
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["transition"].is_null())
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{}", bench.get("/v1/sandboxes").await.json());
}
