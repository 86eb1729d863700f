//! Error bodies, and the one place where an error's kind becomes an HTTP status. `docs/errors.md` is its prose.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::{ErrorKind, Fault};

/// The HTTP status of a kind of error.
#[must_use]
pub fn http_status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidRequest => 400,
        ErrorKind::Unauthorized => 401,
        ErrorKind::Forbidden => 403,
        ErrorKind::NotFound => 404,
        ErrorKind::MethodNotAllowed => 405,
        ErrorKind::InvalidState | ErrorKind::Conflict | ErrorKind::AlreadyExists => 409,
        ErrorKind::TooLarge => 413,
        ErrorKind::QuotaExhausted | ErrorKind::HostBusy => 429,
        ErrorKind::DbError | ErrorKind::Internal => 500,
        ErrorKind::NotSupported => 501,
        ErrorKind::AgentError => 502,
        ErrorKind::Unavailable => 503,
        ErrorKind::Timeout => 504,
        ErrorKind::HostFull => 507,
    }
}

/// The body of every answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorInfo,
}

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorInfo {
    /// A stable name for programs; `docs/errors.md` lists them.
    #[schema(example = "not_found")]
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// What the caller can do about it.
    pub remedy: String,
    /// Whether the same call may succeed later, unchanged.
    pub retryable: bool,
    /// The request's id, as in the header `x-request-id` and in the server's log.
    pub request_id: String,
}

impl ErrorInfo {
    /// What a caller reads of a fault.
    pub fn new(fault: &Fault, request_id: impl Into<String>) -> Self {
        Self {
            code: fault.kind.code().to_owned(),
            message: fault.message.clone(),
            remedy: fault.remedy.clone(),
            retryable: fault.kind.retryable(),
            request_id: request_id.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in docs/errors.md says of every kind what the code does.
    #[test]
    fn the_document_says_what_the_code_does() {
        let document = include_str!("../../../docs/errors.md");
        let rows: Vec<Vec<&str>> = document
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), ErrorKind::ALL.len());
        for (row, kind) in rows.iter().zip(ErrorKind::ALL) {
            assert_eq!(row[1], format!("`{}`", kind.code()), "{kind}");
            assert_eq!(row[2], http_status(*kind).to_string(), "{kind}");
            assert_eq!(
                row[3],
                if kind.retryable() { "yes" } else { "no" },
                "{kind}"
            );
            assert!(!row[4].is_empty() && !row[5].is_empty(), "{kind}");
        }
    }

    #[test]
    fn every_status_is_an_error() {
        assert!(
            ErrorKind::ALL
                .iter()
                .all(|kind| (400..600).contains(&http_status(*kind)))
        );
    }
}
