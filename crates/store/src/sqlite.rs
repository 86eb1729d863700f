//! Opening a database of SQLite's: whose file it is, whether it is whole, and its tables as this version wants them.

use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};

use crate::db::MIGRATOR;
use crate::{StoreError, wal};

/// Marks a database file as ours: "Wren" in ASCII.
const APPLICATION_ID: i64 = 0x5772_656e;
/// How long a statement waits for another process's write.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries to open a database that another server is just opening or closing.
const BUSY_AGAIN: Duration = Duration::from_millis(20);
const READERS: u32 = 4;
/// What a database begins with (sqlite.org/fileformat2.html, "The Database Header").
const HEADER: &[u8; 16] = b"SQLite format 3\0";
/// The smallest page that a database can have, in bytes.
const SMALLEST: u64 = 512;

/// Opens the database in this file, makes it when there is none, and brings its tables up to date. Gives the connections that
/// read, and the one that writes.
pub(crate) async fn open(path: &Path) -> Result<(SqlitePool, SqlitePool), StoreError> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match open_now(path).await {
            // Another server that turns to the log, or takes leave of it, is not waited for by SQLite itself.
            Err(error) if is_busy(&error) && Instant::now() < until => {
                tokio::time::sleep(BUSY_AGAIN).await;
            }
            opened => return opened,
        }
    }
}

async fn open_now(path: &Path) -> Result<(SqlitePool, SqlitePool), StoreError> {
    let plain = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT);
    match std::fs::metadata(path) {
        // SQLite would take it for a new one.
        Ok(file) if file.len() < SMALLEST => {
            let detail = format!("it has {} bytes", file.len());
            return Err(StoreError::damaged(path, detail));
        }
        Ok(_) => {
            check_header(path)?;
            wal::check(path)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make(path).await?,
        Err(error) => return Err(sqlx::Error::Io(error).into()),
    }
    inspect(path, &plain).await?;

    // FULL: in WAL mode NORMAL loses the last commits at a power cut.
    let options = plain
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    // SQLite ends a transaction by itself that meets a full disk, and then refuses the ROLLBACK; the connection would be held
    // for one in a transaction ever after, in which none can be begun.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
        .connect_with(options.clone())
        .await
        .map_err(|error| meaning(path, error))?;
    migrate(path, &writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_with(options.read_only(true))
        .await?;
    Ok((readers, writer))
}

/// Refuses what is no database, before SQLite sees it: the log may hold its first page, so that it would be opened, and what
/// is in the log written into it at the end.
pub(crate) fn check_header(path: &Path) -> Result<(), StoreError> {
    let mut header = [0; HEADER.len()];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut header))
        .map_err(sqlx::Error::Io)?;
    if header == *HEADER {
        return Ok(());
    }
    Err(StoreError::damaged(path, "it is no database"))
}

