//! Whether the server is well.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the host agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentHealth {
    /// It answers, and its recovery has ended.
    Ready,
    /// It answers, and is still putting itself in order after a start.
    Recovering,
    /// It does not answer.
    Unreachable,
    /// It is of another release, and one of the two has to be upgraded.
    Incompatible,
}

/// The answer of `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `ok`: a server that is not well answers with an error.
    #[schema(example = "ok")]
    pub status: String,
    /// How the host agent is.
    pub agent: AgentHealth,
    /// The server's version.
    pub version: String,
}
