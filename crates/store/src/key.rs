//! API keys, by their hash.

use crate::{Store, StoreError};

impl Store {
    /// Writes a key's hash. A key that is known already keeps its name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert_key(
        &self,
        hash: &str,
        name: &str,
        created_at_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO api_keys (hash, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING")
            .bind(hash)
            .bind(name)
            .bind(created_at_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The name of the key with this hash.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn key_name(&self, hash: &str) -> Result<Option<String>, StoreError> {
        Ok(
            sqlx::query_scalar("SELECT name FROM api_keys WHERE hash = $1")
                .bind(hash)
                .fetch_optional(&self.readers)
                .await?,
        )
    }
}
