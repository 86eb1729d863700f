//! The store on a real SQLite database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeMap;
use std::path::Path;

use wrenn_model::{MiB, NetworkPolicy, OnTimeout, SandboxId, Status, Transition};
use wrenn_store::{Cursor, DatabaseUrl, Filter, Sandbox, Store, StoreError};

fn sandbox(created_at_ms: i64, metadata: &[(&str, &str)]) -> Sandbox {
    Sandbox {
        id: SandboxId::random(),
        owner_id: String::new(),
        template: "minimal".parse().unwrap(),
        vcpus: 2,
        memory: MiB(512),
        timeout_sec: 300,
        on_timeout: OnTimeout::Pause,
        auto_resume: true,
        hostname: "box".into(),
        network: NetworkPolicy {
            internet: false,
            ..Default::default()
        },
        metadata: metadata
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        status: Status::Pending,
        transition: Some(Transition::Starting),
        status_reason: String::new(),
        guest_ip: String::new(),
        host_ip: String::new(),
        isolation: String::new(),
        vmm: String::new(),
        created_at_ms,
        started_at_ms: None,
        last_active_at_ms: None,
        paused_at_ms: None,
        lost_since_ms: None,
        last_updated_ms: created_at_ms,
        version: 1,
    }
}

async fn open(folder: &Path) -> Store {
    Store::open(&DatabaseUrl::file(folder.join("wrenn.db")))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_written_is_read_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut row = sandbox(1, &[("team", "red"), ("quote", "a'b\"c")]);
    let store = open(folder.path()).await;
    assert!(store.insert(&row).await.unwrap());
    assert!(!store.insert(&row).await.unwrap(), "an id is used once");
    row.status = Status::Running;
    row.transition = None;
    row.host_ip = "10.11.0.1".into();
    row.started_at_ms = Some(5);
    row.paused_at_ms = Some(6);
    row.lost_since_ms = Some(6);
    row.last_updated_ms = 7;
    assert!(store.update(&mut row).await.unwrap());
    assert_eq!(row.version, 2);
    store.close().await;

    // The second opening replays the migrations, which must change nothing.
    let store = open(folder.path()).await;
    assert_eq!(store.get(&row.id).await.unwrap(), Some(row));
    assert_eq!(store.get(&SandboxId::random()).await.unwrap(), None);
    store.check().await.unwrap();
}

/// A database as the first version of the tables left it, brought up to date.
#[tokio::test]
async fn a_founding_database_is_upgraded_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let mut row = sandbox(1, &[("team", "red")]);
    store.insert(&row).await.unwrap();
    store.close().await;
    let path = folder.path().join("wrenn.db");
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    for step in [
        "ALTER TABLE sandboxes DROP COLUMN on_timeout",
        "ALTER TABLE sandboxes DROP COLUMN auto_resume",
        "ALTER TABLE sandboxes DROP COLUMN paused_at",
        "ALTER TABLE sandboxes DROP COLUMN lost_since",
        "ALTER TABLE sandboxes DROP COLUMN network",
        "DROP TABLE authorities",
        "DROP TABLE host_invitations",
        "DELETE FROM _sqlx_migrations WHERE version > 1",
    ] {
        sqlx::query(step).execute(&pool).await.unwrap();
    }
    pool.close().await;

    let store = open(folder.path()).await;
    (row.on_timeout, row.auto_resume) = (OnTimeout::Destroy, false);
    row.network = NetworkPolicy::default();
    assert_eq!(store.get(&row.id).await.unwrap(), Some(row.clone()));
    row.paused_at_ms = Some(9);
    row.network.deny.push("192.0.2.0/24".parse().unwrap());
    assert!(store.update(&mut row).await.unwrap());
    assert_eq!(store.get(&row.id).await.unwrap(), Some(row));
}

#[tokio::test]
async fn of_two_writers_the_second_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let mut first = sandbox(1, &[]);
    store.insert(&first).await.unwrap();
    let mut second = first.clone();
    first.status = Status::Running;
    second.status = Status::Error;
    assert!(store.update(&mut first).await.unwrap());
    assert!(!store.update(&mut second).await.unwrap());
    assert_eq!(second.version, 1);
    assert_eq!(
        store.get(&first.id).await.unwrap().unwrap().status,
        Status::Running
    );
    assert!(!store.remove(&second).await.unwrap());
    assert!(store.remove(&first).await.unwrap());
}