/// Makes the database aside and gives it its name when it is whole, so that a file of this name is never half a database:
/// one that is empty was damaged.
async fn make(path: &Path) -> Result<(), StoreError> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    wal::check_alone(path)?;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let aside = path.with_extension(format!("new-{}-{number}", std::process::id()));
    let named = async {
        let options = SqliteConnectOptions::new()
            .filename(&aside)
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        migrate(&aside, &pool).await?;
        pool.close().await;
        match std::fs::hard_link(&aside, path) {
            // Another server was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked.and_then(|()| sync_folder(path)),
        }
        .map_err(|error| StoreError::from(sqlx::Error::Io(error)))
    };
    let named = named.await.map_err(|error| match error {
        StoreError::Sql(error) => {
            Arc::try_unwrap(error).map_or_else(StoreError::Sql, |error| meaning(path, error))
        }
        other => other,
    });
    // Where it stays, it is in nobody's way.
    drop(std::fs::remove_file(&aside));
    named
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if folder != Path::new("") => std::fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Looks at a file without changing it: is it a whole database, and ours or empty?
pub(crate) async fn inspect(path: &Path, options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let looked = async {
        let mut db = SqliteConnection::connect_with(options).await?;
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master")
            .fetch_one(&mut db)
            .await?;
        let id: i64 = sqlx::query_scalar("PRAGMA application_id")
            .fetch_one(&mut db)
            .await?;
        let verdict: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
            .fetch_one(&mut db)
            .await?;
        db.close().await?;
        Ok((tables, id, verdict))
    };
    let (tables, id, verdict) = looked.await.map_err(|error| meaning(path, error))?;
    if tables > 0 && id != APPLICATION_ID {
        return Err(StoreError::Foreign {
            database: path.display().to_string(),
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

/// Whether another connection was just in the way (sqlite.org/rescode.html, SQLITE_BUSY and its kin).
fn is_busy(error: &StoreError) -> bool {
    matches!(error, StoreError::Sql(error) if primary(error) == Some(5))
}

/// SQLite's primary result code.
fn primary(error: &sqlx::Error) -> Option<i64> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<i64>().ok()? & 0xff)
}

/// SQLite says SQLITE_CORRUPT (11) or SQLITE_NOTADB (26) of a file that it cannot make sense of; SQLITE_READONLY (8),
/// SQLITE_FULL (13) or SQLITE_CANTOPEN (14) of one that it cannot write.
pub(crate) fn meaning(path: &Path, error: sqlx::Error) -> StoreError {
    match primary(&error) {
        Some(11 | 26) => StoreError::Damaged {
            path: path.to_owned(),
            detail: error.to_string(),
        },
        Some(8 | 13 | 14) => StoreError::Unwritable {
            path: path.to_owned(),
            detail: error.to_string(),
        },
        _ => error.into(),
    }
}

fn migration_meaning(path: &Path, error: MigrateError) -> StoreError {
    let database = path.display().to_string();
    match error {
        MigrateError::VersionMissing(_) => StoreError::Newer { database },
        MigrateError::Execute(error) => meaning(path, error),
        failed => {
            let told = StoreError::unmigrated(database, &failed);
            match failed {
                MigrateError::ExecuteMigration(error, _) => match meaning(path, error) {
                    StoreError::Sql(_) => told,
                    known => known,
                },
                _ => told,
            }
        }
    }
}

/// In one transaction: where it fails the database is of the version that it was. Under a write lock from its start: two
/// servers that start at once migrate one after the other.
async fn migrate(path: &Path, writer: &SqlitePool) -> Result<(), StoreError> {
    let refused = |error| meaning(path, error);
    let mut tx = writer
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(refused)?;
    MIGRATOR
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(|error| migration_meaning(path, error))?;
    let id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *tx)
        .await?;
    // A database that is as it should be is not written: the disk may be full.
    if id != APPLICATION_ID {
        // A pragma takes no parameter, and the text of a query is static.
        sqlx::query("PRAGMA application_id = 1467114862")
            .execute(&mut *tx)
            .await
            .map_err(refused)?;
    }
    tx.commit().await.map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_that_met_a_full_disk_stands_in_the_way_of_no_other() -> Result<(), StoreError>
    {
        let folder = tempfile::tempdir().unwrap();
        let (_, writer) = open(&folder.path().join("wrenn.db")).await?;
        let large = "INSERT INTO once (team, key, asked, holder, held_at, sandbox_id, created_at) \
                     VALUES ('t', 'k', zeroblob(1000000), 'h', 0, '', 0)";
        sqlx::query("PRAGMA max_page_count = 1")
            .execute(&writer)
            .await?;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let refused = StoreError::from(sqlx::query(large).execute(&mut *tx).await.unwrap_err());
        assert!(refused.is_full(), "{refused:?}");
        drop(tx);

        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(large).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    #[test]
    fn the_pragma_writes_our_id() {
        assert_eq!(APPLICATION_ID, 1_467_114_862);
    }
}
