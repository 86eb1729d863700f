//! The one form of plain HTTP errors.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use wrenn_envd_api::ErrorBody;

/// An error answer: the status, and `{"code", "message"}`.
pub(crate) fn refuse(status: StatusCode, message: impl Into<String>) -> Response {
    let body = ErrorBody {
        code: status.as_u16(),
        message: message.into(),
    };
    (status, Json(body)).into_response()
}
