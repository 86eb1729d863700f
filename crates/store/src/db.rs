//! One store over two databases: every query is one text, and is run on whichever of them it is.

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{PgPool, Postgres, Row as _, Sqlite, SqlitePool, Transaction};
use tokio::sync::Notify;
use wrenn_model::RequestId;

use crate::clock::Clock;
use crate::group_commit::GroupCommit;
use crate::url::Place;
use crate::{DatabaseUrl, StoreError, postgres, sqlite};

/// Every change of the tables there ever was; forward only.
pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How long an answer of PostgreSQL may take. A machine that lost its power says nothing, and TCP waits for it for minutes.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The database.
///
/// SQLite has one writer at a time. All writes go through one connection, so that they queue fairly here instead of
/// polling each other's lock there; reads have connections of their own and never wait for a write. PostgreSQL needs
/// nothing of that: reads and writes share its connections. On both, the writes of sandboxes that come at the same time are
/// committed together.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) readers: Pool,
    pub(crate) writer: Pool,
    /// Whose doing what is written is.
    pub(crate) by: Option<RequestId>,
    pub(crate) wrote: Arc<Notify>,
    pub(crate) commits: GroupCommit,
    pub(crate) clock: Clock,
}

/// Connections to one of the two databases.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Lite(SqlitePool),
    Pg(PgPool),
}

/// Does the same on whichever database it is. `$db` is its pool in `$work`, which is a `Result<_, StoreError>`; a `?` or a
/// `return` in it leaves `$work` alone.
macro_rules! on {
    ($pool:expr, $db:ident => $work:expr) => {
        match $pool {
            $crate::db::Pool::Lite($db) => $crate::db::at_leisure(async { $work }).await,
            $crate::db::Pool::Pg($db) => $crate::db::in_time(async { $work }).await,
        }
    };
}
pub(crate) use on;

impl Store {
    /// Opens the database, makes its file when it is SQLite's and there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Lost`], [`StoreError::Foreign`] or [`StoreError::Newer`] when the database is
    /// not what it should be, nothing of it changed then; other errors when it cannot be opened or migrated.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let (readers, writer) = match url.place() {
            Place::File(path) => {
                let (readers, writer) = sqlite::open(path).await?;
                (Pool::Lite(readers), Pool::Lite(writer))
            }
            Place::Server(options) => {
                let pool = postgres::open(options, url).await?;
                (Pool::Pg(pool.clone()), Pool::Pg(pool))
            }
        };
        let wrote = Arc::<Notify>::default();
        let store = Self {
            readers,
            commits: GroupCommit::start(writer.clone(), wrote.clone()),
            writer,
            by: None,
            wrote,
            clock: Clock::default(),
        };
        store.read_clock().await?;
        Ok(store)
    }

    /// Whether other servers may work on it at the same time: a file has one.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.writer, Pool::Pg(_))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        if self.commits.has_ended() {
            return Err(StoreError::Silent);
        }
        on!(&self.readers, db => {
            sqlx::query("SELECT 1").execute(db).await?;
            Ok(())
        })
    }

    /// Ends every connection, after what they are doing.
    pub async fn close(&self) {
        for pool in [&self.readers, &self.writer] {
            match pool {
                Pool::Lite(pool) => pool.close().await,
                Pool::Pg(pool) => pool.close().await,
            }
        }
    }
}

/// SQLite's file answers, or says why not.
pub(crate) async fn at_leisure<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    work.await
}

/// PostgreSQL may be behind a network, which loses what it likes.
pub(crate) async fn in_time<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(ANSWER_LIMIT, work)
        .await
        .unwrap_or(Err(StoreError::Silent))
}

/// A transaction that writes. Dropped before its commit, it has not been.
pub(crate) trait Begin {
    type Db: sqlx::Database;

    async fn transaction(&self) -> Result<Transaction<'static, Self::Db>, sqlx::Error>;
}

impl Begin for SqlitePool {
    type Db = Sqlite;

    /// With the write lock from its start: one that reads first could not get it any more.
    async fn transaction(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.begin_with("BEGIN IMMEDIATE").await
    }
}

impl Begin for PgPool {
    type Db = Postgres;

    async fn transaction(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.begin().await
    }
}

/// A row of either database, in the types that both have.
pub(crate) trait Columns {
    fn text(&self, column: &'static str) -> Result<String, sqlx::Error>;
    fn number(&self, column: &'static str) -> Result<i64, sqlx::Error>;
    /// `None` for NULL: a time that has not come.
    fn time(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error>;
}

macro_rules! columns {
    ($($row:ty),*) => { $(
        impl Columns for $row {
            fn text(&self, column: &'static str) -> Result<String, sqlx::Error> {
                self.try_get(column)
            }

            fn number(&self, column: &'static str) -> Result<i64, sqlx::Error> {
                self.try_get(column)
            }

            fn time(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error> {
                self.try_get(column)
            }
        }
    )* };
}
columns!(SqliteRow, PgRow);
