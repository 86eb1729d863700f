//! Errors on their way out of a handler.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use wrenn_model::{ErrorKind, Fault};

/// A handler's error. Its body is written by the [envelope](crate::envelope), which knows the request's id.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Fault);

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    /// The request itself is wrong.
    pub(crate) fn invalid(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Fault::new(ErrorKind::InvalidRequest, message, remedy))
    }

    /// The body is larger than this route takes.
    pub(crate) fn too_large(limit: usize, remedy: &str) -> Self {
        Self(Fault::new(
            ErrorKind::TooLarge,
            format!("more than {limit} bytes"),
            remedy,
        ))
    }

    /// The body did not come in the time for it.
    pub(crate) fn too_slow(time: Duration, remedy: &str) -> Self {
        let seconds = time.as_secs();
        Self::invalid(
            format!("the body did not come within {seconds} seconds"),
            remedy,
        )
    }

    /// A handler panicked; the panic itself is in the log.
    pub(crate) fn panicked() -> Response {
        Self(Fault::new(
            ErrorKind::Internal,
            "the server made a mistake",
            "report it, with the request id",
        ))
        .into_response()
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = wrenn_api::http_status(self.0.kind);
        let mut response = StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}
