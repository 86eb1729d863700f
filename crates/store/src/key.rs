//! API keys, by their hash.

use sqlx::query;
use wrenn_model::{KeyId, Scopes, TeamName};

use crate::db::{Columns, on};
use crate::{Store, StoreError};

/// The text that finds keys, with these words about which.
macro_rules! keys {
    ($which:literal) => {
        concat!(
            "SELECT id, name, team, scopes, created_at, expires_at, last_used_at, revoked_at FROM api_keys ",
            $which
        )
    };
}

/// What is known of a key, but for its hash. The key itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// What names it.
    pub id: KeyId,
    /// What its maker called it; several may be called the same.
    pub name: String,
    /// Whose it is.
    pub team: TeamName,
    /// What it is for.
    pub scopes: Scopes,
    /// When it was made, in milliseconds since the epoch.
    pub created_at_ms: i64,
    /// From when on it opens nothing any more.
    pub expires_at_ms: Option<i64>,
    /// When it was last used, to a minute or so.
    pub last_used_at_ms: Option<i64>,
    /// Since when it opens nothing any more because somebody said so.
    pub revoked_at_ms: Option<i64>,
}

impl Store {
    /// Writes a key, beside all others. One whose hash is known already stays as it is.
    ///
    /// # Errors
    /// When the database refuses, or another key has this id.
    pub async fn insert_key(&self, hash: &str, key: &StoredKey) -> Result<(), StoreError> {
        on!(&self.writer, db => {
            query(
                "INSERT INTO api_keys (hash, id, name, team, scopes, created_at, expires_at, last_used_at, revoked_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (hash) DO NOTHING",
            )
            .bind(hash)
            .bind(key.id.as_str())
            .bind(&key.name)
            .bind(key.team.as_str())
            .bind(key.scopes.to_string())
            .bind(key.created_at_ms)
            .bind(key.expires_at_ms)
            .bind(key.last_used_at_ms)
            .bind(key.revoked_at_ms)
            .execute(db)
            .await?;
            Ok(())
        })
    }

    /// The key with this hash, also when it opens nothing any more.
    ///
    /// # Errors
    /// When the database refuses, or the row makes no sense.
    pub async fn key(&self, hash: &str) -> Result<Option<StoredKey>, StoreError> {
        on!(&self.readers, db => {
            let row = query(keys!("WHERE hash = $1"))
                .bind(hash)
                .fetch_optional(db)
                .await?;
            row.as_ref().map(read).transpose()
        })
    }

    /// Every key of this team, or every key that there is, newest first.
    ///
    /// # Errors
    /// When the database refuses, or a row makes no sense.
    pub async fn keys(&self, team: Option<&TeamName>) -> Result<Vec<StoredKey>, StoreError> {
        on!(&self.readers, db => {
            // An empty text is no team's name.
            let rows = query(keys!("WHERE $1 = '' OR team = $1 ORDER BY created_at DESC, id"))
                .bind(team.map_or("", TeamName::as_str))
                .fetch_all(db)
                .await?;
            rows.iter().map(read).collect()
        })
    }

    /// Revokes a key of this team, or whosever it is. One that is revoked already keeps the time of the first. `false`
    /// when there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn revoke_key(
        &self,
        id: &KeyId,
        team: Option<&TeamName>,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        on!(&self.writer, db => {
            let revoked = query(
                "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1 AND ($3 = '' OR team = $3)",
            )
            .bind(id.as_str())
            .bind(now_ms)
            .bind(team.map_or("", TeamName::as_str))
            .execute(db)
            .await?;
            Ok(revoked.rows_affected() == 1)
        })
    }

    /// Writes that a key was used now, unless that it was used after `unless_after_ms` is written already.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_key_use(
        &self,
        id: &KeyId,
        now_ms: i64,
        unless_after_ms: i64,
    ) -> Result<(), StoreError> {
        on!(&self.writer, db => {
            query(
                "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
            )
            .bind(id.as_str())
            .bind(now_ms)
            .bind(unless_after_ms)
            .execute(db)
            .await?;
            Ok(())
        })
    }
}

fn read(row: &impl Columns) -> Result<StoredKey, StoreError> {
    let id = row.text("id")?;
    let broken = |what| StoreError::Row {
        id: id.clone(),
        what,
    };
    Ok(StoredKey {
        name: row.text("name")?,
        team: row.text("team")?.parse().map_err(|_| broken("team"))?,
        scopes: row.text("scopes")?.parse().map_err(|_| broken("scope"))?,
        created_at_ms: row.number("created_at")?,
        expires_at_ms: row.time("expires_at")?,
        last_used_at_ms: row.time("last_used_at")?,
        revoked_at_ms: row.time("revoked_at")?,
        id: id.parse().map_err(|_| broken("id"))?,
    })
}
