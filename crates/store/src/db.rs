//! Opening the database: whose it is, whether it is whole, and its tables as this version wants them.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};

use crate::StoreError;

/// Every change of the tables there ever was; forward only.
static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Marks a database file as ours: "Wren" in ASCII.
const APPLICATION_ID: i64 = 0x5772_656e;
/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// The database.
///
/// SQLite has one writer at a time. All writes go through one connection, so that they queue fairly here instead of
/// polling each other's lock there; reads have connections of their own and never wait for a write.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) readers: SqlitePool,
    pub(crate) writer: SqlitePool,
}

impl Store {
    /// Opens the database in this file, makes it when there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Foreign`] or [`StoreError::Newer`] when the file is not what it should
    /// be, nothing of it changed then; other errors when it cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let plain = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT);
        inspect(path, &plain.clone().create_if_missing(true)).await?;

        // FULL: in WAL mode NORMAL loses the last commits at a power cut.
        let options = plain
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        migrate(path, &writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { readers, writer })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    /// Ends every connection, after what they are doing.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Looks at a file without changing it: is it a whole database, and ours or empty?
async fn inspect(path: &Path, options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let looked = async {
        let mut db = SqliteConnection::connect_with(options).await?;
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master")
            .fetch_one(&mut db)
            .await?;
        let id: i64 = sqlx::query_scalar("PRAGMA application_id")
            .fetch_one(&mut db)
            .await?;
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut db)
            .await?;
        db.close().await?;
        Ok((tables, id, verdict))
    };
    let (tables, id, verdict) = looked.await.map_err(|error| damage_or(path, error))?;
    if tables > 0 && id != APPLICATION_ID {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
        });
    }
    if verdict != "ok" {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            detail: verdict,
        });
    }
    Ok(())
}

/// SQLite says SQLITE_CORRUPT (11) or SQLITE_NOTADB (26) of a file that it cannot make sense of.
fn damage_or(path: &Path, error: sqlx::Error) -> StoreError {
    let code = error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<i64>().ok());
    match code.map(|code| code & 0xff) {
        Some(11 | 26) => StoreError::Damaged {
            path: path.to_owned(),
            detail: error.to_string(),
        },
        _ => StoreError::Sql(error),
    }
}

/// Under a write lock from its start: two servers that start at once migrate one after the other.
async fn migrate(path: &Path, writer: &SqlitePool) -> Result<(), StoreError> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    MIGRATOR
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(|error| match error {
            MigrateError::VersionMissing(_) => StoreError::Newer {
                path: path.to_owned(),
            },
            other => StoreError::Migrate(other),
        })?;
    // A pragma takes no parameter, and the text of a query is static.
    sqlx::query("PRAGMA application_id = 1467114862")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::APPLICATION_ID;

    #[test]
    fn the_pragma_writes_our_id() {
        assert_eq!(APPLICATION_ID, 1_467_114_862);
    }
}
