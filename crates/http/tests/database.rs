//! The database goes away, before a call and in the middle of it: 503, nothing is lost, and it goes on by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::Bench;
use http::Method;
use wrenn_testkit::postgres::Cluster;

async fn bench(cluster: &Cluster) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    Bench::on(folder, cluster.database().parse().unwrap()).await
}

/// Every call that changes something; `ID` stands for a running sandbox, `PAUSED` for one that is paused.
const MUTATING: &[(&str, &str, &str)] = &[
    ("POST", "/v1/sandboxes", "{}"),
    ("POST", "/v1/sandboxes/ID/pause", ""),
    ("POST", "/v1/sandboxes/PAUSED/resume", ""),
    ("PUT", "/v1/sandboxes/ID/network", r#"{"internet":false}"#),
    ("DELETE", "/v1/sandboxes/ID", ""),
];

async fn call(bench: &Bench, (method, path, body): (&str, &str, &str)) -> common::Answered {
    let method: Method = method.parse().unwrap();
    let request = bench
        .request(method, path)
        .header("content-type", "application/json");
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
    let bench = bench(&cluster).await;
    for &(method, path, body) in MUTATING {
        let (path, ids) = prepare(&bench, path).await;
        let before: Vec<_> = ids.iter().map(|id| bench.agent.sandbox(id)).collect();
        let count = bench.agent.count();
        cluster.stop();
        is_away(&call(&bench, (method, &path, body)).await);
        is_away(&bench.get(&format!("/v1/sandboxes/{}", ids[0])).await);
        is_away(&bench.get("/healthz").await);
        let after: Vec<_> = ids.iter().map(|id| bench.agent.sandbox(id)).collect();
        assert_eq!(
            (after, bench.agent.count()),
            (before, count),
            "{method} {path}"
        );
        cluster.restart();
        let again = call(&bench, (method, &path, body)).await;
        assert!(
            again.status.is_success(),
            "{method} {path}: {:?}",
            again.body
        );
    }
}

#[tokio::test]
async fn in_the_middle_of_a_call_it_is_told_and_settled_when_it_is_back() {
    let cluster = Cluster::start();
    let bench = bench(&cluster).await;
    for &(method, path, body) in MUTATING {
        bench.agent.set(|knobs| *knobs = Default::default());
        let (path, ids) = prepare(&bench, path).await;
        let bystander = bench.sandbox().await;
        bench.agent.set(|knobs| {
            let long = Duration::from_millis(500);
            (knobs.create_takes, knobs.destroy_takes) = (long, long);
            (knobs.pause_takes, knobs.resume_takes, knobs.network_takes) = (long, long, long);
        });
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            cluster.stop();
        };
        let (answer, ()) = tokio::join!(call(&bench, (method, &path, body)), stopping);
        is_away(&answer);
        assert_eq!(bench.agent.sandbox(&bystander).unwrap().status, "running");
        cluster.restart();
        bench.agent.set(|knobs| *knobs = Default::default());
        settled(&bench).await;
        // Asked again, it is done, or has been done.
        let again = call(&bench, (method, &path, body)).await;
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
