//! `POST /init`: the host makes this guest a sandbox of its own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use wrenn_envd_api::{InitRequest, header};

use super::Server;
use super::answer::refuse;
use crate::session::InitError;

/// Answers with what the clock says at the very end, so that the host sees how late the time came that it sent: a restored
/// guest that is emulated takes tens of milliseconds for its first request.
pub(super) async fn init(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut response = initialise(&server, &headers, &body).await;
    if let Some(time) = clock() {
        response.headers_mut().insert(header::GUEST_TIME, time);
    }
    response
}

/// Checks the key, changes the machine, and only then the session: if the machine refuses, the caller tries again with the
/// same key.
async fn initialise(server: &Server, headers: &HeaderMap, body: &[u8]) -> Response {
    let _one_at_a_time = server.initialising.lock().await;
    let request: InitRequest = match parse(body) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let key = headers.get(header::INIT_KEY).map(|key| key.as_bytes());
    let proposal = match server.sessions.propose(&request, key) {
        Ok(proposal) => proposal,
        Err(error @ InitError::WrongKey) => {
            return refuse(StatusCode::UNAUTHORIZED, error.to_string());
        }
        Err(error @ InitError::NoSecrets) => {
            return refuse(StatusCode::BAD_REQUEST, error.to_string());
        }
    };
    if let Err(error) = server.machine.apply(&request) {
        return refuse(error.status(), crate::errors::chain(&error));
    }
    server.sessions.adopt(proposal);
    if request.renew {
        server.processes.forget_environments();
    }
    StatusCode::NO_CONTENT.into_response()
}

/// Nanoseconds since 1970.
fn clock() -> Option<HeaderValue> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    HeaderValue::from_str(&since.as_nanos().to_string()).ok()
}

/// An empty body asks for nothing.
fn parse(body: &[u8]) -> serde_json::Result<InitRequest> {
    if body.is_empty() {
        Ok(InitRequest::default())
    } else {
        serde_json::from_slice(body)
    }
}
