//! Which request something is done for: the agent hears of it, whatever task asks.

mod common;

use common::Bench;
use http::{Method, StatusCode};

#[tokio::test]
async fn the_agent_hears_for_which_request_it_is_asked() {
    let bench = Bench::new().await;
    let asked = |method: Method, path: &str, id: &str| {
        bench
            .request(method, path)
            .header("content-type", "application/json")
            .header("x-request-id", id)
    };
    let create = asked(Method::POST, "/v1/sandboxes", "of-create");
    let made = bench.send(create, "{}").await;
    assert_eq!(made.headers["x-request-id"], "of-create");
    let path = format!("/v1/sandboxes/{}", made.json()["id"].as_str().unwrap());
    let calls = [
        (Method::POST, "/exec", r#"{"cmd":"true"}"#),
        (Method::PUT, "/network", "{}"),
        (Method::POST, "/ping", ""),
        (Method::POST, "/pause", ""),
        (Method::POST, "/resume", ""),
        (Method::GET, "/console", ""),
        (Method::DELETE, "", ""),
    ];
    let mut ids = vec!["of-create".to_owned()];
    for (method, what, body) in calls {
        let id = format!("of-{method}-{}", what.trim_start_matches('/'));
        let request = asked(method, &format!("{path}{what}"), &id);
        let answer = bench.send(request, body).await;
        assert!(answer.status.is_success(), "{id}: {:?}", answer.body);
        ids.push(id);
    }
    for id in &ids {
        assert!(bench.agent.heard_of(id), "{id}");
    }
    // What is no id goes no further.
    let wrong = asked(Method::POST, "/v1/sandboxes", "not a word");
    assert_eq!(bench.send(wrong, "{}").await.status, StatusCode::CREATED);
    assert!(!bench.agent.heard_of("not a word"));
}
