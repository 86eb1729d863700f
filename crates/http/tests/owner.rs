//! Whose a sandbox is: the key's that it was made with. That decides about turns to start, and about nothing else.

mod common;

use common::Bench;
use http::{Method, StatusCode};
use wrenn_control::ApiKey;
use wrenn_hostagent_api as rpc;

#[tokio::test]
async fn a_sandbox_is_its_key_s_and_every_key_may_use_it() {
    let bench = Bench::new().await;
    let other = ApiKey::random();
    let keys = bench.control.keys();
    keys.register("second", &other).await.unwrap();
    let with_other = |method: Method, path: &str| {
        let mut request = bench.request(method, path);
        let headers = request.headers_mut().unwrap();
        headers.insert("x-api-key", other.reveal().parse().unwrap());
        request
    };
    let owner = |id: &str| bench.agent.sandbox(id).unwrap().owner_id;

    let mine = bench.sandbox().await;
    assert_eq!(owner(&mine), "first");
    let made = bench
        .send(with_other(Method::POST, "/v1/sandboxes"), "{}")
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    let theirs = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(owner(&theirs), "second");
    // And as before whoever has a key.
    let path = format!("/v1/sandboxes/{mine}");
    let paused = bench
        .send(with_other(Method::POST, &format!("{path}/pause")), "")
        .await;
    assert_eq!(paused.status, StatusCode::OK);
    let listed = bench.get("/v1/sandboxes").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let gone = bench.send(with_other(Method::DELETE, &path), "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
}

/// As of a former release, whose databases name no owners.
#[tokio::test]
async fn a_sandbox_that_nobody_owns_goes_on() {
    let bench = Bench::new().await;
    let id = "sb-aaaaaaaaaaaaaaaaaaaa";
    bench.agent.put(rpc::Sandbox {
        sandbox_id: id.into(),
        status: "running".into(),
        template: "minimal".into(),
        vcpus: 1,
        memory_mb: 512,
        timeout_sec: 60,
        ..Default::default()
    });
    bench.control.reconcile().await.unwrap();
    let path = format!("/v1/sandboxes/{id}");
    for act in ["pause", "resume"] {
        let done = bench.post(&format!("{path}/{act}"), "").await;
        assert_eq!(done.status, StatusCode::OK, "{:?}", done.body);
    }
    assert_eq!(bench.agent.sandbox(id).unwrap().owner_id, "");
    assert_eq!(bench.delete(&path).await.status, StatusCode::NO_CONTENT);
}
