//! What is SQLite's alone: its file, its log, and what may have become of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::path::Path;

use common::sandbox;
use wrenn_store::{DatabaseUrl, Filter, Store, StoreError};

async fn open(folder: &Path) -> Store {
    Store::open(&DatabaseUrl::file(folder.join("wrenn.db")))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();

    let noise = folder.path().join("noise.db");
    let bytes = b"this is no database".repeat(400);
    std::fs::write(&noise, &bytes).unwrap();
    assert!(matches!(
        Store::open(&DatabaseUrl::file(&noise)).await,
        Err(StoreError::Damaged { .. })
    ));
    assert_eq!(std::fs::read(&noise).unwrap(), bytes);
}

#[tokio::test]
async fn a_broken_page_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrenn.db");
    let store = open(folder.path()).await;
    for age in 0..200 {
        store.insert(&sandbox(age, &[("a", "b")])).await.unwrap();
    }
    store.close().await;

    let mut broken = std::fs::read(&path).unwrap();
    let middle = broken.len() / 2 / 4096 * 4096;
    broken[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, broken).unwrap();
    assert!(matches!(
        Store::open(&DatabaseUrl::file(&path)).await,
        Err(StoreError::Damaged { .. })
    ));
}

/// A database with rows, closed as by SIGKILL: its log holds what was written last.
async fn killed(folder: &Path) -> std::path::PathBuf {
    let live = folder.join("live");
    std::fs::create_dir(&live).unwrap();
    let store = open(&live).await;
    for age in 0..200 {
        store.insert(&sandbox(age, &[("a", "b")])).await.unwrap();
    }
    for name in ["wrenn.db", "wrenn.db-wal"] {
        std::fs::copy(live.join(name), folder.join(name)).unwrap();
    }
    store.close().await;
    folder.join("wrenn.db")
}

#[tokio::test]
async fn each_kind_of_damage_is_refused_and_begins_nothing_new() {
    type Change = fn(&Path, &Path);
    let damages: [(&str, Change); 5] = [
        ("a file of garbage beside a log", |database, _| {
            std::fs::write(database, "garbage ".repeat(1000)).unwrap();
        }),
        ("an empty file", |database, _| {
            std::fs::write(database, "").unwrap();
        }),
        ("a log of garbage", |_, wal| {
            let mut bytes = std::fs::read(wal).unwrap();
            bytes.fill(0xa5);
            std::fs::write(wal, bytes).unwrap();
        }),
        ("a log whose header has one bit flipped", |_, wal| {
            let mut bytes = std::fs::read(wal).unwrap();
            bytes[17] ^= 1;
            std::fs::write(wal, bytes).unwrap();
        }),
        ("a log alone", |database, _| {
            std::fs::remove_file(database).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let database = killed(folder.path()).await;
        let wal = folder.path().join("wrenn.db-wal");
        damage(&database, &wal);
        let before = (std::fs::read(&database).ok(), std::fs::read(&wal).unwrap());
        let refused = Store::open(&DatabaseUrl::file(&database))
            .await
            .unwrap_err();
        assert!(
            matches!(
                refused,
                StoreError::Damaged { .. } | StoreError::Lost { .. }
            ),
            "{what}: {refused}"
        );
        assert!(
            refused.to_string().contains("wrenn.db"),
            "{what}: {refused}"
        );
        let after = (std::fs::read(&database).ok(), std::fs::read(&wal).unwrap());
        assert!(before == after, "{what}");
    }
}

#[tokio::test]
async fn a_cut_or_overwritten_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for age in 0..200 {
        store.insert(&sandbox(age, &[("a", "b")])).await.unwrap();
    }
    store.close().await;
    let path = folder.path().join("wrenn.db");
    let bytes = std::fs::read(&path).unwrap();
    for length in [1, 99, 4096, bytes.len() / 2] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(
            matches!(
                Store::open(&DatabaseUrl::file(&path)).await,
                Err(StoreError::Damaged { .. })
            ),
            "{length} of {} bytes",
            bytes.len()
        );
    }
    let mut garbage = bytes;
    garbage[..100].fill(0xa5);
    std::fs::write(&path, garbage).unwrap();
    assert!(matches!(
        Store::open(&DatabaseUrl::file(&path)).await,
        Err(StoreError::Damaged { .. })
    ));
}

#[tokio::test]
async fn what_a_kill_left_in_the_log_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    killed(folder.path()).await;
    let store = open(folder.path()).await;
    assert_eq!(store.list(&Filter::default()).await.unwrap().len(), 200);
}

#[tokio::test]
async fn making_a_database_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.close().await;
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["wrenn.db"]);
}
