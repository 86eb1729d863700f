//! Whose a sandbox is: the team's of the key that it was made with. To other teams it is not there.

mod common;

use common::{Bench, Made};
use http::{Method, StatusCode};
use serde_json::Value;
use wrenn_hostagent_api as rpc;

/// Every route that names a sandbox, from the document that the routes themselves make.
#[tokio::test]
async fn another_team_s_sandbox_is_404_for_every_route() {
    let bench = Bench::new().await;
    let (red, blue) = (
        bench.key("red", "admin").await,
        bench.key("blue", "admin").await,
    );
    let made = bench
        .send(red.request(&bench, Method::POST, "/v1/sandboxes"), "{}")
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(bench.agent.sandbox(&id).unwrap().owner_id, "red");

    let document: Value = serde_json::from_str(wrenn_http::document::json()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let mut probed = 0;
    for (path, item) in paths
        .iter()
        .filter(|(path, _)| path.starts_with("/v1/sandboxes/{id}"))
    {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = probe(&bench, &blue, method.clone(), &path.replace("{id}", &id)).await;
            let absent = path.replace("{id}", "sb-aaaaaaaaaaaaaaaaaaaa");
            let absent = probe(&bench, &blue, method.clone(), &absent).await;
            assert_eq!((answer, absent), (404, 404), "{method} {path}");
            probed += 1;
        }
    }
    assert!(probed > 12, "{probed}");
    let seen = async |key: &Made| {
        let listed = bench
            .send(key.request(&bench, Method::GET, "/v1/sandboxes"), "")
            .await;
        listed.json().as_array().unwrap().len()
    };
    assert_eq!((seen(&red).await, seen(&blue).await), (1, 0));
    // And for who runs the installation it is there.
    let path = format!("/v1/sandboxes/{id}");
    assert_eq!(bench.get(&path).await.json()["status"], "running");
    assert_eq!(bench.delete(&path).await.status, StatusCode::NO_CONTENT);
}

/// The status of a request that would be in order of a sandbox that is there.
async fn probe(bench: &Bench, key: &Made, method: Method, path: &str) -> u16 {
    let request = key.request(bench, method, path);
    let answer = if path.ends_with("write") {
        let form = common::form(&[("path", b"/f"), ("file", b"x")]);
        let request = request.header("content-type", "multipart/form-data; boundary=frontier");
        bench.send(request, form).await
    } else {
        let body = match path.rsplit('/').next() {
            Some("exec") => r#"{"cmd":"true"}"#,
            Some("read") => r#"{"path":"/f"}"#,
            _ => "{}",
        };
        bench.send(request, body).await
    };
    assert_eq!(answer.code(), "not_found");
    answer.status.as_u16()
}

/// As of a former release, whose sandboxes name no team. Whoever runs the installation sees it, and nobody else.
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
    let other = bench.key("red", "admin").await;
    let seen = bench
        .send(
            other.request(&bench, Method::GET, &format!("/v1/sandboxes/{id}")),
            "",
        )
        .await;
    seen.refused(404, "not_found");
    let path = format!("/v1/sandboxes/{id}");
    for act in ["pause", "resume"] {
        let done = bench.post(&format!("{path}/{act}"), "").await;
        assert_eq!(done.status, StatusCode::OK, "{:?}", done.body);
    }
    assert_eq!(bench.agent.sandbox(id).unwrap().owner_id, "");
    assert_eq!(bench.delete(&path).await.status, StatusCode::NO_CONTENT);
}
