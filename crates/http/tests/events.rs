//! Events over HTTP, and the record of calls.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::Bench;
use eventsource_stream::Eventsource as _;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{Method, StatusCode};
use http_body_util::{BodyDataStream, Full};
use serde_json::{Value, json};
use wrenn_hostagent_api::Sandbox;
use wrenn_model::SandboxId;

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(10);

/// One event: its name, its id, its data.
type Told = (String, Option<i64>, Value);

/// Opens a stream.
async fn follow(bench: &Bench, path: &str, last: Option<i64>) -> BoxStream<'static, Told> {
    let mut request = bench.request(Method::GET, path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let request = request.body(Full::default()).unwrap();
    let answer = bench.client.request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let events = BodyDataStream::new(answer.into_body()).eventsource();
    let told = events.map(|event| {
        let event = event.unwrap();
        let data = serde_json::from_str(&event.data).unwrap();
        (event.event, event.id.parse().ok(), data)
    });
    told.boxed()
}

async fn next(events: &mut BoxStream<'static, Told>) -> Told {
    tokio::time::timeout(SOON, events.next())
        .await
        .expect("an event comes")
        .expect("the stream goes on")
}

#[tokio::test]
async fn what_happens_is_told_once_also_to_who_comes_back() {
    let bench = Bench::new().await;
    let mut events = follow(&bench, "/v1/events", None).await;
    assert_eq!(
        next(&mut events).await,
        ("ready".into(), Some(0), json!({}))
    );
    let made = bench
        .send(
            bench
                .request(Method::POST, "/v1/sandboxes")
                .header("x-request-id", "req-mine"),
            "{}",
        )
        .await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let (name, number, created) = next(&mut events).await;
    assert_eq!((name.as_str(), number), ("created", Some(1)));
    assert_eq!(
        (
            &created["sandbox_id"],
            &created["status"],
            &created["transition"],
            &created["request_id"]
        ),
        (
            &json!(id),
            &json!("pending"),
            &json!("starting"),
            &json!("req-mine")
        )
    );
    let (name, number, running) = next(&mut events).await;
    assert_eq!((name.as_str(), number), ("changed", Some(2)));
    assert_eq!(
        (&running["status"], &running["type"], &running["id"]),
        (&json!("running"), &json!("changed"), &json!(2))
    );
    drop(events);

    assert_eq!(
        bench.delete(&format!("/v1/sandboxes/{id}")).await.status,
        StatusCode::NO_CONTENT
    );
    let mut again = follow(&bench, "/v1/events", Some(1)).await;
    assert_eq!(next(&mut again).await.0, "ready");
    for (number, status) in [(2, "running"), (3, "running"), (4, "stopped")] {
        let (_, id, event) = next(&mut again).await;
        assert_eq!((id, &event["status"]), (Some(number), &json!(status)));
    }
    // And what is new, which comes from elsewhere than what was read back.
    bench.sandbox().await;
    assert_eq!(next(&mut again).await.1, Some(5));
}

