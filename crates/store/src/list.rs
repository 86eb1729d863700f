//! Finding sandboxes.

use sqlx::{Database, Encode, QueryBuilder, Type, query};
use wrenn_model::{SandboxId, Status, TeamName, TemplateName};

use crate::db::on;
use crate::sandbox::{read, sandboxes};
use crate::{Sandbox, Store, StoreError};

/// Which sandboxes to list. Everything that is set has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// This team's.
    pub owner: Option<TeamName>,
    /// With this status.
    pub status: Option<Status>,
    /// Made from this template.
    pub template: Option<TemplateName>,
    /// With each of these labels.
    pub metadata: Vec<(String, String)>,
    /// Older than this one: where the page before ended.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A place in the list, which runs from the newest to the oldest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// When the last sandbox of a page was made, in milliseconds since the epoch.
    pub created_at_ms: i64,
    /// Its id: several may be as old.
    pub id: SandboxId,
}

/// By name of what is wanted, so that the index on status is used.
pub(crate) const UNSTOPPED: &str =
    sandboxes!("WHERE status IN ('pending', 'running', 'paused', 'error')");

/// In the words of an index that has these alone.
pub(crate) const IN_TRANSITION: &str = sandboxes!("WHERE transition <> ''");

impl Store {
    /// The sandboxes that pass the filter, newest first.
    ///
    /// # Errors
    /// When the database refuses, or a row makes no sense.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Sandbox>, StoreError> {
        on!(&self.readers, db => {
            let rows = filtered(filter).build().fetch_all(db).await?;
            rows.iter().map(read).collect()
        })
    }

    /// Every sandbox that is not stopped: what the reconciler looks at.
    ///
    /// # Errors
    /// When the database refuses, or a row makes no sense.
    pub async fn unstopped(&self) -> Result<Vec<Sandbox>, StoreError> {
        on!(&self.readers, db => {
            let rows = query(UNSTOPPED).fetch_all(db).await?;
            rows.iter().map(read).collect()
        })
    }

    /// Every sandbox of which something is said to be under way.
    ///
    /// # Errors
    /// When the database refuses, or a row makes no sense.
    pub async fn in_transition(&self) -> Result<Vec<Sandbox>, StoreError> {
        on!(&self.readers, db => {
            let rows = query(IN_TRANSITION).fetch_all(db).await?;
            rows.iter().map(read).collect()
        })
    }
}

/// The query that the filter stands for.
pub(crate) fn filtered<DB: Database>(filter: &Filter) -> QueryBuilder<DB>
where
    DB::Arguments: Default,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new(sandboxes!("WHERE 1 = 1"));
    if let Some(owner) = &filter.owner {
        query.push(" AND owner_id = ").push_bind(owner.as_str());
    }
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(template) = &filter.template {
        query.push(" AND template = ").push_bind(template.as_str());
    }
    for (key, value) in &filter.metadata {
        query.push(" AND EXISTS (SELECT 1 FROM sandbox_metadata m WHERE m.sandbox_id = sandboxes.id AND m.key = ");
        query
            .push_bind(key.as_str())
            .push(" AND m.value = ")
            .push_bind(value.as_str())
            .push(")");
    }
    if let Some(cursor) = &filter.after {
        query
            .push(" AND (created_at, id) < (")
            .push_bind(cursor.created_at_ms);
        query.push(", ").push_bind(cursor.id.as_str()).push(")");
    }
    query.push(" ORDER BY created_at DESC, id DESC");
    if let Some(limit) = filter.limit {
        query.push(" LIMIT ").push_bind(i64::from(limit));
    }
    query
}
