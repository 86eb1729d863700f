//! What the control plane knows, in SQL: in a file of SQLite's, or in PostgreSQL.
//!
//! One text per query, in words that both databases understand: TEXT, BIGINT, JSON as TEXT, `$1`. Writes are
//! few and small, each durable when its call returns. Whoever changes a sandbox names the version it has read, so that
//! two writers never overwrite each other ([`Store::update`]).

mod audit;
mod clock;
mod copy;
mod db;
mod error;
mod event;
mod forget;
mod group_commit;
mod host;
mod key;
mod list;
mod once;
#[cfg(test)]
mod plans;
mod postgres;
mod quota;
mod sandbox;
mod sqlite;
mod team;
mod url;
mod wal;
mod write;

pub use audit::{AuditEntry, AuditFilter};
pub use clock::millis;
pub use copy::copy;
pub use db::Store;
pub use error::StoreError;
pub use event::{Event, EventFilter, EventKind};
pub use host::{Invitation, StoredAuthority};
pub use key::StoredKey;
pub use list::{Cursor, Filter};
pub use once::{Once, StoredAnswer};
pub use quota::{Admitted, Exceeded, Limited};
pub use sandbox::Sandbox;
pub use team::{Team, TeamLimits};
pub use url::{DatabaseUrl, InvalidUrl};
