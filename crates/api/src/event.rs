//! What became of sandboxes, and who asked for what.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// What a sandbox's row said from some moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number: they count up, without holes, in the order in which things became so.
    #[schema(example = 4711)]
    pub id: i64,
    /// What it is about: `created`, `changed`, or `forgotten` when nothing was begun after all.
    #[serde(rename = "type")]
    #[schema(example = "changed")]
    pub kind: String,
    /// When it was.
    pub at: Timestamp,
    /// Which sandbox.
    #[schema(example = "sb-k3x9q2m7c1v8b5n4z6a0")]
    pub sandbox_id: String,
    /// One of `pending`, `running`, `paused`, `stopped` and `error`.
    #[schema(example = "running")]
    pub status: String,
    /// What is under way, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<String>,
    /// Why it stopped, failed, or stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// The request whose doing it was. Absent where no caller asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A call that may have changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When it was answered.
    pub at: Timestamp,
    /// Its id, as its answer named it.
    #[schema(example = "req-6f1d0c2b9a8e7d4c")]
    pub request_id: String,
    /// The id of the caller's key.
    #[schema(example = "key-1a2b3c4d")]
    pub key_id: String,
    /// Its name.
    #[schema(example = "first")]
    pub key: String,
    /// A method and a route.
    #[schema(example = "POST /v1/sandboxes/{id}/exec")]
    pub action: String,
    /// The sandbox that it was about, if it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// The key, team or snapshot that it was about, if it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "key-0a1b2c3d")]
    pub object: Option<String>,
    /// The HTTP status of its answer; of a WebSocket, 101.
    #[schema(example = 200)]
    pub status: u16,
}
