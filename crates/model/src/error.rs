//! The kinds of error that a caller can meet. docs/errors.md gives each its HTTP status and its remedy.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $retryable:literal;)*) => {
        /// What went wrong, as the REST contract names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl ErrorKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its own name, one for each kind; what travels between the programs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// The kind of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }

            /// The code in an error body. The contract has one code for all ways of being out of something; the HTTP
            /// status tells a matter of time from a full host.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    Self::HostBusy | Self::HostFull => Self::QuotaExhausted.name(),
                    other => other.name(),
                }
            }

            /// Whether the same call may succeed later without a change.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $(Self::$kind => $retryable,)* }
            }
        }
    };
}

kinds! {
    /// The request itself is wrong.
    InvalidRequest = "invalid_request", false;
    /// No key, or one that nobody knows.
    Unauthorized = "unauthorized", false;
    /// The key does not allow this.
    Forbidden = "forbidden", false;
    /// It is not there.
    NotFound = "not_found", false;
    /// The route exists, the method does not.
    MethodNotAllowed = "method_not_allowed", false;
    /// The sandbox's status does not allow this.
    InvalidState = "invalid_state", false;
    /// Something else that is going on is in the way.
    Conflict = "conflict", true;
    /// The name is taken.
    AlreadyExists = "already_exists", false;
    /// The body is larger than this route takes.
    TooLarge = "too_large", false;
    /// A quota of the caller is used up.
    QuotaExhausted = "resource_exhausted", true;
    /// What the host has is promised to others, or it starts as many as it can already: a matter of time.
    HostBusy = "host_busy", true;
    /// The host has no room: its disk is full.
    HostFull = "host_full", true;
    /// The agent or the guest did not do what it should.
    AgentError = "agent_error", false;
    /// Not now: recovery, shutdown, a database that is away.
    Unavailable = "unavailable", true;
    /// It took too long.
    Timeout = "timeout", true;
    /// The database refused.
    DbError = "db_error", true;
    /// Our own mistake.
    Internal = "internal", false;
    /// This host or driver cannot do it.
    NotSupported = "not_supported", false;
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error as a caller may read it: nothing in it that only the log should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind it is.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// What the caller can do about it.
    pub remedy: String,
    /// Seconds after which the same call is worth another try, where somebody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_sec: Option<u32>,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            remedy: remedy.into(),
            retry_after_sec: None,
        }
    }

    /// The same with when to try again, in seconds; none where nobody knows.
    #[must_use]
    pub fn retry_after(self, seconds: impl Into<Option<u32>>) -> Self {
        Self {
            retry_after_sec: seconds.into(),
            ..self
        }
    }

    /// There is no sandbox with this id.
    #[must_use]
    pub fn no_sandbox(id: &str) -> Self {
        Self::new(
            ErrorKind::NotFound,
            format!("there is no sandbox {id:?}"),
            "list the sandboxes with GET /v1/sandboxes",
        )
    }

    /// There is no snapshot of this name.
    #[must_use]
    pub fn no_snapshot(name: &str) -> Self {
        Self::new(
            ErrorKind::NotFound,
            format!("there is no snapshot {name:?}"),
            "list the snapshots with GET /v1/snapshots?type=snapshot",
        )
    }
}
