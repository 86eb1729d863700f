//! From each version of the tables to the present one, on either database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::path::Path;

use common::{Place, sandbox};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};
use wrenn_model::{NetworkPolicy, OnTimeout, SandboxId, Scope, TeamName};
use wrenn_store::{Store, StoreError};

/// As `sqlite.rs` of the store marks a file.
const APPLICATION_ID: &str = "PRAGMA application_id = 1467114862";

async fn migrations() -> Migrator {
    Migrator::new(Path::new("migrations")).await.unwrap()
}

/// Brings an empty database as far as the version of the store did that had these migrations alone.
async fn bring_to(place: &Place, version: i64) {
    let migrations = migrations().await;
    let url = place.url.reveal();
    if place.url.as_file().is_some() {
        let mut db = SqliteConnection::connect(&format!("{url}?mode=rwc"))
            .await
            .unwrap();
        migrations.run_to(version, &mut db).await.unwrap();
        db.close().await.unwrap();
        place.execute(&[APPLICATION_ID]).await;
    } else {
        let mut db = PgConnection::connect(&url).await.unwrap();
        migrations.run_to(version, &mut db).await.unwrap();
        db.close().await.unwrap();
    }
}

/// The names of every table's columns, with their types.
async fn columns(place: &Place) -> Vec<String> {
    let url = place.url.reveal();
    if place.url.as_file().is_some() {
        let text = "SELECT m.name || '.' || c.name || ' ' || c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c ORDER BY 1";
        let mut db = SqliteConnection::connect(&url).await.unwrap();
        let rows = sqlx::query(AssertSqlSafe(text))
            .fetch_all(&mut db)
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    } else {
        let text = "SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns \
                    WHERE table_schema = current_schema() ORDER BY 1";
        let mut db = PgConnection::connect(&url).await.unwrap();
        let rows = sqlx::query(AssertSqlSafe(text))
            .fetch_all(&mut db)
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn every_version_is_brought_up_to_date_and_twice_is_as_once() {
    let fresh = Place::new();
    fresh.open().await.close().await;
    let whole = columns(&fresh).await;
    assert!(whole.len() > 30, "{whole:?}");
    for migration in migrations().await.iter() {
        let place = Place::new();
        bring_to(&place, migration.version).await;
        bring_to(&place, migration.version).await;
        for _ in 0..2 {
            let store = place.open().await;
            let row = sandbox(1, &[("team", "red")]);
            assert!(store.insert(&row).await.unwrap());
            assert_eq!(store.get(&row.id).await.unwrap(), Some(row));
            store.close().await;
        }
        assert_eq!(columns(&place).await, whole, "from {}", migration.version);
    }
}

/// A sandbox of the first version of the tables, brought up to date.
#[tokio::test]
async fn a_founding_database_keeps_its_rows() {
    let place = Place::new();
    bring_to(&place, 1).await;
    place
        .execute(&[
            "INSERT INTO sandboxes (id, created_at, last_updated, metadata) \
             VALUES ('sb-aaaaaaaaaaaaaaaaaaaa', 3, 4, '{\"team\":\"red\"}')",
        ])
        .await;
    let id: SandboxId = "sb-aaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    let store = place.open().await;
    let mut row = store.get(&id).await.unwrap().unwrap();
    assert_eq!(
        (row.on_timeout, row.auto_resume),
        (OnTimeout::Destroy, false)
    );
    assert_eq!(row.network, NetworkPolicy::default());
    assert_eq!(row.parent_id, None);
    assert_eq!(
        (row.created_at_ms, row.metadata["team"].as_str()),
        (3, "red")
    );
    row.paused_at_ms = Some(9);
    row.network.deny.push("192.0.2.0/24".parse().unwrap());
    assert!(store.update(&mut row).await.unwrap());
    assert_eq!(store.get(&id).await.unwrap(), Some(row));
}

/// A key and a sandbox of the time when keys had names alone.
#[tokio::test]
async fn what_was_before_teams_is_the_operator_s() {
    let place = Place::new();
    bring_to(&place, 4).await;
    place
        .execute(&[
            "INSERT INTO api_keys (hash, name, created_at) VALUES ('0a1b2c3d4e5f', 'first', 3), ('0a1b2c4d', 'second', 4)",
            "INSERT INTO sandboxes (id, owner_id, created_at, last_updated) VALUES ('sb-aaaaaaaaaaaaaaaaaaaa', 'first', 3, 4)",
        ])
        .await;
    let store = place.open().await;
    let key = store.key("0a1b2c3d4e5f").await.unwrap().unwrap();
    assert_eq!(
        (key.id.as_str(), key.name.as_str()),
        ("key-0a1b2c3d", "first")
    );
    assert!(key.team.is_operator() && key.scopes.allow(Scope::Admin));
    assert_eq!((key.expires_at_ms, key.revoked_at_ms), (None, None));
    assert_eq!(store.keys(None).await.unwrap().len(), 2);
    let id: SandboxId = "sb-aaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    let row = store.get(&id).await.unwrap().unwrap();
    assert_eq!(row.owner_id, TeamName::OPERATOR);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let place = Place::new();
    place.open().await.close().await;
    place
        .execute(&[
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        ])
        .await;
    let before = columns(&place).await;
    for _ in 0..2 {
        let refused = Store::open(&place.url).await.unwrap_err();
        assert!(matches!(refused, StoreError::Newer { .. }), "{refused}");
        assert!(
            refused.to_string().contains(&place.url.to_string()),
            "{refused}"
        );
    }
    assert_eq!(columns(&place).await, before);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    for tables in [
        &["CREATE TABLE recipes (id BIGINT)"][..],
        // Of one that uses the same library.
        &[
            "CREATE TABLE recipes (id BIGINT)",
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT, success BOOLEAN, checksum TEXT, \
             execution_time BIGINT)",
        ],
    ] {
        let place = Place::new();
        place.execute(tables).await;
        let before = columns(&place).await;
        let refused = Store::open(&place.url).await.unwrap_err();
        assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
        assert_eq!(columns(&place).await, before);
    }
}

/// Something that stands in the way of each migration after the first, of its last step where it has several: the version,
/// the first of the former ones in which there is a place for it, what makes it, what takes it away, and the name that the refusal
/// has in it.
const OBSTACLES: &[(i64, i64, &str, &str, &str)] = &[
    (
        2,
        1,
        "ALTER TABLE sandboxes ADD COLUMN lost_since TEXT",
        "ALTER TABLE sandboxes DROP COLUMN lost_since",
        "lost_since",
    ),
    (
        3,
        1,
        "ALTER TABLE sandboxes ADD COLUMN network TEXT",
        "ALTER TABLE sandboxes DROP COLUMN network",
        "network",
    ),
    (
        4,
        1,
        "CREATE INDEX host_invitations_by_expiry ON sandboxes (id)",
        "DROP INDEX host_invitations_by_expiry",
        "host_invitations_by_expiry",
    ),
    (
        5,
        1,
        "CREATE TABLE audit (id TEXT)",
        "DROP TABLE audit",
        "audit",
    ),
    (
        6,
        1,
        "CREATE INDEX sandboxes_by_owner ON sandboxes (id)",
        "DROP INDEX sandboxes_by_owner",
        "sandboxes_by_owner",
    ),
    (
        7,
        1,
        "CREATE INDEX once_by_age ON sandboxes (id)",
        "DROP INDEX once_by_age",
        "once_by_age",
    ),
    (
        8,
        6,
        "ALTER TABLE teams ADD COLUMN max_storage_mb TEXT",
        "ALTER TABLE teams DROP COLUMN max_storage_mb",
        "max_storage_mb",
    ),
    (
        9,
        5,
        "ALTER TABLE audit ADD COLUMN object BIGINT",
        "ALTER TABLE audit DROP COLUMN object",
        "object",
    ),
    (
        10,
        1,
        "CREATE INDEX audit_by_sandbox ON sandboxes (id)",
        "DROP INDEX audit_by_sandbox",
        "audit_by_sandbox",
    ),
    (
        11,
        1,
        "ALTER TABLE sandboxes ADD COLUMN parent_id BIGINT",
        "ALTER TABLE sandboxes DROP COLUMN parent_id",
        "parent_id",
    ),
];

/// The versions that a database says it has come by.
async fn versions(place: &Place) -> Vec<i64> {
    let text = "SELECT version FROM _sqlx_migrations ORDER BY version";
    let url = place.url.reveal();
    if place.url.as_file().is_some() {
        let mut db = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query_scalar(text).fetch_all(&mut db).await.unwrap()
    } else {
        let mut db = PgConnection::connect(&url).await.unwrap();
        sqlx::query_scalar(text).fetch_all(&mut db).await.unwrap()
    }
}

/// Whichever migration fails, the first that is due or a later one, the database stays of the version that it was, and holds up
/// nobody; once nothing stands in the way any more it is brought up to date with all that it had.
#[tokio::test]
async fn a_migration_that_fails_half_way_has_changed_nothing() {
    let migrations = migrations().await;
    let later = migrations.iter().map(|migration| migration.version).skip(1);
    let obstacles = OBSTACLES.iter().map(|(version, ..)| *version);
    assert!(later.eq(obstacles), "each migration has its obstacle");
    for (version, first, make, take_away, name) in OBSTACLES {
        for former in *first..*version {
            let place = Place::new();
            bring_to(&place, former).await;
            place
                .execute(&[
                    "INSERT INTO sandboxes (id, created_at, last_updated) VALUES ('sb-aaaaaaaaaaaaaaaaaaaa', 3, 4)",
                    make,
                ])
                .await;
            let before = (columns(&place).await, versions(&place).await);
            for _ in 0..2 {
                let refused = Store::open(&place.url).await.unwrap_err();
                assert!(matches!(refused, StoreError::Migrate { .. }), "{refused}");
                let told = refused.to_string();
                let database = place
                    .url
                    .as_file()
                    .map_or(place.url.to_string(), |file| file.display().to_string());
                for part in [database.as_str(), &format!("migration {version}"), name] {
                    assert!(told.contains(part), "{part}: {told}");
                }
                let after = (columns(&place).await, versions(&place).await);
                assert_eq!(after, before, "from {former}, at {version}");
            }
            place.execute(&[take_away]).await;
            let store = place.open().await;
            let id: SandboxId = "sb-aaaaaaaaaaaaaaaaaaaa".parse().unwrap();
            assert_eq!(store.get(&id).await.unwrap().unwrap().created_at_ms, 3);
            store.close().await;
        }
    }
}