#[tokio::test]
async fn lists_are_filtered_and_paged_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    // Pairs of the same age: the id decides between them.
    let mut rows: Vec<Sandbox> = (0..10)
        .map(|i| {
            sandbox(
                i / 2,
                if i % 2 == 0 {
                    &[("even", "yes"), ("n", "1")]
                } else {
                    &[("n", "1")]
                },
            )
        })
        .collect();
    rows[4].status = Status::Running;
    rows[5].template = "python".parse().unwrap();
    for row in &rows {
        store.insert(row).await.unwrap();
    }
    rows.sort_by(|a, b| (b.created_at_ms, &b.id).cmp(&(a.created_at_ms, &a.id)));
    assert_eq!(store.list(&Filter::default()).await.unwrap(), rows);

    let mut paged = Vec::new();
    let mut filter = Filter {
        limit: Some(3),
        ..Filter::default()
    };
    loop {
        let page = store.list(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(Cursor {
            created_at_ms: last.created_at_ms,
            id: last.id.clone(),
        });
        paged.extend(page);
    }
    assert_eq!(paged, rows);

    let count = async |filter: Filter| store.list(&filter).await.unwrap().len();
    let labels = |pairs: &[(&str, &str)]| Filter {
        metadata: pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..Filter::default()
    };
    assert_eq!(count(labels(&[("n", "1")])).await, 10);
    assert_eq!(count(labels(&[("n", "1"), ("even", "yes")])).await, 5);
    assert_eq!(count(labels(&[("even", "no")])).await, 0);
    assert_eq!(
        count(Filter {
            status: Some(Status::Running),
            ..Filter::default()
        })
        .await,
        1
    );
    assert_eq!(
        count(Filter {
            template: Some("python".parse().unwrap()),
            ..Filter::default()
        })
        .await,
        1
    );
}

#[tokio::test]
async fn only_old_stopped_rows_are_forgotten_with_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let [mut old, mut new, mut failed] = [1, 100, 1].map(|age| sandbox(age, &[("a", "b")]));
    (old.status, new.status, failed.status) = (Status::Stopped, Status::Stopped, Status::Error);
    for row in [&old, &new, &failed] {
        store.insert(row).await.unwrap();
    }
    assert_eq!(store.unstopped().await.unwrap(), [failed.clone()]);
    assert_eq!(store.forget_stopped(50).await.unwrap(), 1);
    assert_eq!(store.get(&old.id).await.unwrap(), None);
    // The same id could not be inserted with its labels if they had stayed.
    assert!(store.insert(&old).await.unwrap());
}

#[tokio::test]
async fn keys_are_found_by_hash_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.insert_key("abc", "first", 1).await.unwrap();
    store.insert_key("abc", "second", 2).await.unwrap();
    assert_eq!(
        store.key_name("abc").await.unwrap().as_deref(),
        Some("first")
    );
    assert_eq!(store.key_name("abd").await.unwrap(), None);
    // As after the loss of the file that has it.
    store.insert_key("abd", "first", 3).await.unwrap();
    assert_eq!(store.key_name("abc").await.unwrap(), None);
    assert_eq!(
        store.key_name("abd").await.unwrap().as_deref(),
        Some("first")
    );
}

#[tokio::test]
async fn two_servers_may_start_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let opening = (0..6).map(|_| {
        let path = folder.path().join("wrenn.db");
        tokio::spawn(async move { Store::open(&DatabaseUrl::file(&path)).await.map(|_| ()) })
    });
    for opened in opening.collect::<Vec<_>>() {
        opened.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_of_ours_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();

    let noise = folder.path().join("noise.db");
    let bytes = b"this is no database".repeat(400);
    std::fs::write(&noise, &bytes).unwrap();
    assert!(matches!(
        Store::open(&DatabaseUrl::file(&noise)).await,
        Err(StoreError::Damaged { .. })
    ));
    assert_eq!(std::fs::read(&noise).unwrap(), bytes);

    let foreign = folder.path().join("foreign.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&foreign)
        .create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE recipes (id BIGINT)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let before = std::fs::read(&foreign).unwrap();
    assert!(matches!(
        Store::open(&DatabaseUrl::file(&foreign)).await,
        Err(StoreError::Foreign { .. })
    ));
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
}

#[tokio::test]
async fn a_broken_page_and_a_newer_version_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrenn.db");
    let store = open(folder.path()).await;
    for age in 0..200 {
        store.insert(&sandbox(age, &[("a", "b")])).await.unwrap();
    }
    store.close().await;
    let whole = std::fs::read(&path).unwrap();

    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'later', 0, 1, x'00', 0)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    assert!(matches!(
        Store::open(&DatabaseUrl::file(&path)).await,
        Err(StoreError::Newer { .. })
    ));

    let mut broken = whole;
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
