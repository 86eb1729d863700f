//! API keys, by their hash.

use sqlx::{query, query_scalar};

use crate::db::{Begin as _, on};
use crate::{Store, StoreError};

impl Store {
    /// Writes a key's hash: the only one of this name from now on. A key that is known already keeps its name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert_key(
        &self,
        hash: &str,
        name: &str,
        created_at_ms: i64,
    ) -> Result<(), StoreError> {
        on!(&self.writer, db => {
            let mut tx = db.transaction().await?;
            query("DELETE FROM api_keys WHERE name = $1 AND hash <> $2")
                .bind(name)
                .bind(hash)
                .execute(&mut *tx)
                .await?;
            query("INSERT INTO api_keys (hash, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING")
                .bind(hash)
                .bind(name)
                .bind(created_at_ms)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// The name of the key with this hash.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn key_name(&self, hash: &str) -> Result<Option<String>, StoreError> {
        on!(&self.readers, db => {
            let name = query_scalar("SELECT name FROM api_keys WHERE hash = $1");
            Ok(name.bind(hash).fetch_optional(db).await?)
        })
    }
}
