//! Pools as a caller meets them.

mod common;

use common::Bench;
use http::{Method, StatusCode};
use serde_json::json;

const POOLS: &str = "/v1/pools";

#[tokio::test]
async fn a_pool_is_warmed_listed_and_drained() {
    let bench = Bench::new().await;
    let none = bench.get(POOLS).await.json();
    assert_eq!((&none["pools"], &none["slots"]), (&json!([]), &json!(4)));
    let warmed = bench
        .post(POOLS, r#"{"template":"minimal","count":3}"#)
        .await;
    assert_eq!(warmed.status, StatusCode::OK, "{:?}", warmed.body);
    let pool = json!({
        "template": "minimal", "vcpus": 1, "memory_mb": 512, "wanted": 3, "ready": 3, "wanted_started": 0, "started": 0, "image": true,
        "image_bytes": 5 << 20, "hits": 0, "misses": 0, "configured": false
    });
    assert_eq!(warmed.json(), pool);
    let small = r#"{"template":"minimal","memory_mb":64,"count":1}"#;
    assert_eq!(bench.post(POOLS, small).await.status, StatusCode::OK);
    let listed = bench.get(POOLS).await.json();
    assert_eq!(listed["pools"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed["image_bytes"], 10 << 20);

    for (query, drained) in [
        ("?template=python", 0),
        ("?memory_mb=64", 1),
        ("?template=minimal&vcpus=1", 3),
        ("", 0),
    ] {
        let told = bench.delete(&format!("{POOLS}{query}")).await;
        assert_eq!(told.json(), json!({ "drained": drained }), "{query}");
    }
    assert_eq!(bench.get(POOLS).await.json()["pools"], json!([]));
}

#[tokio::test]
async fn what_only_stands_by_is_asked_for_beside_what_stands_ready_or_alone() {
    let bench = Bench::new().await;
    for (count, started) in [(2, 1), (0, 3)] {
        let body = json!({ "template": "minimal", "count": count, "started": started });
        let told = bench.post(POOLS, &body.to_string()).await;
        assert_eq!(told.status, StatusCode::OK, "{:?}", told.body);
        let pool = told.json();
        assert_eq!(
            (&pool["wanted"], &pool["ready"]),
            (&json!(count), &json!(count))
        );
        let standing_by = (&pool["wanted_started"], &pool["started"]);
        assert_eq!(standing_by, (&json!(started), &json!(started)));
        assert_eq!(bench.get(POOLS).await.json()["pools"], json!([pool]));
    }
    let drained = bench.delete(POOLS).await.json();
    assert_eq!(drained, json!({ "drained": 3 }));
}

#[tokio::test]
async fn a_snapshot_s_pool_has_the_snapshot_s_shape() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let body = json!({ "sandbox_id": id, "name": "warm" });
    bench.post("/v1/snapshots", &body.to_string()).await;
    let body = r#"{"template":"warm","vcpus":4,"memory_mb":64,"count":1}"#;
    let pool = bench.post(POOLS, body).await.json();
    assert_eq!(
        (&pool["vcpus"], &pool["memory_mb"]),
        (&json!(1), &json!(512))
    );
}

#[tokio::test]
async fn what_there_is_none_of_is_refused() {
    let bench = Bench::new().await;
    for bad in [
        "",
        "{}",
        r#"{"template":"minimal","count":0}"#,
        r#"{"template":"minimal","count":0,"started":0}"#,
        r#"{"template":"minimal","count":1,"started":-1}"#,
        r#"{"template":"minimal","count":1,"started":1001}"#,
        r#"{"template":"minimal","started":1}"#,
        r#"{"template":"minimal","vcpus":99,"count":1}"#,
        r#"{"template":"minimal","memory_mb":1,"count":1}"#,
    ] {
        let told = bench.post(POOLS, bad).await;
        told.refused(400, "invalid_request");
    }
    let nowhere = bench
        .post(POOLS, r#"{"template":"absent","count":1}"#)
        .await;
    nowhere.refused(404, "not_found");
    for query in ["?vcpus=0", "?size=1", "?template=.."] {
        let told = bench.delete(&format!("{POOLS}{query}")).await;
        told.refused(400, "invalid_request");
    }
    let red = bench.key("red", "admin").await;
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let told = bench.send(red.request(&bench, method, POOLS), "").await;
        told.refused(403, "forbidden");
    }
}
