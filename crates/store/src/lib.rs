//! What the control plane knows, in SQL.
//!
//! One text per query, in words that every database of ours understands: TEXT, BIGINT, JSON as TEXT, `$1`. Writes are
//! few and small, each durable when its call returns. Whoever changes a sandbox names the version it has read, so that
//! two writers never overwrite each other ([`Store::update`]).

mod copy;
mod db;
mod error;
mod host;
mod key;
mod list;
mod sandbox;
mod wal;

pub use copy::copy;
pub use db::Store;
pub use error::StoreError;
pub use host::{Invitation, StoredAuthority};
pub use list::{Cursor, Filter};
pub use sandbox::Sandbox;
