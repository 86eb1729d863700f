//! What can go wrong with a call, from the address to the server's own answer.

use std::fmt;

use http::StatusCode;

/// The cause of a failure, kept as it came.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address given to the client is no address of a server.
    #[error("{url:?} is no address of a Wrenn server: {why}")]
    Address {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The key has characters that no header may have.
    #[error("the API key holds characters that no key has")]
    Key,
    /// Nobody answers there.
    #[error("no Wrenn server answers at {url}")]
    Unreachable {
        /// The server's address.
        url: String,
        /// What the network said.
        source: Source,
    },
    /// The server answered with an error of its own.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// The connection ended in the middle of a call. Whether the call took effect is not known.
    #[error("the connection to {url} broke in the middle of the call")]
    Broken {
        /// The server's address.
        url: String,
        /// What the network said.
        source: Source,
    },
    /// Whoever listens there says nothing.
    #[error("whoever listens at {url} does not answer within {limit_sec} s")]
    Silent {
        /// The server's address.
        url: String,
        /// How long was waited, in seconds.
        limit_sec: u64,
    },
    /// The answer is not what the contract says: another server, or another version of it.
    #[error("the answer of {url} is not one of a Wrenn server: {what}")]
    Contract {
        /// The server's address.
        url: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// What the caller can do about it, where somebody knows.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::Address { .. } => Some("give it as http://HOST:PORT"),
            Self::Key => {
                Some("copy the key anew from the file api-key in the server's data directory")
            }
            Self::Unreachable { .. } => Some(
                "start a server with `wrenn up`, or give the address of one with --url or WRENN_URL",
            ),
            Self::Api(error) => Some(error.remedy.as_str()).filter(|remedy| !remedy.is_empty()),
            Self::Broken { .. } => {
                Some("look at the server's log, then at the sandbox's status, and try again")
            }
            Self::Silent { .. } => Some(
                "see whether a Wrenn server listens there (`ss -ltnp` names who does) and what its log says, or give the \
                 address of another with --url or WRENN_URL",
            ),
            Self::Contract { .. } => Some(
                "give the address of a Wrenn server with --url or WRENN_URL; if it is one, see that it and this client are of \
                 one version",
            ),
        }
    }

    /// The server's own error, when it is one.
    #[must_use]
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }
}

/// An error as the server tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status; none when the error came over an open stream.
    pub status: Option<StatusCode>,
    /// The contract's error code, such as `not_found`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What the caller can do about it; may be empty.
    pub remedy: String,
    /// Whether the same call may succeed later without a change.
    pub retryable: bool,
    /// What the server's log calls this request; may be empty.
    pub request_id: String,
    /// Seconds after which the same call is worth another try, where the server said so.
    pub retry_after_sec: Option<u32>,
}

impl ApiError {
    pub(crate) fn of_answer(status: StatusCode, error: wrenn_api::ErrorInfo) -> Self {
        Self {
            retry_after_sec: None,
            status: Some(status),
            code: error.code,
            message: error.message,
            remedy: error.remedy,
            retryable: error.retryable,
            request_id: error.request_id,
        }
    }

    pub(crate) fn of_stream(message: String, code: String, remedy: String) -> Self {
        Self {
            status: None,
            code,
            message,
            remedy,
            retryable: false,
            request_id: String::new(),
            retry_after_sec: None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
