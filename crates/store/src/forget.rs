//! Forgetting what was long ago, little by little: writers wait for no more than one batch, and none takes longer than an answer of the
//! database may.

use sqlx::{Database, Encode, QueryBuilder, Type, query};
use wrenn_model::SandboxId;

use crate::db::on;
use crate::{Store, StoreError};

/// How many rows are forgotten at a time.
pub(crate) const BATCH: u16 = 1000;

/// That it is stopped and old is asked again of what is deleted: PostgreSQL looks for what to delete before it locks it. It is asked in words
/// that keep indexes out of it.
pub(crate) const STOPPED: &str = "DELETE FROM sandboxes WHERE id IN \
     (SELECT id FROM sandboxes WHERE status = 'stopped' AND last_updated < $1 ORDER BY last_updated LIMIT $2) \
     AND NOT status <> 'stopped' AND +last_updated < $1";

/// By number: where a clock was set back in between, none is missing between two that stay. The sign keeps the index on age out of
/// it, since the first that is found is near the beginning.
pub(crate) const EVENTS: &str = "DELETE FROM events WHERE seq < COALESCE(\
     (SELECT seq FROM events WHERE +at >= $1 AND seq < (SELECT min(seq) FROM events) + $2 ORDER BY seq LIMIT 1), \
     (SELECT min(seq) FROM events) + $2)";

pub(crate) const AUDIT: &str = "DELETE FROM audit WHERE id IN \
     (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";

pub(crate) const ONCE: &str = "DELETE FROM once WHERE (team, key) IN \
     (SELECT team, key FROM once WHERE created_at < $1 ORDER BY created_at LIMIT $2) AND created_at < $1";

impl Store {
    /// Forgets the sandboxes that stopped before this time. Answers how many.
    ///
    /// # Errors
    /// When the database refuses. What was forgotten by then stays so.
    pub async fn forget_stopped(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.forget(STOPPED, before_ms).await
    }

    /// Forgets the oldest events, up to the first that is not from before this time. Answers how many.
    ///
    /// # Errors
    /// When the database refuses. What was forgotten by then stays so.
    pub async fn forget_events(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.forget(EVENTS, before_ms).await
    }

    /// Forgets the calls from before this time. Answers how many.
    ///
    /// # Errors
    /// When the database refuses. What was forgotten by then stays so.
    pub async fn forget_audit(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.forget(AUDIT, before_ms).await
    }

    /// Forgets the answers to calls that were first asked before this time. Answers how many.
    ///
    /// # Errors
    /// When the database refuses. What was forgotten by then stays so.
    pub async fn forget_once(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.forget(ONCE, before_ms).await
    }

    /// Forgets those of these sandboxes that have been in error since before this time, without a pause that they could come back from. It is
    /// for who knows that their host has nothing of them. Answers how many.
    ///
    /// # Errors
    /// When the database refuses. What was forgotten by then stays so.
    pub async fn forget_failed(
        &self,
        ids: &[&SandboxId],
        before_ms: i64,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for batch in ids.chunks(usize::from(BATCH)) {
            removed += on!(&self.writer, db => {
                // Of any length, and so not to be prepared for another time.
                let done = failed(batch, before_ms).build().persistent(false).execute(db).await?;
                Ok(done.rows_affected())
            })?;
        }
        Ok(removed)
    }

    /// Deletes by a text that says before which time, and how many at the most, until it finds fewer.
    async fn forget(&self, text: &'static str, before_ms: i64) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let batch = on!(&self.writer, db => {
                let done = query(text).bind(before_ms).bind(i64::from(BATCH)).execute(db).await?;
                Ok(done.rows_affected())
            })?;
            removed += batch;
            if batch < u64::from(BATCH) {
                return Ok(removed);
            }
        }
    }
}

/// Who has written one of them since has made it younger, or something else.
pub(crate) fn failed<DB: Database>(ids: &[&SandboxId], before_ms: i64) -> QueryBuilder<DB>
where
    DB::Arguments: Default,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("DELETE FROM sandboxes WHERE id IN (");
    let mut listed = query.separated(", ");
    for id in ids {
        listed.push_bind(id.as_str());
    }
    query.push(
        ") AND NOT status <> 'error' AND transition = '' AND paused_at IS NULL AND +last_updated < ",
    );
    query.push_bind(before_ms);
    query
}