#[tokio::test]
async fn a_sandbox_s_own_events_are_no_other_s() {
    let bench = Bench::new().await;
    let (mine, other) = (bench.sandbox().await, bench.sandbox().await);
    let path = format!("/v1/sandboxes/{mine}/events");
    let mut events = follow(&bench, &format!("{path}?after=0"), None).await;
    bench.delete(&format!("/v1/sandboxes/{other}")).await;
    bench.delete(&format!("/v1/sandboxes/{mine}")).await;
    assert_eq!(next(&mut events).await.0, "ready");
    let mut statuses = Vec::new();
    while statuses.last() != Some(&json!("stopped")) {
        let (_, _, event) = next(&mut events).await;
        assert_eq!(event["sandbox_id"], json!(mine));
        statuses.push(event["status"].clone());
    }
    assert_eq!(statuses, ["pending", "running", "running", "stopped"]);
    bench
        .get("/v1/sandboxes/sb-aaaaaaaaaaaaaaaaaaaa/events")
        .await
        .refused(404, "not_found");
    bench
        .get(&format!("{path}?sandbox_id={other}"))
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn who_asks_for_what_is_not_known_is_told_of_the_gap() {
    let bench = Bench::new().await;
    bench.sandbox().await;
    let mut events = follow(&bench, "/v1/events", Some(4711)).await;
    assert_eq!(next(&mut events).await.0, "gap");
    assert_eq!(
        next(&mut events).await,
        ("ready".into(), Some(2), json!({}))
    );
}

#[tokio::test]
async fn who_listens_while_the_database_is_restored_is_told_of_the_gap() {
    let bench = Bench::new().await;
    bench.sandbox().await;
    let mut events = follow(&bench, "/v1/events", None).await;
    bench.sandbox().await;
    for number in [None, Some(3), Some(4)] {
        let told = next(&mut events).await;
        assert!(told.1 == number || told.0 == "ready", "{told:?}");
    }
    let back = [
        "UPDATE counters SET newest = 1",
        "DELETE FROM events WHERE seq > 1",
    ];
    wrenn_testkit::database::execute(&bench.database.reveal(), &back).await;
    assert_eq!(next(&mut events).await.0, "gap");
    assert_eq!(
        next(&mut events).await,
        ("ready".into(), Some(1), json!({}))
    );
    bench.sandbox().await;
    assert_eq!(next(&mut events).await.1, Some(2));
    assert_eq!(next(&mut events).await.1, Some(3));
}

#[tokio::test]
async fn what_became_of_a_sandbox_is_known_after_it_has_left_the_list() {
    let bench = Bench::new().await;
    let blue = bench.key("blue", "read").await;
    let id = bench.sandbox().await;
    bench.delete(&format!("/v1/sandboxes/{id}")).await;
    let forget = format!("DELETE FROM sandboxes WHERE id = '{id}'");
    wrenn_testkit::database::execute(&bench.database.reveal(), &[forget.as_str()]).await;
    let path = format!("/v1/sandboxes/{id}");
    bench.get(&path).await.refused(404, "not_found");
    let mut events = follow(&bench, &format!("{path}/events?after=0"), None).await;
    assert_eq!(next(&mut events).await.0, "ready");
    assert_eq!(next(&mut events).await.0, "created");
    let request = http::Request::builder()
        .uri(format!("http://{}{path}/events", bench.address))
        .header("x-api-key", &blue.key);
    bench.send(request, "").await.refused(404, "not_found");
}

#[tokio::test]
async fn the_history_comes_in_pages() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.sandbox().await;
    }
    let json_of = |path: String| {
        let request = bench
            .request(Method::GET, &path)
            .header("accept", "application/json");
        bench.send(request, "")
    };
    let mut path = "/v1/events?limit=4".to_owned();
    let mut numbers = Vec::new();
    loop {
        let page = json_of(path).await;
        assert_eq!(page.status, StatusCode::OK);
        numbers.extend(
            page.json()
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["id"].as_i64().unwrap()),
        );
        let Some(link) = page.headers.get("link") else {
            break;
        };
        let link = link.to_str().unwrap();
        path = link[1..link.find('>').unwrap()].to_owned();
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn who_does_not_read_holds_up_nobody_and_misses_nothing() {
    const SANDBOXES: usize = 40;
    let bench = Bench::new().await;
    let mut slow = follow(&bench, "/v1/events", None).await;
    for _ in 0..SANDBOXES {
        bench.sandbox().await;
    }
    assert_eq!(next(&mut slow).await.0, "ready");
    for number in 1..=2 * SANDBOXES as i64 {
        assert_eq!(next(&mut slow).await.1, Some(number));
    }
}

/// Readers that stop in the middle of more than any buffer takes: what they have not read is nowhere but in the store.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_cost_little_and_hold_up_nobody() {
    const LARGE: usize = 200_000;
    const EVENTS: i64 = 100;
    const READERS: usize = 20;
    let bench = Bench::new().await;
    for _ in 0..EVENTS {
        bench.agent.put(Sandbox {
            sandbox_id: SandboxId::random().to_string(),
            status: "error".into(),
            status_reason: "x".repeat(LARGE),
            template: "minimal".into(),
            ..Sandbox::default()
        });
    }
    bench.control.reconcile().await.unwrap();
    let path = "/v1/events?after=0";
    let mut stopped = Vec::new();
    let before = Bench::resident();
    for _ in 0..READERS {
        let mut events = follow(&bench, path, None).await;
        assert_eq!(next(&mut events).await.0, "ready");
        stopped.push(events);
    }
    let mut reads = follow(&bench, path, None).await;
    assert_eq!(next(&mut reads).await.0, "ready");
    for number in 1..=EVENTS {
        assert_eq!(next(&mut reads).await.1, Some(number));
    }
    let made = bench.sandbox().await;
    assert_eq!(next(&mut reads).await.2["sandbox_id"], json!(made));
    let grown = Bench::resident().saturating_sub(before);
    let all = READERS * usize::try_from(EVENTS).unwrap() * LARGE;
    assert!(grown < all / 2, "{grown} of {all}");
    // They may go on where they were.
    for events in &mut stopped {
        for number in 1..=EVENTS {
            assert_eq!(next(events).await.1, Some(number));
        }
    }
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let bench = Bench::new().await;
    let mut events = follow(&bench, "/v1/events", None).await;
    assert_eq!(next(&mut events).await.0, "ready");
    bench.closing.cancel();
    let ended = tokio::time::timeout(SOON, events.next()).await;
    assert_eq!(ended, Ok(None));
}

