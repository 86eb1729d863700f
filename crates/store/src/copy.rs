//! A copy of a database that servers go on writing to.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::sqlite::{BUSY_TIMEOUT, check_header, inspect, meaning};
use crate::{StoreError, wal};

/// Makes `to`, which is not there, a copy of the database `from`, of one moment: what was committed by then is in it, and
/// nothing else. It needs no log beside it. Nothing of it is synced.
///
/// # Errors
/// Those of [`Store::open`](crate::Store::open) for a database that is not as it should be.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let to = to
        .to_str()
        .ok_or_else(|| StoreError::damaged(to, "its name is no text"))?;
    check_header(from)?;
    wal::check(from)?;
    let options = SqliteConnectOptions::new()
        .filename(from)
        .busy_timeout(BUSY_TIMEOUT);
    inspect(from, &options).await?;
    let copied = async {
        let mut db: SqliteConnection = options.read_only(true).connect().await?;
        sqlx::query("VACUUM INTO $1")
            .bind(to)
            .execute(&mut db)
            .await?;
        db.close().await
    };
    copied.await.map_err(|error| meaning(from, error))
}
