//! Network policies as a caller meets them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use common::{Answered, Bench};
use http::Method;
use serde_json::json;
use wrenn_model::{ErrorKind, Fault};

async fn put(bench: &Bench, id: &str, policy: &str) -> Answered {
    let request = bench
        .request(Method::PUT, &format!("/v1/sandboxes/{id}/network"))
        .header("content-type", "application/json");
    bench.send(request, policy.to_owned()).await
}

#[tokio::test]
async fn a_policy_is_asked_for_shown_and_replaced_as_a_whole() {
    let bench = Bench::new().await;
    let open = json!({"internet": true, "allow": [], "deny": []});
    let first = bench.post("/v1/sandboxes", "{}").await.json();
    assert_eq!(first["network"], open);

    let body = r#"{"network":{"internet":false,"allow":["192.0.2.7","8.8.0.0/16"]}}"#;
    let made = bench.post("/v1/sandboxes", body).await.json();
    let asked = json!({"internet": false, "allow": ["192.0.2.7/32", "8.8.0.0/16"], "deny": []});
    assert_eq!(made["network"], asked);
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/sandboxes/{id}");
    assert_eq!(bench.get(&path).await.json()["network"], asked);

    let replaced = json!({"internet": true, "allow": [], "deny": ["1.0.0.0/8"]});
    let answer = put(&bench, id, r#"{"deny":["1.0.0.0/8"]}"#).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["network"], replaced);
    assert_eq!(bench.agent.sandbox(id).unwrap().network.deny, ["1.0.0.0/8"]);

    // While it is paused, too, and it comes back under it.
    bench.post(&format!("{path}/pause"), "").await;
    assert_eq!(put(&bench, id, "{}").await.json()["network"], open);
    let resumed = bench.post(&format!("{path}/resume"), "").await.json();
    assert_eq!(resumed["network"], open);
}

#[tokio::test]
async fn what_is_no_policy_is_refused_and_changes_nothing() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let long = json!({"allow": vec!["1.1.1.1"; 65]}).to_string();
    for bad in [
        "",
        "null",
        r#"{"allow":["example.com"]}"#,
        r#"{"allow":["::/0"]}"#,
        r#"{"deny":["10.0.0.1/8"]}"#,
        r#"{"deny":[""]}"#,
        r#"{"deny":"10.0.0.0/8"}"#,
        r#"{"internet":1}"#,
        r#"{"egress":true}"#,
        &long,
    ] {
        put(&bench, &id, bad).await.refused(400, "invalid_request");
        let create = format!(
            r#"{{"network":{}}}"#,
            if bad.is_empty() { "7" } else { bad }
        );
        if bad != "null" {
            let made = bench.post("/v1/sandboxes", &create).await;
            made.refused(400, "invalid_request");
        }
    }
    let none = "sb-aaaaaaaaaaaaaaaaaaaa";
    put(&bench, none, "{}").await.refused(404, "not_found");
    // The host has the last word.
    let refused = Fault::new(ErrorKind::InvalidRequest, "private", "leave it out");
    bench.agent.set(|knobs| knobs.network_fails = Some(refused));
    let private = r#"{"allow":["10.0.0.0/8"]}"#;
    put(&bench, &id, private)
        .await
        .refused(400, "invalid_request");
    let now = bench.get(&format!("/v1/sandboxes/{id}")).await.json();
    assert_eq!(
        now["network"],
        json!({"internet": true, "allow": [], "deny": []})
    );
    assert_eq!(bench.agent.count(), 1);
}

#[tokio::test]
async fn a_sandbox_that_is_no_more_takes_no_policy() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    bench.delete(&format!("/v1/sandboxes/{id}")).await;
    put(&bench, &id, "{}").await.refused(409, "invalid_state");
}