/// The record of calls, once it has so many.
async fn recorded(bench: &Bench, count: usize) -> Vec<Value> {
    let recorded = async {
        loop {
            let calls = bench.get("/v1/audit").await.json();
            let calls = calls.as_array().unwrap().clone();
            if calls.len() == count {
                return calls;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, recorded).await.unwrap()
}

#[tokio::test]
async fn calls_that_may_change_something_are_on_the_record() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    bench.get("/v1/sandboxes").await;
    bench
        .post(&format!("/v1/sandboxes/{id}/resume"), "")
        .await
        .refused(409, "invalid_state");
    bench.delete(&format!("/v1/sandboxes/{id}")).await;
    let expected = [
        ("DELETE /v1/sandboxes/{id}", 204),
        ("POST /v1/sandboxes/{id}/resume", 409),
        ("POST /v1/sandboxes", 201),
    ];
    let calls = recorded(&bench, expected.len()).await;
    // Those of one millisecond are in no order.
    for (action, status) in expected {
        let call = calls.iter().find(|call| call["action"] == action);
        let call = call.expect("it is on the record");
        assert_eq!(
            (&call["key"], &call["sandbox_id"], &call["status"]),
            (&json!("first"), &json!(id), &json!(status))
        );
    }
    let of = bench
        .get(&format!("/v1/audit?sandbox_id={id}&limit=2"))
        .await;
    assert_eq!(of.json().as_array().unwrap().len(), 2);
    assert!(
        of.headers["link"]
            .to_str()
            .unwrap()
            .starts_with("</v1/audit?limit=2")
    );
}

#[tokio::test]
async fn the_record_says_which_key_and_which_team() {
    let bench = Bench::new().await;
    let put = bench.request(Method::PUT, "/v1/teams/red");
    assert_eq!(
        bench.send(put, "{}".to_owned()).await.status,
        StatusCode::OK
    );
    let made = bench.post("/v1/keys", r#"{"name":"ci"}"#).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let place = format!("/v1/keys/{id}");
    assert_eq!(made.headers["location"].to_str().unwrap(), place);
    bench.delete(&place).await;
    bench.delete("/v1/keys/nonsense").await;
    let expected = [
        ("PUT /v1/teams/{name}", json!("red")),
        ("POST /v1/keys", json!(id)),
        ("DELETE /v1/keys/{id}", json!(id)),
        ("DELETE /v1/keys/{id}", json!(null)),
    ];
    let calls = recorded(&bench, expected.len()).await;
    for (action, object) in expected {
        let is_it =
            |call: &&serde_json::Value| call["action"] == action && call["object"] == object;
        assert!(calls.iter().any(|call| is_it(&call)), "{action}: {calls:?}");
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_on_the_record() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_secs(60));
    let call = bench.post("/v1/sandboxes", "{}");
    tokio::time::timeout(Duration::from_millis(300), call)
        .await
        .unwrap_err();
    let call = recorded(&bench, 1).await.remove(0);
    assert_eq!(
        (&call["action"], &call["status"]),
        (&json!("POST /v1/sandboxes"), &json!(499))
    );
}

#[tokio::test]
async fn a_stream_ends_with_its_key() {
    let bench = Bench::new().await;
    let made = bench.key("red", "read").await;
    let mut request = bench.request(Method::GET, "/v1/events");
    let headers = request.headers_mut().unwrap();
    headers.insert("x-api-key", made.key.parse().unwrap());
    let answer = bench
        .client
        .request(request.body(Full::default()).unwrap())
        .await
        .unwrap();
    let mut events = BodyDataStream::new(answer.into_body()).eventsource();
    assert_eq!(events.next().await.unwrap().unwrap().event, "ready");
    let gone = bench.delete(&format!("/v1/keys/{}", made.id)).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let ended = tokio::time::timeout(SOON, events.next()).await.unwrap();
    assert!(ended.is_none(), "{ended:?}");
}
