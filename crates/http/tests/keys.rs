//! Keys and teams as a caller meets them.

mod common;

use std::time::Duration;

use common::{Answered, Bench, Made};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use wrenn_testkit::agent::STORAGE_BYTES;

const SCOPES: [&str; 4] = ["read", "sandboxes", "templates", "admin"];

async fn call(bench: &Bench, key: &Made, method: Method, path: &str, body: &str) -> Answered {
    let request = key.request(bench, method, path);
    bench.send(request, body.to_owned()).await
}

/// Gives the team `red` these limits and no others.
async fn limit(bench: &Bench, limits: Value) {
    let request = bench.request(Method::PUT, "/v1/teams/red");
    let put = bench.send(request, limits.to_string()).await;
    assert_eq!(
        (put.status, &put.json()["limits"]),
        (StatusCode::OK, &limits)
    );
}

#[tokio::test]
async fn a_key_s_life() {
    let bench = Bench::new().await;
    let made = bench
        .post("/v1/keys", r#"{"name":"ci","expires_in_sec":60}"#)
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    assert_eq!(
        (&made["name"], &made["team"]),
        (&json!("ci"), &json!("default"))
    );
    assert_eq!(made["scopes"], json!(["read", "sandboxes"]));
    assert!(made["expires_at"].as_str() > made["created_at"].as_str());
    let key = Made {
        id: made["id"].as_str().unwrap().to_owned(),
        key: made["key"].as_str().unwrap().to_owned(),
    };

    let created = call(&bench, &key, Method::POST, "/v1/sandboxes", "{}").await;
    assert_eq!(created.status, StatusCode::CREATED);
    let listed = bench.get("/v1/keys").await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(&key.key));
    let listed = listed.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let own = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["id"] == key.id);
    assert!(own.unwrap().get("revoked_at").is_none());

    let path = format!("/v1/keys/{}", key.id);
    call(&bench, &key, Method::DELETE, &path, "")
        .await
        .refused(403, "forbidden");
    for _ in 0..2 {
        assert_eq!(bench.delete(&path).await.status, StatusCode::NO_CONTENT);
        let refused = call(&bench, &key, Method::GET, "/v1/sandboxes", "").await;
        refused.refused(401, "unauthorized");
        let message = refused.json()["error"]["message"].clone();
        assert!(
            message.as_str().unwrap().contains("was revoked"),
            "{message}"
        );
    }
    for absent in ["key-00000000", "key-x", "wrn_x"] {
        bench
            .delete(&format!("/v1/keys/{absent}"))
            .await
            .refused(404, "not_found");
    }
    for bad in [
        "",
        "{}",
        r#"{"name":""}"#,
        r#"{"name":"a","scopes":["root"]}"#,
    ] {
        bench
            .post("/v1/keys", bad)
            .await
            .refused(400, "invalid_request");
    }
    let stray = r#"{"name":"a","team":"nobodys"}"#;
    bench
        .post("/v1/keys", stray)
        .await
        .refused(404, "not_found");
}

/// Every operation, with a key for each scope alone, of the operator's team and of another.
#[tokio::test]
async fn a_key_may_do_what_the_document_says_and_nothing_else() {
    let bench = Bench::new().await;
    let mut keys = Vec::new();
    for team in ["default", "red"] {
        for scope in SCOPES {
            keys.push((team, scope, bench.key(team, scope).await));
        }
    }
    let document: Value = serde_json::from_str(wrenn_http::document::json()).unwrap();
    let mut probed = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(needs) = operation["security"][0]["api_key"].as_array() else {
                continue;
            };
            let operator = needs.contains(&json!("operator"));
            // Of things that are not there, and without a body: nothing is done.
            let path = path
                .replace("{id}", "sb-aaaaaaaaaaaaaaaaaaaa")
                .replace("{name}", "absent");
            let verb: Method = method.to_uppercase().parse().unwrap();
            // A stream would go on: it is asked for in words that make none.
            let path = path.replace("/v1/events", "/v1/events?limit=0");
            for (team, scope, key) in &keys {
                let answer = call(&bench, key, verb.clone(), &path, "").await;
                let scoped = needs[0] == **scope || *scope == "admin";
                let context = format!("{verb} {path} with {scope} of {team}");
                if scoped && (!operator || *team == "default") {
                    assert!(!matches!(answer.status.as_u16(), 401 | 403), "{context}");
                    continue;
                }
                answer.refused(403, "forbidden");
                let lacks = if scoped {
                    "default"
                } else {
                    needs[0].as_str().unwrap()
                };
                let message = answer.json()["error"]["message"].clone();
                assert!(
                    message.as_str().unwrap().contains(lacks),
                    "{context}: {message}"
                );
                probed += 1;
            }
        }
    }
    assert!(probed > 80, "{probed}");
}

