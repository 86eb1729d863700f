//! Snapshots and forks as a caller meets them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Answered, Bench, Made};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use wrenn_model::{ErrorKind, Fault};
use wrenn_store::{Once, Store};

const SNAPSHOTS: &str = "/v1/snapshots";

async fn snapshot(bench: &Bench, query: &str, id: &str, name: &str) -> Answered {
    let body = json!({ "sandbox_id": id, "name": name });
    let path = format!("{SNAPSHOTS}{query}");
    bench.post(&path, &body.to_string()).await
}

async fn fork(bench: &Bench, id: &str, body: &str) -> Answered {
    bench.post(&format!("/v1/sandboxes/{id}/fork"), body).await
}

async fn keyed(bench: &Bench, key: &str, path: &str, body: &str) -> Answered {
    let request = bench
        .request(Method::POST, path)
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    bench.send(request, body.to_owned()).await
}

async fn as_other(bench: &Bench, key: &Made, method: Method, path: &str, body: &str) -> Answered {
    let request = key.request(bench, method, path);
    bench.send(request, body.to_owned()).await
}

fn is_replayed(answer: &Answered) -> bool {
    answer.headers.get("idempotency-replayed").is_some()
}

#[tokio::test]
async fn a_snapshot_is_made_listed_used_and_deleted() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let made = snapshot(&bench, "", &id, "warm").await;
    assert_eq!(made.status, StatusCode::CREATED, "{:?}", made.body);
    assert_eq!(made.headers["location"], "/v1/snapshots/warm");
    let told = made.json();
    assert_eq!(told["type"], "snapshot");
    assert_eq!(
        (&told["vcpus"], &told["memory_mb"]),
        (&json!(1), &json!(512))
    );
    assert!(told["notice"].as_str().unwrap().contains("memory"));
    assert_eq!(
        (&told["frozen_ms"], &told["timings"][0]["step"]),
        (&json!(21.5), &json!("freeze"))
    );

    let listed = bench
        .get(&format!("{SNAPSHOTS}?type=snapshot"))
        .await
        .json();
    let mut only = told.clone();
    for more in ["notice", "frozen_ms", "timings"] {
        only.as_object_mut().unwrap().remove(more);
    }
    assert_eq!(listed, json!([only]));
    let all = bench.get(SNAPSHOTS).await.json();
    assert_eq!(all.as_array().unwrap().len(), 3);

    let body = r#"{"template":"warm","vcpus":3,"memory_mb":64,"cold":true}"#;
    let other = bench.post("/v1/sandboxes", body).await.json();
    assert_eq!(
        (&other["vcpus"], &other["memory_mb"]),
        (&json!(1), &json!(512))
    );
    assert!(bench.agent.was_cold(other["id"].as_str().unwrap()));
    assert!(other.get("parent_id").is_none());

    let path = format!("{SNAPSHOTS}/warm");
    assert_eq!(bench.delete(&path).await.status, StatusCode::NO_CONTENT);
    bench.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    for body in [
        String::new(),
        "{}".to_owned(),
        format!(r#"{{"sandbox_id":"{id}","name":"../x"}}"#),
        format!(r#"{{"sandbox_id":"{id}","overwrite":true}}"#),
    ] {
        let told = bench.post(SNAPSHOTS, &body).await;
        told.refused(400, "invalid_request");
    }
    for query in ["?overwrite=1", "?source=stop", "?name=x"] {
        let told = snapshot(&bench, query, &id, "warm").await;
        told.refused(400, "invalid_request");
    }
    for absent in ["sb-aaaaaaaaaaaaaaaaaaaa", "x"] {
        let told = snapshot(&bench, "", absent, "warm").await;
        told.refused(404, "not_found");
    }
    for body in [r#"{"count":0}"#, r#"{"count":101}"#, r#"{"name":"x"}"#] {
        let told = fork(&bench, &id, body).await;
        told.refused(400, "invalid_request");
    }
    assert_eq!(bench.agent.count(), 1);
}

#[tokio::test]
async fn a_name_is_made_up_and_taken_once() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let body = format!(r#"{{"sandbox_id":"{id}"}}"#);
    let made = bench.post(SNAPSHOTS, &body).await.json();
    let name = made["name"].as_str().unwrap();
    let hex = name.strip_prefix("template-").unwrap();
    assert!(hex.len() == 8 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let taken = snapshot(&bench, "", &id, name).await;
    taken.refused(409, "already_exists");
    let over = snapshot(&bench, "?overwrite=true", &id, name).await;
    assert_eq!(over.status, StatusCode::CREATED);
    for query in ["", "?overwrite=true"] {
        let told = snapshot(&bench, query, &id, "minimal").await;
        told.refused(409, "already_exists");
    }
}

#[tokio::test]
async fn a_key_for_templates_alone_pauses_nothing() {
    let bench = Bench::new().await;
    let red = bench.key("red", "admin").await;
    let made = as_other(&bench, &red, Method::POST, "/v1/sandboxes", "{}").await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let templates = bench.key("red", "templates").await;
    let body = |name: &str| json!({ "sandbox_id": id, "name": name }).to_string();
    let path = format!("{SNAPSHOTS}?source=pause");
    let told = as_other(&bench, &templates, Method::POST, &path, &body("a")).await;
    told.refused(403, "forbidden");
    let told = as_other(&bench, &templates, Method::POST, SNAPSHOTS, &body("a")).await;
    assert_eq!(told.status, StatusCode::CREATED);
    let both = bench.key("red", "sandboxes,templates").await;
    let told = as_other(&bench, &both, Method::POST, &path, &body("b")).await;
    assert_eq!(told.status, StatusCode::CREATED);
    assert_eq!(bench.agent.sandbox(&id).unwrap().status, "paused");
    let users = bench.key("red", "sandboxes").await;
    let told = as_other(&bench, &users, Method::POST, SNAPSHOTS, &body("c")).await;
    told.refused(403, "forbidden");

    // A team deletes what is its own, and what all share the operator alone.
    let blue = bench.key("blue", "templates").await;
    let delete = async |key: &Made, name: &str| {
        let path = format!("{SNAPSHOTS}/{name}");
        as_other(&bench, key, Method::DELETE, &path, "").await
    };
    delete(&blue, "a").await.refused(404, "not_found");
    delete(&blue, "minimal").await.refused(403, "forbidden");
    assert_eq!(delete(&templates, "a").await.status, StatusCode::NO_CONTENT);
    let own = bench.key("default", "templates").await;
    // Bound to its team, it sees no other's snapshot, and may delete base templates.
    delete(&own, "b").await.refused(404, "not_found");
    assert_eq!(delete(&own, "python").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn children_are_told_one_by_one() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let made = fork(&bench, &id, "").await;
    assert_eq!(made.status, StatusCode::CREATED, "{:?}", made.body);
    let told = made.json();
    assert_eq!(told["results"].as_array().unwrap().len(), 1);
    let child = &told["results"][0]["sandbox"];
    assert_eq!(
        (&child["status"], &child["parent_id"]),
        (&json!("running"), &json!(id))
    );
    assert_eq!(told["frozen_ms"], 21.5);
    let path = format!("/v1/sandboxes/{}", child["id"].as_str().unwrap());
    assert_eq!(bench.get(&path).await.json()["parent_id"], json!(id));

    let fault = Fault::new(ErrorKind::HostBusy, "no place", "wait");
    bench.agent.set(|knobs| {
        knobs.fork_child_fails = BTreeMap::from([(0, fault.clone())]);
    });
    let body = r#"{"count":2,"metadata":{"a":"b"},"timeout_sec":9}"#;
    let made = fork(&bench, &id, body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let results = made.json()["results"].clone();
    let error = &results[0]["error"];
    assert_eq!(error["code"], "resource_exhausted");
    assert_eq!(
        (&error["remedy"], &error["retryable"]),
        (&json!("wait"), &json!(true))
    );
    let request_id = made.headers["x-request-id"].to_str().unwrap();
    assert_eq!(error["request_id"], request_id);
    let child = &results[1]["sandbox"];
    assert_eq!(
        (&child["metadata"], &child["timeout_sec"]),
        (&json!({"a":"b"}), &json!(9))
    );
    assert!(results[0].get("sandbox").is_none() && results[1].get("error").is_none());

    let none = fork(&bench, &id, "{}").await;
    none.refused(429, "resource_exhausted");
}

#[tokio::test]
async fn calls_with_a_key_are_done_once() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let body = format!(r#"{{"sandbox_id":"{id}"}}"#);
    let forking = format!("/v1/sandboxes/{id}/fork");
    for (path, body) in [
        (SNAPSHOTS, body.as_str()),
        (forking.as_str(), r#"{"count":2}"#),
    ] {
        let first = keyed(&bench, path, path, body).await;
        assert_eq!(first.status, StatusCode::CREATED);
        let again = keyed(&bench, path, path, body).await;
        assert_eq!(
            (again.status, is_replayed(&again)),
            (StatusCode::CREATED, true)
        );
        assert_eq!(first.json(), again.json());
    }
    assert_eq!(bench.agent.count(), 3);
    assert_eq!(
        bench.get(SNAPSHOTS).await.json().as_array().unwrap().len(),
        3
    );
}

/// The answers of a hundred children are kept, too.
#[tokio::test]
async fn a_large_fork_is_told_again() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let path = format!("/v1/sandboxes/{id}/fork");
    let labels: BTreeMap<_, _> = (0..4).map(|n| (n.to_string(), "x".repeat(1000))).collect();
    let body = json!({ "count": 100, "metadata": labels }).to_string();
    let first = keyed(&bench, "k", &path, &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = keyed(&bench, "k", &path, &body).await;
    assert!(is_replayed(&again));
    assert_eq!(first.json(), again.json());
    assert_eq!(bench.agent.count(), 101);
}

/// What a server has in hand when it dies, as it stands in the store: of a call that is sent again, everything but who asks.
async fn abandon(bench: &Bench, key: &str) -> Once {
    let store = Store::open(&bench.database).await.unwrap();
    let call = store.once("default", key).await.unwrap().unwrap();
    let left = Once {
        holder: "dead".to_owned(),
        held_at_ms: 0,
        answer: None,
        ..call
    };
    let forgotten = store.forget_once(i64::MAX).await.unwrap();
    assert!(forgotten > 0);
    assert!(store.begin_once(&left, 0).await.unwrap().is_none());
    store.close().await;
    left
}

#[tokio::test]
async fn what_a_dead_server_made_is_found() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let body = format!(r#"{{"sandbox_id":"{id}"}}"#);
    let made = keyed(&bench, "s", SNAPSHOTS, &body).await.json();
    abandon(&bench, "s").await;
    let again = keyed(&bench, "s", SNAPSHOTS, &body).await;
    assert_eq!(again.status, StatusCode::CREATED, "{:?}", again.body);
    for what in ["name", "created_at", "notice"] {
        assert_eq!(again.json()[what], made[what]);
    }
    // And what was told is kept.
    assert!(is_replayed(&keyed(&bench, "s", SNAPSHOTS, &body).await));

    let path = format!("/v1/sandboxes/{id}/fork");
    let body = r#"{"count":2}"#;
    let made = keyed(&bench, "f", &path, body).await.json();
    let lost = made["results"][0]["sandbox"]["id"].as_str().unwrap();
    bench.delete(&format!("/v1/sandboxes/{lost}")).await;
    abandon(&bench, "f").await;
    let again = keyed(&bench, "f", &path, body).await;
    assert_eq!(again.status, StatusCode::CREATED, "{:?}", again.body);
    let results = again.json()["results"].clone();
    assert_eq!(results[0]["error"]["code"], "unavailable");
    assert_eq!(
        results[1]["sandbox"]["id"],
        made["results"][1]["sandbox"]["id"]
    );
    assert_eq!(bench.agent.count(), 2);
}

#[tokio::test]
async fn what_a_dead_server_did_not_make_is_made() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let body = format!(r#"{{"sandbox_id":"{id}","name":"warm"}}"#);
    keyed(&bench, "s", SNAPSHOTS, &body).await;
    abandon(&bench, "s").await;
    bench.delete(&format!("{SNAPSHOTS}/warm")).await;
    let again = keyed(&bench, "s", SNAPSHOTS, &body).await;
    assert_eq!(again.status, StatusCode::CREATED, "{:?}", again.body);
    assert!(bench.agent.template("warm").is_some());
    // One that is older than the call is not of it.
    let taken = keyed(&bench, "other", SNAPSHOTS, &body).await;
    taken.refused(409, "already_exists");
    abandon(&bench, "other").await;
    let again = keyed(&bench, "other", SNAPSHOTS, &body).await;
    again.refused(409, "already_exists");

    let path = format!("/v1/sandboxes/{id}/fork");
    let made = keyed(&bench, "f", &path, "").await.json();
    let first = made["results"][0]["sandbox"]["id"].clone();
    bench
        .delete(&format!("/v1/sandboxes/{}", first.as_str().unwrap()))
        .await;
    abandon(&bench, "f").await;
    let again = keyed(&bench, "f", &path, "").await;
    assert_eq!(again.status, StatusCode::CREATED, "{:?}", again.body);
    let second = again.json()["results"][0]["sandbox"]["id"].clone();
    assert_ne!(first, second);
    assert_eq!(bench.agent.count(), 2);
}

/// The agent goes on with it, and its answer is not heard: who sends it again finds it.
#[tokio::test]
async fn a_snapshot_whose_answer_is_lost_is_found() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let body = format!(r#"{{"sandbox_id":"{id}"}}"#);
    bench.agent.set(|knobs| {
        knobs.door = wrenn_testkit::agent::Door::Lost;
        // The host's clock is not the database's.
        knobs.behind_ms = 5000;
    });
    let lost = keyed(&bench, "k", SNAPSHOTS, &body).await;
    lost.refused(503, "unavailable");
    bench
        .agent
        .set(|knobs| knobs.door = wrenn_testkit::agent::Door::Open);
    // While its row says that it may be under way, nobody knows.
    let mut again = keyed(&bench, "k", SNAPSHOTS, &body).await;
    for _ in 0..20 {
        if again.status == StatusCode::CREATED {
            break;
        }
        again.refused(409, "conflict");
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.control.reconcile().await.unwrap();
        again = keyed(&bench, "k", SNAPSHOTS, &body).await;
    }
    assert_eq!(again.status, StatusCode::CREATED, "{:?}", again.body);
    let listed = bench
        .get(&format!("{SNAPSHOTS}?type=snapshot"))
        .await
        .json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_was_done_is_on_the_record_and_among_the_events() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    snapshot(&bench, "", &id, "warm").await;
    let child = fork(&bench, &id, "").await.json()["results"][0]["sandbox"]["id"].clone();
    let mut found: Vec<Value> = Vec::new();
    for _ in 0..100 {
        let audit = bench.get("/v1/audit").await.json();
        found = audit.as_array().unwrap().clone();
        if found.len() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let of = |action: &str| found.iter().find(|one| one["action"] == action).unwrap();
    assert_eq!(of("POST /v1/snapshots")["object"], "warm");
    assert_eq!(of("POST /v1/snapshots")["sandbox_id"], json!(id));
    assert_eq!(of("POST /v1/sandboxes/{id}/fork")["sandbox_id"], json!(id));
    let request = bench
        .request(Method::GET, "/v1/events?limit=100")
        .header("accept", "application/json");
    let events = bench.send(request, "").await.json();
    let seen: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (&event["sandbox_id"], &event["transition"]))
        .collect();
    for transition in ["snapshotting", "forking"] {
        assert!(seen.contains(&(&json!(id), &json!(transition))), "{events}");
    }
    assert!(seen.contains(&(&child, &json!("starting"))), "{events}");
}
