//! Who did what: calls that may have changed something.

use sqlx::{Database, Encode, QueryBuilder, Type, query};
use wrenn_model::TeamName;

use crate::db::{Begin as _, Columns, on};
use crate::{Store, StoreError};

/// One call, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its own id; nothing else has it.
    pub id: String,
    /// When it was answered, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The request; a caller may use an id twice.
    pub request_id: String,
    /// The id of the caller's key.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// Whose key it is.
    pub owner_id: String,
    /// A method and a route, such as `POST /v1/sandboxes/{id}/exec`.
    pub action: String,
    /// The sandbox that it was about; empty where it was about none.
    pub sandbox_id: String,
    /// The key, team or snapshot that it was about, by id or name; empty where it was about none.
    pub object: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// Which calls to read, the newest first. Everything that is set has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those before the one of this time and id: where the page before ended.
    pub before: Option<(i64, String)>,
    /// About this sandbox.
    pub sandbox_id: Option<String>,
    /// Of this team's keys.
    pub owner: Option<TeamName>,
    /// At most so many.
    pub limit: u32,
}

impl Store {
    /// Adds these calls, all or none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn append_audit(&self, entries: &[AuditEntry]) -> Result<(), StoreError> {
        on!(&self.writer, db => {
            let mut tx = db.transaction().await?;
            for entry in entries {
                query(
                    "INSERT INTO audit (id, at, request_id, key_id, key_name, owner_id, action, sandbox_id, object, \
                     status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
                )
                .bind(&entry.id)
                .bind(entry.at_ms)
                .bind(&entry.request_id)
                .bind(&entry.key_id)
                .bind(&entry.key_name)
                .bind(&entry.owner_id)
                .bind(&entry.action)
                .bind(&entry.sandbox_id)
                .bind(&entry.object)
                .bind(i64::from(entry.status))
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await?;
            Ok(())
        })
    }

    /// The calls that pass the filter, the newest first.
    ///
    /// # Errors
    /// When the database refuses, or a row makes no sense.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        on!(&self.readers, db => {
            let rows = filtered(filter).build().fetch_all(db).await?;
            rows.iter().map(read).collect()
        })
    }
}

/// The query that the filter stands for.
pub(crate) fn filtered<DB: Database>(filter: &AuditFilter) -> QueryBuilder<DB>
where
    DB::Arguments: Default,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new(
        "SELECT id, at, request_id, key_id, key_name, owner_id, action, sandbox_id, object, status FROM audit WHERE 1 = 1",
    );
    if let Some((at_ms, id)) = &filter.before {
        query.push(" AND (at, id) < (").push_bind(*at_ms);
        query.push(", ").push_bind(id.as_str()).push(")");
    }
    if let Some(id) = &filter.sandbox_id {
        query.push(" AND sandbox_id = ").push_bind(id.as_str());
    }
    if let Some(owner) = &filter.owner {
        // Of one sandbox there is less than of a team: that is what an index is for then.
        let column = if filter.sandbox_id.is_some() {
            " AND owner_id || '' = "
        } else {
            " AND owner_id = "
        };
        query.push(column).push_bind(owner.as_str());
    }
    query
        .push(" ORDER BY at DESC, id DESC LIMIT ")
        .push_bind(i64::from(filter.limit));
    query
}

fn read(row: &impl Columns) -> Result<AuditEntry, StoreError> {
    let id = row.text("id")?;
    let status = u16::try_from(row.number("status")?).map_err(|_| StoreError::Row {
        id: id.clone(),
        what: "status",
    })?;
    Ok(AuditEntry {
        at_ms: row.number("at")?,
        request_id: row.text("request_id")?,
        key_id: row.text("key_id")?,
        key_name: row.text("key_name")?,
        owner_id: row.text("owner_id")?,
        action: row.text("action")?,
        sandbox_id: row.text("sandbox_id")?,
        object: row.text("object")?,
        status,
        id,
    })
}