/// Not in the document: the figures of the whole installation.
#[tokio::test]
async fn the_installation_s_figures_are_the_operator_s() {
    let bench = Bench::new().await;
    for (team, scope, status) in [
        ("default", "read", 200),
        ("red", "admin", 403),
        ("default", "sandboxes", 403),
    ] {
        let key = bench.key(team, scope).await;
        let answer = call(&bench, &key, Method::GET, "/metrics", "").await;
        assert_eq!(answer.status.as_u16(), status, "{scope} of {team}");
    }
}

#[tokio::test]
async fn a_team_s_limits_are_the_operator_s_to_say() {
    let bench = Bench::new().await;
    let put =
        async |key: &Made, body: &str| call(&bench, key, Method::PUT, "/v1/teams/red", body).await;
    bench.get("/v1/teams/red").await.refused(404, "not_found");
    let operator = bench.key("default", "admin").await;
    let limits = json!({"max_sandboxes": 5, "creates_per_min": 0});
    let made = put(&operator, &limits.to_string()).await;
    assert_eq!(
        (made.status, &made.json()["limits"]),
        (StatusCode::OK, &limits)
    );
    for bad in [
        "",
        r#"{"max_vcpus":-1}"#,
        r#"{"max_disk":1}"#,
        r#"{"max_vcpus":"1"}"#,
    ] {
        put(&operator, bad).await.refused(400, "invalid_request");
    }

    let red = bench.key("red", "admin").await;
    put(&red, "{}").await.refused(403, "forbidden");
    let own = call(&bench, &red, Method::GET, "/v1/teams/red", "").await;
    assert_eq!(
        (&own.json()["name"], &own.json()["limits"]),
        (&json!("red"), &limits)
    );
    let other = call(&bench, &red, Method::GET, "/v1/teams/default", "").await;
    other.refused(404, "not_found");
    let seen = call(&bench, &red, Method::GET, "/v1/teams", "")
        .await
        .json();
    assert_eq!(seen.as_array().unwrap().len(), 1);
    assert_eq!(
        bench
            .get("/v1/teams")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );

    put(&operator, "{}").await;
    assert_eq!(bench.get("/v1/teams/red").await.json()["limits"], json!({}));
}

