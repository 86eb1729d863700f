//! Queries that are made often, or under the lock of all writers, find what they look for by an index.

use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqlitePool, query};
use wrenn_model::{SandboxId, Status, TeamName};

use crate::db::Pool;
use crate::forget::{AUDIT, EVENTS, ONCE, STOPPED};
use crate::list::{IN_TRANSITION, UNSTOPPED};
use crate::quota::{NTH_NEWEST, USED};
use crate::{AuditFilter, DatabaseUrl, EventFilter, Filter, Store, audit, event, forget, list};

async fn store(folder: &std::path::Path) -> Store {
    let url = DatabaseUrl::file(folder.join("wrenn.db"));
    Store::open(&url).await.unwrap()
}

/// How SQLite would go about it, a step in a line.
async fn plan(db: &SqlitePool, text: &str) -> Vec<String> {
    let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
    // What is bound stays NULL, and makes no difference.
    let rows = query(explained).fetch_all(db).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn what_is_asked_often_is_found_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let Pool::Lite(db) = &store.readers else {
        unreachable!("it is SQLite's");
    };
    let red: TeamName = "red".parse().unwrap();
    let filter = Filter {
        owner: Some(red.clone()),
        status: Some(Status::Stopped),
        limit: Some(100),
        ..Filter::default()
    };
    let sandboxes = list::filtered::<Sqlite>(&filter).into_string();
    let events = EventFilter {
        after: 5,
        up_to: i64::MAX,
        sandbox: None,
        owner: Some(red.clone()),
        limit: 10,
    };
    let of_sandbox = EventFilter {
        sandbox: Some(SandboxId::random()),
        ..events.clone()
    };
    let calls = AuditFilter {
        before: Some((9, "call".to_owned())),
        owner: Some(red),
        ..AuditFilter::default()
    };
    let about = AuditFilter {
        sandbox_id: Some("sb-aaaaaaaaaaaaaaaaaaaa".to_owned()),
        ..calls.clone()
    };
    let id = SandboxId::random();
    let failed = forget::failed::<Sqlite>(&[&id, &id], 9).into_string();
    let events =
        [events, of_sandbox].map(|filter| event::filtered::<Sqlite>(&filter).into_string());
    let calls = [calls, about].map(|filter| audit::filtered::<Sqlite>(&filter).into_string());
    for (text, index) in [
        (
            USED,
            "sandboxes_by_owner_and_status (owner_id=? AND status=?)",
        ),
        (
            NTH_NEWEST,
            "sandboxes_by_owner (owner_id=? AND created_at>? AND created_at<?)",
        ),
        (IN_TRANSITION, "sandboxes_in_transition"),
        (UNSTOPPED, "sandboxes_by_status_and_age (status=?)"),
        (
            &sandboxes,
            "sandboxes_by_owner_and_status (owner_id=? AND status=?)",
        ),
        (
            &events[0],
            "events_by_owner (owner_id=? AND seq>? AND seq<?)",
        ),
        (
            &events[1],
            "events_by_sandbox (sandbox_id=? AND seq>? AND seq<?)",
        ),
        (&calls[0], "audit_by_owner (owner_id=? AND (at,id)<(?,?))"),
        (
            &calls[1],
            "audit_by_sandbox (sandbox_id=? AND (at,id)<(?,?))",
        ),
        (
            STOPPED,
            "sandboxes_by_status_and_age (status=? AND last_updated<?)",
        ),
        // Of what is found, each row by its key.
        (STOPPED, "sqlite_autoindex_sandboxes_1 (id=?)"),
        (&failed, "sqlite_autoindex_sandboxes_1 (id=?)"),
        (EVENTS, "sqlite_autoindex_events_1 (seq<?)"),
        (AUDIT, "audit_by_age (at<?)"),
        (ONCE, "once_by_age (created_at<?)"),
    ] {
        let plan = plan(db, text).await;
        assert!(
            plan.iter().any(|step| step.contains(index)),
            "{text}: {plan:#?}"
        );
        for step in &plan {
            // All of a partial index is all that is looked for.
            let scans = step.contains("SCAN") && !step.contains(index);
            assert!(!scans && !step.contains("TEMP B-TREE"), "{text}: {plan:#?}");
        }
    }
}
