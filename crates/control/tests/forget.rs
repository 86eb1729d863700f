//! What is too old to be told is forgotten.

mod common;

use std::time::Duration;

use common::{Bench, caller};
use wrenn_control::{AuditFilter, Call};
use wrenn_testkit::database::execute;

#[tokio::test]
async fn a_kind_that_cannot_be_forgotten_holds_up_no_other() {
    let mut bench = Bench::new().await;
    let admin = caller("default", "admin");
    bench.plane.audit().note(Call {
        request_id: "req-1".into(),
        caller: admin.clone().into(),
        action: "DELETE /v1/sandboxes/{id}".into(),
        sandbox: None,
        object: None,
        status: 204,
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let steps = ["UPDATE audit SET at = 1", "DROP TABLE events"];
    execute(&bench.database.reveal(), &steps).await;
    bench.reopen().await;
    let filter = AuditFilter {
        limit: 10,
        ..AuditFilter::default()
    };
    for _ in 0..200 {
        let recorded = bench.plane.audit().list(&admin, filter.clone()).await;
        if recorded.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the call is still there");
}

#[tokio::test]
async fn failures_of_which_nothing_is_left_do_not_stay_for_ever() {
    let bench = Bench::new().await;
    let insert = |id: &str, at: &str| {
        format!(
            "INSERT INTO sandboxes (id, owner_id, status, created_at, last_updated) VALUES ('{id}', 'default', 'error', 1, {at})"
        )
    };
    let (old, young) = ("sb-aaaaaaaaaaaaaaaaaaaa", "sb-bbbbbbbbbbbbbbbbbbbb");
    let steps = [insert(old, "1"), insert(young, "99999999999999")];
    let steps = [steps[0].as_str(), steps[1].as_str()];
    execute(&bench.database.reveal(), &steps).await;
    bench.plane.reconcile().await.unwrap();
    let rows = bench.list().await;
    let left: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(left, [young]);
}