#[tokio::test]
async fn beyond_a_limit_a_create_is_429_and_leaves_no_trace() {
    let bench = Bench::new().await;
    let red = bench.key("red", "read,sandboxes").await;
    let limits = async |limits: Value| limit(&bench, limits).await;
    limits(json!({"max_sandboxes": 1})).await;
    let create = async || call(&bench, &red, Method::POST, "/v1/sandboxes", "{}").await;
    let made = create().await;
    assert_eq!(made.status, StatusCode::CREATED);
    let full = create().await;
    full.refused(429, "resource_exhausted");
    assert!(full.headers.get("retry-after").is_none());
    let message = full.json()["error"]["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("team red has 1 sandboxes"),
        "{message}"
    );
    let listed = call(&bench, &red, Method::GET, "/v1/sandboxes", "")
        .await
        .json();
    assert_eq!(
        (listed.as_array().unwrap().len(), bench.agent.count()),
        (1, 1)
    );

    limits(json!({"creates_per_min": 1})).await;
    let soon = create().await;
    soon.refused(429, "resource_exhausted");
    let seconds: u32 = soon.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    // Others are not held up by it, and what was taken is given back.
    assert_eq!(
        bench.post("/v1/sandboxes", "{}").await.status,
        StatusCode::CREATED
    );
    limits(json!({"max_sandboxes": 1})).await;
    let path = format!("/v1/sandboxes/{}", made.json()["id"].as_str().unwrap());
    call(&bench, &red, Method::DELETE, &path, "").await;
    assert_eq!(create().await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_was_paused_runs_again_within_its_team_s_limits() {
    let bench = Bench::new().await;
    let red = bench.key("red", "read,sandboxes").await;
    let limits = async |limits: Value| limit(&bench, limits).await;
    let create = async || {
        let body = r#"{"vcpus":1,"auto_resume":true}"#;
        let made = call(&bench, &red, Method::POST, "/v1/sandboxes", body).await;
        assert_eq!(made.status, StatusCode::CREATED);
        format!("/v1/sandboxes/{}", made.json()["id"].as_str().unwrap())
    };
    let post = async |path: &str, what: &str, body: &str| {
        call(&bench, &red, Method::POST, &format!("{path}/{what}"), body).await
    };
    let command = r#"{"cmd":"true"}"#;
    limits(json!({"max_vcpus": 1})).await;
    let first = create().await;
    assert_eq!(post(&first, "pause", "").await.status, StatusCode::OK);
    let second = create().await;
    // Neither by itself nor by a call.
    for (what, body) in [("resume", ""), ("exec", command), ("ping", "")] {
        post(&first, what, body)
            .await
            .refused(429, "resource_exhausted");
    }
    let there = call(&bench, &red, Method::GET, &first, "").await.json();
    assert_eq!(
        (&there["status"], &there["transition"]),
        (&json!("paused"), &Value::Null)
    );
    assert_eq!(bench.agent.resumes(), 0);
    assert_eq!(post(&second, "pause", "").await.status, StatusCode::OK);
    assert_eq!(post(&first, "exec", command).await.status, StatusCode::OK);
    let there = call(&bench, &red, Method::GET, &first, "").await.json();
    assert_eq!(there["status"], "running");
    post(&second, "resume", "")
        .await
        .refused(429, "resource_exhausted");

    // A call that comes while it is being paused waits for that, and for room.
    bench
        .agent
        .set(|knobs| knobs.pause_takes = Duration::from_millis(500));
    let paused = post(&first, "pause", "");
    let called = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let resumes = bench.agent.resumes();
        limits(json!({"max_vcpus": 0})).await;
        post(&first, "exec", command)
            .await
            .refused(429, "resource_exhausted");
        assert_eq!(bench.agent.resumes(), resumes);
    };
    let (paused, ()) = tokio::join!(paused, called);
    assert_eq!(paused.status, StatusCode::OK);
}

#[tokio::test]
async fn a_team_that_takes_all_the_disk_it_may_makes_nothing_more() {
    let bench = Bench::new().await;
    let red = bench.key("red", "read,sandboxes").await;
    let limits = async |mib: u64| limit(&bench, json!({"max_storage_mb": mib})).await;
    let create = async || call(&bench, &red, Method::POST, "/v1/sandboxes", "{}").await;
    limits(1).await;
    assert_eq!(create().await.status, StatusCode::CREATED);
    let mib = STORAGE_BYTES >> 20;
    limits(mib).await;
    let full = create().await;
    full.refused(429, "resource_exhausted");
    let told = full.json()["error"]["message"].to_string();
    assert!(told.contains(&format!("{mib} MiB of disk")), "{told}");
    limits(mib + 1).await;
    assert_eq!(create().await.status, StatusCode::CREATED);
    create().await.refused(429, "resource_exhausted");
    // What others take is not counted.
    let theirs = bench.post("/v1/sandboxes", "{}").await;
    assert_eq!(theirs.status, StatusCode::CREATED);
}
