//! What is counted: of a sandbox, of requests, and of the agent beside them.

mod common;

use common::Bench;
use http::{Method, Request, StatusCode};

/// The value of a line that begins so.
fn value(text: &str, line: &str) -> Option<f64> {
    let found = text.lines().find_map(|there| there.strip_prefix(line))?;
    found.trim().parse().ok()
}

#[tokio::test]
async fn a_sandbox_s_machine_is_counted_while_it_has_one() {
    let bench = Bench::new().await;
    let path = format!("/v1/sandboxes/{}", bench.sandbox().await);
    let running = bench.get(&format!("{path}/metrics")).await;
    assert_eq!(running.status, StatusCode::OK);
    let running = running.json();
    assert!(running["machine"]["cpu_usec"].as_u64() > Some(0));
    assert_eq!(running["memory_total_bytes"], 512 << 20);
    assert!(running["timestamp"].as_str().unwrap().ends_with('Z'));
    bench.post(&format!("{path}/pause"), "").await;
    let paused = bench.get(&format!("{path}/metrics")).await.json();
    assert!(paused.get("machine").is_none());
    bench.delete(&path).await;
    let gone = bench.get(&format!("{path}/metrics")).await;
    assert_eq!(gone.status, StatusCode::CONFLICT);
    let absent = "/v1/sandboxes/sb-aaaaaaaaaaaaaaaaaaaa/metrics";
    assert_eq!(bench.get(absent).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    for _ in 0..3 {
        bench.get(&format!("/v1/sandboxes/{id}")).await;
    }
    bench.get("/no/such/route").await;
    let answer = bench.get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let seen = "wrenn_server_request_duration_seconds_count{route=\"/v1/sandboxes/{id}\",method=\"GET\",status=\"200\"}";
    assert_eq!(value(&text, seen), Some(3.0), "{text}");
    let lost =
        "wrenn_server_request_duration_seconds_count{route=\"none\",method=\"GET\",status=\"404\"}";
    assert_eq!(value(&text, lost), Some(1.0), "{text}");
    let refused = "wrenn_server_errors_total{code=\"not_found\"}";
    assert_eq!(value(&text, refused), Some(1.0), "{text}");
    assert!(!text.contains(&id) && !text.contains("/no/such"), "{text}");
    // The agent's part is in it, and there is one end.
    assert_eq!(value(&text, "wrenn_agent_fake"), Some(1.0));
    assert_eq!(value(&text, "wrenn_server_agent_up"), Some(1.0));
    assert!(text.ends_with("\n# EOF\n"));
    assert_eq!(text.matches("# EOF").count(), 1);
}

#[tokio::test]
async fn they_want_a_key_and_no_agent() {
    let bench = Bench::new().await;
    let anonymous = Request::builder()
        .method(Method::GET)
        .uri(format!("http://{}/metrics", bench.address));
    let refused = bench.send(anonymous, "").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    bench.agent.stop();
    let text = bench.get("/metrics").await;
    assert_eq!(text.status, StatusCode::OK);
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    assert_eq!(value(&text, "wrenn_server_agent_up"), Some(0.0), "{text}");
}
