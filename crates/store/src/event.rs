//! What became of sandboxes, in order: one event for each write of a row, in the same transaction.
//!
//! The numbers count up from 1 in the order in which events become visible, without holes: the counter's row is locked from the
//! beginning of a group of writes to its commit, and what is rolled back is not counted. So a reader that has seen number n asks for what comes after n,
//! and whoever is shown n + 2 knows that there is one more.

use std::sync::Arc;

use sqlx::{Database, Encode, QueryBuilder, Type, query_scalar};
use tokio::sync::Notify;
use wrenn_model::{RequestId, SandboxId, Status, TeamName, Transition};

use crate::db::{Columns, on};
use crate::sandbox::read_state;
use crate::{Store, StoreError};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A sandbox is in the list that was not.
    Created,
    /// Its row says something else.
    Changed,
    /// Nothing of it was begun after all, and it is in no list any more.
    Forgotten,
}

/// What a sandbox's row said from some moment on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number: 1 is the first that this database has seen.
    pub seq: i64,
    /// When it was, in milliseconds since the epoch.
    pub at_ms: i64,
    /// What it is about.
    pub kind: EventKind,
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// Whose.
    pub owner_id: String,
    /// How it is; while a transition is under way, how it was before.
    pub status: Status,
    /// What is under way.
    pub transition: Option<Transition>,
    /// Why it is so; empty when there is nothing to say.
    pub status_reason: String,
    /// The request whose doing it was; empty where no caller asked for it.
    pub request_id: String,
}

/// Which events to read, the oldest first. Everything that is set has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Those after this number.
    pub after: i64,
    /// None after this number.
    pub up_to: i64,
    /// Of this sandbox.
    pub sandbox: Option<SandboxId>,
    /// Of this team's sandboxes.
    pub owner: Option<TeamName>,
    /// At most so many.
    pub limit: u32,
}

impl EventKind {
    /// The name, as it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Forgotten => "forgotten",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Created, Self::Changed, Self::Forgotten]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// Writes the event of a row in the transaction that writes the row.
macro_rules! append_event {
    ($tx:expr, $kind:expr, $row:expr, $by:expr) => {{
        let row: &$crate::Sandbox = $row;
        let by: Option<&wrenn_model::RequestId> = $by;
        let seq: i64 = sqlx::query_scalar(
            "UPDATE counters SET newest = newest + 1 WHERE id = 'events' RETURNING newest",
        )
        .fetch_one(&mut *$tx)
        .await?;
        sqlx::query(
            "INSERT INTO events (seq, at, kind, sandbox_id, owner_id, status, transition, status_reason, request_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(seq)
        .bind(row.last_updated_ms)
        .bind($kind.as_str())
        .bind(row.id.as_str())
        .bind(&row.owner_id)
        .bind(row.status.as_str())
        .bind(row.transition.map_or("", wrenn_model::Transition::as_str))
        .bind($crate::sandbox::reason_text(&row.status_reason))
        .bind(by.map_or("", wrenn_model::RequestId::as_str))
        .execute(&mut *$tx)
        .await?;
    }};
}
pub(crate) use append_event;

impl Store {
    /// The same store, as a request uses it: the events of what it writes name the request.
    #[must_use]
    pub fn by(&self, request: Option<RequestId>) -> Self {
        Self {
            by: request,
            ..self.clone()
        }
    }

    /// Wakes its one listener after events were written through this store or a clone of it; other servers' are not heard.
    #[must_use]
    pub fn wrote(&self) -> Arc<Notify> {
        Arc::clone(&self.wrote)
    }

    /// The number of the newest event; 0 while there has been none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        on!(&self.readers, db => {
            let newest = query_scalar("SELECT newest FROM counters WHERE id = 'events'");
            Ok(newest.fetch_one(db).await?)
        })
    }

    /// The number of the oldest event that is kept.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn oldest_event(&self) -> Result<Option<i64>, StoreError> {
        on!(&self.readers, db => {
            Ok(query_scalar("SELECT min(seq) FROM events").fetch_one(db).await?)
        })
    }

    /// The events that pass the filter, the oldest first.
    ///
    /// # Errors
    /// When the database refuses, or a row makes no sense.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        on!(&self.readers, db => {
            let rows = filtered(filter).build().fetch_all(db).await?;
            rows.iter().map(read).collect()
        })
    }
}

/// The query that the filter stands for.
pub(crate) fn filtered<DB: Database>(filter: &EventFilter) -> QueryBuilder<DB>
where
    DB::Arguments: Default,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new(
        "SELECT seq, at, kind, sandbox_id, owner_id, status, transition, status_reason, request_id FROM events WHERE seq > ",
    );
    query.push_bind(filter.after);
    query.push(" AND seq <= ").push_bind(filter.up_to);
    if let Some(id) = &filter.sandbox {
        query.push(" AND sandbox_id = ").push_bind(id.as_str());
    }
    if let Some(owner) = &filter.owner {
        // Of one sandbox there is less than of a team: that is what an index is for then.
        let column = if filter.sandbox.is_some() {
            " AND owner_id || '' = "
        } else {
            " AND owner_id = "
        };
        query.push(column).push_bind(owner.as_str());
    }
    query
        .push(" ORDER BY seq LIMIT ")
        .push_bind(i64::from(filter.limit));
    query
}

fn read(row: &impl Columns) -> Result<Event, StoreError> {
    let seq = row.number("seq")?;
    let broken = |what| StoreError::Row {
        id: seq.to_string(),
        what,
    };
    let (status, transition) = read_state(row, broken)?;
    Ok(Event {
        seq,
        at_ms: row.number("at")?,
        kind: EventKind::from_name(&row.text("kind")?).ok_or_else(|| broken("kind"))?,
        sandbox: row
            .text("sandbox_id")?
            .parse()
            .map_err(|_| broken("sandbox_id"))?,
        owner_id: row.text("owner_id")?,
        status,
        transition,
        status_reason: row.text("status_reason")?,
        request_id: row.text("request_id")?,
    })
}
