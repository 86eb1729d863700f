//! Which database a test runs on: a file of SQLite's, or PostgreSQL where `WRENN_TEST_DATABASE` is `postgresql`.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::postgres::Cluster;

/// The address of a new, empty database. One of SQLite's is `wrenn.db` in the folder.
#[must_use]
pub fn new(folder: &Path) -> String {
    if on_postgresql() {
        Cluster::shared().database()
    } else {
        format!("sqlite:{}", folder.join("wrenn.db").display())
    }
}

/// Whether it is PostgreSQL.
#[must_use]
pub fn on_postgresql() -> bool {
    match std::env::var("WRENN_TEST_DATABASE").as_deref() {
        Ok("postgresql") => true,
        Ok("" | "sqlite") | Err(_) => false,
        Ok(other) => panic!("WRENN_TEST_DATABASE is {other}, not sqlite or postgresql"),
    }
}

/// Does this in the database at an address, past whoever works on it.
pub async fn execute(url: &str, steps: &[&str]) {
    for step in steps {
        let step = AssertSqlSafe(*step);
        let done = if url.starts_with("sqlite:") {
            let db = SqliteConnection::connect(&format!("{url}?mode=rwc")).await;
            let mut db = db.expect("the database opens");
            let done = sqlx::raw_sql(step).execute(&mut db).await.map(drop);
            done.and(db.close().await)
        } else {
            let db = PgConnection::connect(url).await;
            let mut db = db.expect("the database opens");
            let done = sqlx::raw_sql(step).execute(&mut db).await.map(drop);
            done.and(db.close().await)
        };
        done.expect("the database does it");
    }
}
