//! Copies of a database that is written to meanwhile.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::key;
use wrenn_store::{DatabaseUrl, Store, StoreError, copy};

/// The keys that a database has of those that were written one after the other.
async fn keys(store: &Store) -> u32 {
    let mut count = 0;
    while store.key(&format!("hash-{count}")).await.unwrap().is_some() {
        count += 1;
    }
    // What comes after one that is missing would be a hole.
    for later in count..count + 20 {
        assert_eq!(store.key(&format!("hash-{later}")).await.unwrap(), None);
    }
    count
}

#[tokio::test]
async fn a_copy_is_of_one_moment_whatever_is_written_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrenn.db");
    let store = Store::open(&DatabaseUrl::file(&path)).await.unwrap();
    let written = AtomicU32::new(0);
    let write = async {
        for number in 0..300 {
            let hash = format!("hash-{number}");
            let id = format!("key-{number:08}");
            store.insert_key(&hash, &key(&id, "red", 1)).await.unwrap();
            written.store(number + 1, Ordering::SeqCst);
        }
    };
    let copies = async {
        let mut last = 0;
        for number in 0..5 {
            let to = folder.path().join(format!("copy-{number}"));
            let before = written.load(Ordering::SeqCst);
            copy(&path, &to).await.unwrap();
            assert!(!to.with_extension("db-wal").exists());
            let copied = Store::open(&DatabaseUrl::file(&to)).await.unwrap();
            let has = keys(&copied).await;
            assert!(has >= before.max(last), "{has} of {before}");
            last = has;
            copied.close().await;
        }
    };
    tokio::join!(write, copies);
    assert_eq!(keys(&store).await, 300);
}

#[tokio::test]
async fn what_is_no_whole_database_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("wrenn.db"), folder.path().join("copy"));
    std::fs::write(&path, "something else, and long enough for a header").unwrap();
    let refused = copy(&path, &to).await.unwrap_err();
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
    std::fs::remove_file(&path).unwrap();
    copy(&path, &to).await.unwrap_err();
    assert!(!path.exists() && !to.exists());

    // Nor is one written over that is there.
    Store::open(&DatabaseUrl::file(&path))
        .await
        .unwrap()
        .close()
        .await;
    std::fs::write(&to, "kept").unwrap();
    copy(&path, &to).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "kept");
}
