//! Opening a database of PostgreSQL's: whose it is, and its tables as this version wants them.

use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};

use crate::db::{MIGRATOR, in_time};
use crate::{DatabaseUrl, StoreError};

/// The most connections that one server holds.
const CONNECTIONS: u32 = 16;
/// How long a call waits for one of them: while the database is away, callers hear so soon.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a connection is told first. A server whose machine vanishes in the middle of a transaction holds its locks until PostgreSQL
/// notices, which by itself takes hours.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '15s'; \
                       SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// Held by whoever migrates, to its end; PostgreSQL takes any number.
const MIGRATING: i64 = 0x5772_656e;

/// A table is not there.
const UNDEFINED_TABLE: &str = "42P01";
/// The user may not do this; no schema is the user's to make tables in; nothing may be written at all.
const NOT_ALLOWED: [&str; 3] = ["42501", "3F000", "25006"];

/// Looks whether the database is ours or empty, migrates it, and connects to it.
pub(crate) async fn open(
    options: &PgConnectOptions,
    url: &DatabaseUrl,
) -> Result<PgPool, StoreError> {
    let options = options.clone().application_name("wrenn");
    // On a connection of its own: with it ends whatever a migration that failed has held.
    let mut alone = in_time(async { Ok(options.connect().await?) }).await?;
    migrate(&mut alone, url).await?;
    alone.close().await?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(SESSION).execute(connection).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await?;
    Ok(pool)
}

/// Brings the tables up to date, in one transaction: where it fails the database is of the version that it was. Two servers
/// that start at once migrate one after the other.
async fn migrate(db: &mut PgConnection, url: &DatabaseUrl) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATING)
        .execute(&mut *tx)
        .await?;
    if !is_ours(&mut tx).await? {
        return Err(StoreError::Foreign {
            database: url.to_string(),
        });
    }
    MIGRATOR
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(|error| meaning(url, error))?;
    Ok(tx.commit().await?)
}

/// Whether there are no tables yet, or they began with our first migration.
async fn is_ours(db: &mut PgConnection) -> Result<bool, StoreError> {
    // Another server that has just begun to migrate has made the table of migrations alone.
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_catalog.pg_tables \
         WHERE schemaname = current_schema() AND tablename <> '_sqlx_migrations'",
    )
    .fetch_one(&mut *db)
    .await?;
    let Some(founding) = MIGRATOR.iter().next().filter(|_| tables > 0) else {
        return Ok(true);
    };
    let begun = sqlx::query_scalar("SELECT checksum FROM _sqlx_migrations WHERE version = $1")
        .bind(founding.version)
        .fetch_optional(db)
        .await;
    match begun {
        Ok(checksum) => Ok(checksum.is_some_and(|sum: Vec<u8>| sum == *founding.checksum)),
        Err(error) if code(&error).as_deref() == Some(UNDEFINED_TABLE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn meaning(url: &DatabaseUrl, error: MigrateError) -> StoreError {
    let database = url.to_string();
    match error {
        MigrateError::VersionMissing(_) => StoreError::Newer { database },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if code(&error).is_some_and(|code| NOT_ALLOWED.contains(&code.as_str())) =>
        {
            StoreError::NotAllowed {
                database,
                detail: error.to_string(),
            }
        }
        MigrateError::Execute(error) => error.into(),
        failed => {
            let told = StoreError::unmigrated(database, &failed);
            match failed {
                MigrateError::ExecuteMigration(error, _) => match StoreError::from(error) {
                    away if away.is_away() => away,
                    _ => told,
                },
                _ => told,
            }
        }
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
