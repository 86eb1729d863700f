//! What is PostgreSQL's alone: a server that may be away, refuse its user, or be migrated under us.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::error::Error;
use std::time::{Duration, Instant};

use common::sandbox;
use sqlx::{Connection as _, PgConnection};
use wrenn_store::{DatabaseUrl, Store, StoreError};
use wrenn_testkit::postgres::Cluster;

fn url() -> DatabaseUrl {
    Cluster::shared().database().parse().unwrap()
}

async fn execute(url: &DatabaseUrl, text: &'static str) {
    let mut db = PgConnection::connect(&url.reveal()).await.unwrap();
    sqlx::raw_sql(text).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_server_goes_on_beside_a_newer_one_that_adds_a_column() {
    let url = url();
    let store = Store::open(&url).await.unwrap();
    let mut row = sandbox(1, &[]);
    store.insert(&row).await.unwrap();
    store.get(&row.id).await.unwrap();
    store.unstopped().await.unwrap();
    execute(
        &url,
        "ALTER TABLE sandboxes ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",
    )
    .await;
    assert!(store.update(&mut row).await.unwrap());
    assert_eq!(store.get(&row.id).await.unwrap().as_ref(), Some(&row));
    assert_eq!(store.unstopped().await.unwrap(), [row]);
    assert!(store.insert(&sandbox(2, &[])).await.unwrap());
}

#[tokio::test]
async fn a_user_who_may_make_no_tables_is_told_so() {
    let url = url();
    execute(&url, "CREATE ROLE guest LOGIN").await;
    let guest = url.reveal().replace("postgres@", "guest@");
    let refused = Store::open(&guest.parse().unwrap()).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::NotAllowed { .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("owner"), "{refused}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_by_its_server() {
    let absent = url().reveal().replace("/test", "/absent");
    let refused = Store::open(&absent.parse().unwrap()).await.unwrap_err();
    assert!(!refused.is_away());
    let why = refused.source().unwrap().to_string();
    assert!(why.contains("does not exist"), "{why}");
}

/// What another machine's is like.
#[tokio::test]
async fn over_the_network_it_is_in_tls_and_with_a_password() {
    let cluster = Cluster::start();
    let local: DatabaseUrl = cluster.database().parse().unwrap();
    execute(
        &local,
        "CREATE ROLE wrenn LOGIN PASSWORD 'p@ss/word'; ALTER DATABASE test0 OWNER TO wrenn",
    )
    .await;
    let port = cluster.over_tls();
    let address = |password: &str, security: &str| {
        format!("postgres://wrenn:{password}@127.0.0.1:{port}/test0?{security}")
    };
    let trusting = |certificate: &str| {
        let certificate = cluster.folder().join(certificate);
        format!("sslmode=verify-full&sslrootcert={}", certificate.display())
    };
    let right = address("p%40ss%2Fword", &trusting("server.crt"));
    let url: DatabaseUrl = right.parse().unwrap();
    let store = Store::open(&url).await.unwrap();
    let row = sandbox(1, &[]);
    assert!(store.insert(&row).await.unwrap());
    assert_eq!(store.get(&row.id).await.unwrap(), Some(row));
    let mut db = PgConnection::connect(&right).await.unwrap();
    let in_tls = sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    let in_tls: bool = in_tls.fetch_one(&mut db).await.unwrap();
    assert!(in_tls);
    assert!(!format!("{url} {url:?}").contains("ss"), "{url:?}");

    let wrong = address("guessed", &trusting("server.crt"));
    let plain = address("p%40ss%2Fword", "sslmode=disable");
    let stranger = address("p%40ss%2Fword", &trusting("stranger.crt"));
    let unknown = address("p%40ss%2Fword", "sslmode=verify-full");
    for (url, why) in [
        (wrong, "password authentication failed"),
        (plain, "pg_hba.conf"),
        (stranger, "Certificate"),
        (unknown, "Certificate"),
    ] {
        let refused = Store::open(&url.parse().unwrap()).await.unwrap_err();
        assert!(!refused.is_away(), "{refused:?}");
        let told = format!("{refused}: {:?}", refused.source());
        assert!(told.contains(why), "{why}: {told}");
        assert!(
            !told.contains("p@ss") && !told.contains("guessed"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_server_that_ends_is_away_and_back_without_a_new_store() {
    let cluster = Cluster::start();
    let store = Store::open(&cluster.database().parse().unwrap())
        .await
        .unwrap();
    let mut row = sandbox(1, &[]);
    store.insert(&row).await.unwrap();
    for _ in 0..2 {
        cluster.stop();
        let begun = Instant::now();
        assert!(store.check().await.unwrap_err().is_away());
        assert!(store.update(&mut row).await.unwrap_err().is_away());
        assert!(store.insert(&sandbox(2, &[])).await.unwrap_err().is_away());
        assert!(begun.elapsed() < Duration::from_secs(10));
        cluster.restart();
        assert_eq!(store.get(&row.id).await.unwrap().as_ref(), Some(&row));
        assert!(store.update(&mut row).await.unwrap());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_away() {
    let url = url();
    let store = Store::open(&url).await.unwrap();
    let mut row = sandbox(1, &[]);
    store.insert(&row).await.unwrap();
    let mut holder = PgConnection::connect(&url.reveal()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("LOCK TABLE sandboxes IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    let begun = Instant::now();
    let silent = store.update(&mut row).await.unwrap_err();
    assert!(matches!(silent, StoreError::Silent) && silent.is_away());
    assert!((9..15).contains(&begun.elapsed().as_secs()));
    held.rollback().await.unwrap();
    assert!(store.get(&row.id).await.unwrap().is_some());
}

/// Every connection is cut in the middle of what it does.
#[tokio::test]
async fn what_is_cut_off_is_away() {
    let url = url();
    let store = Store::open(&url).await.unwrap();
    let row = sandbox(1, &[]);
    store.insert(&row).await.unwrap();
    // Held, so that the writers below wait in the middle of their statements.
    let mut holder = PgConnection::connect(&url.reveal()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("LOCK TABLE sandboxes IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    let writer = tokio::spawn({
        let (store, mut row) = (store.clone(), row.clone());
        async move { store.update(&mut row).await }
    });
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query(cut)
        .fetch_all(&mut *held)
        .await
        .unwrap()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(writer.await.unwrap().unwrap_err().is_away());
    held.rollback().await.unwrap();
    assert_eq!(store.get(&row.id).await.unwrap(), Some(row));
}
