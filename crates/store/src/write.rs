//! What changes sandboxes: a row, and the event that tells of it, in a transaction that others may share.

use sqlx::{Database, Encode, PgConnection, QueryBuilder, SqliteConnection, Type, query};
use wrenn_model::{RequestId, SandboxId, Transition};

use crate::event::{EventKind, append_event};
use crate::quota::{More, Quota as _};
use crate::sandbox::reason_text;
use crate::{Admitted, Sandbox, StoreError};

/// A change of one sandbox.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) what: What,
    pub(crate) row: Sandbox,
    /// Whose doing it is.
    pub(crate) by: Option<RequestId>,
}

/// What becomes of the row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// It is new.
    Insert,
    /// It is new, if its team may have it.
    Admit,
    /// It says something else, if nobody else has written it since it was read.
    Update,
    /// The same, and it will run again, if its team may have it run.
    Wake,
    /// It is no more, under the same condition.
    Remove,
}

/// A transaction that writes.
pub(crate) trait Apply {
    /// Has every other writer of events wait from here on. Asked for first, so that writers who share a transaction and lock
    /// rows in any order never wait for each other in a circle.
    async fn go_first(&mut self) -> Result<(), StoreError>;

    /// Changes a row and tells of it. Where the answer is not [`Admitted::Written`], nothing has changed.
    async fn apply(&mut self, write: &Write) -> Result<Admitted, StoreError>;
}

macro_rules! insert {
    ($tx:expr, $row:expr) => {{
        let row: &Sandbox = $row;
        let inserted = query(
            "INSERT INTO sandboxes (id, owner_id, template, vcpus, memory_mb, timeout_sec, hostname, metadata, status, \
             transition, status_reason, guest_ip, host_ip, isolation, vmm, created_at, started_at, last_active_at, \
             last_updated, version, on_timeout, auto_resume, paused_at, lost_since, network, parent_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
             $22, $23, $24, $25, $26) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(row.id.as_str())
        .bind(&row.owner_id)
        .bind(row.template.as_str())
        .bind(i64::from(row.vcpus))
        .bind(i64::from(row.memory.0))
        .bind(i64::from(row.timeout_sec))
        .bind(&row.hostname)
        .bind(json_text(&row.metadata))
        .bind(row.status.as_str())
        .bind(row.transition.map_or("", Transition::as_str))
        .bind(reason_text(&row.status_reason))
        .bind(&row.guest_ip)
        .bind(&row.host_ip)
        .bind(&row.isolation)
        .bind(&row.vmm)
        .bind(row.created_at_ms)
        .bind(row.started_at_ms)
        .bind(row.last_active_at_ms)
        .bind(row.last_updated_ms)
        .bind(row.version)
        .bind(row.on_timeout.as_str())
        .bind(i64::from(row.auto_resume))
        .bind(row.paused_at_ms)
        .bind(row.lost_since_ms)
        .bind(json_text(&row.network))
        .bind(row.parent_id.as_ref().map_or("", SandboxId::as_str))
        .execute(&mut *$tx)
        .await?
        .rows_affected()
            == 1;
        if inserted && !row.metadata.is_empty() {
            labels(row).build().execute(&mut *$tx).await?;
        }
        inserted
    }};
}

macro_rules! update {
    ($tx:expr, $row:expr) => {{
        let row: &Sandbox = $row;
        query(
            "UPDATE sandboxes SET status = $3, transition = $4, status_reason = $5, guest_ip = $6, host_ip = $7, \
             isolation = $8, vmm = $9, started_at = $10, last_active_at = $11, last_updated = $12, paused_at = $13, \
             lost_since = $14, network = $15, version = version + 1 WHERE id = $1 AND version = $2",
        )
        .bind(row.id.as_str())
        .bind(row.version)
        .bind(row.status.as_str())
        .bind(row.transition.map_or("", Transition::as_str))
        .bind(reason_text(&row.status_reason))
        .bind(&row.guest_ip)
        .bind(&row.host_ip)
        .bind(&row.isolation)
        .bind(&row.vmm)
        .bind(row.started_at_ms)
        .bind(row.last_active_at_ms)
        .bind(row.last_updated_ms)
        .bind(row.paused_at_ms)
        .bind(row.lost_since_ms)
        .bind(json_text(&row.network))
        .execute(&mut *$tx)
        .await?
        .rows_affected()
            == 1
    }};
}

macro_rules! remove {
    ($tx:expr, $row:expr) => {{
        let row: &Sandbox = $row;
        query("DELETE FROM sandboxes WHERE id = $1 AND version = $2")
            .bind(row.id.as_str())
            .bind(row.version)
            .execute(&mut *$tx)
            .await?
            .rows_affected()
            == 1
    }};
}

macro_rules! apply {
    ($($connection:ty, $go_first:expr);*) => { $(
        impl Apply for $connection {
            async fn go_first(&mut self) -> Result<(), StoreError> {
                let lock: Option<&'static str> = $go_first;
                if let Some(lock) = lock {
                    query(lock).execute(&mut *self).await?;
                }
                Ok(())
            }

            async fn apply(&mut self, Write { what, row, by }: &Write) -> Result<Admitted, StoreError> {
                let more = match what {
                    What::Admit => Some(More::Sandbox),
                    What::Wake => Some(More::Running),
                    What::Insert | What::Update | What::Remove => None,
                };
                if let Some(more) = more && let Some(exceeded) = self.exceeded(row, more).await? {
                    return Ok(Admitted::Refused(exceeded));
                }
                let (kind, changed) = match what {
                    What::Insert | What::Admit => (EventKind::Created, insert!(self, row)),
                    What::Update | What::Wake => (EventKind::Changed, update!(self, row)),
                    What::Remove => (EventKind::Forgotten, remove!(self, row)),
                };
                if !changed {
                    return Ok(Admitted::Taken);
                }
                append_event!(self, kind, row, by.as_ref());
                Ok(Admitted::Written)
            }
        }
    )* };
}

// SQLite has one writer, from the beginning of its transaction.
apply!(
    SqliteConnection, None;
    PgConnection, Some("SELECT newest FROM counters WHERE id = 'events' FOR UPDATE")
);

/// Writes a sandbox's labels, all in one statement: other writers wait for it.
fn labels<DB: Database>(row: &Sandbox) -> QueryBuilder<DB>
where
    DB::Arguments: Default,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("INSERT INTO sandbox_metadata (sandbox_id, key, value) ");
    query.push_values(&row.metadata, |mut values, (key, value)| {
        values
            .push_bind(row.id.as_str())
            .push_bind(key.as_str())
            .push_bind(value.as_str());
    });
    query
}

/// A map of texts always has a JSON form, and so has a policy.
fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
