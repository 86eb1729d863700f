//! What every answer has in common: a request id, a line in the log, and one form for everything that is no success,
//! whichever part of the server refused.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use wrenn_api::{ErrorBody, ErrorInfo};
use wrenn_model::{ErrorKind, Fault};

use crate::metrics::Metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ID_BYTES: usize = 128;

/// The outermost layer.
pub(crate) async fn envelope(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let upload = is_form(&request);
    // Whatever is logged on the way says for whom.
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let mut response = next.run(request).instrument(span).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        response = refused(response, &id, &metrics);
        if upload {
            // What is left of the body is not read: a caller must not send its next request behind it.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
    let status = response.status().as_u16();
    let took = begun.elapsed();
    tracing::debug!(%method, path, status, request_id = ?id, ?took, "answered");
    metrics.answered(
        route.as_ref().map(MatchedPath::as_str),
        &method,
        status,
        took,
    );
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn is_form(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"multipart/"))
}

/// The caller's own id when it is one, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let valid = |id: &&HeaderValue| {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        (1..=ID_BYTES).contains(&id.len()) && id.as_bytes().iter().copied().all(word)
    };
    request
        .headers()
        .get(REQUEST_ID)
        .filter(valid)
        .cloned()
        .unwrap_or_else(|| {
            let mut bytes = [0; 8];
            // Two requests of one id are a nuisance in the log, and no reason to refuse either.
            if let Err(error) = getrandom::fill(&mut bytes) {
                tracing::warn!(%error, "no random bytes for a request id");
            }
            let id = format!("req-{:016x}", u64::from_ne_bytes(bytes));
            HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("req-0"))
        })
}

/// The error form. What headers the refusal had, `Allow` say, stay.
fn refused(mut response: Response, id: &HeaderValue, metrics: &Metrics) -> Response {
    let fault = response
        .extensions_mut()
        .remove::<Fault>()
        .unwrap_or_else(|| of_status(response.status()));
    metrics.refused(fault.kind);
    let status =
        StatusCode::from_u16(wrenn_api::http_status(fault.kind)).unwrap_or(response.status());
    if status.is_server_error() {
        tracing::warn!(kind = %fault.kind, message = fault.message, request_id = ?id, "refused");
    }
    let body = ErrorBody {
        error: ErrorInfo::new(&fault, id.to_str().unwrap_or_default()),
    };
    let mut refused = (status, axum::Json(body)).into_response();
    let (parts, _) = response.into_parts();
    for (name, value) in parts.headers {
        if let Some(name) =
            name.filter(|name| *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH)
        {
            refused.headers_mut().append(name, value);
        }
    }
    if let Some(seconds) = fault.retry_after_sec {
        refused
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        refused.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("X-API-Key"),
        );
    }
    refused.map(Body::new)
}

/// A refusal of the routing itself, which knows no more than its status.
fn of_status(status: StatusCode) -> Fault {
    let see = "see /openapi.yaml for what there is";
    match status {
        StatusCode::NOT_FOUND => Fault::new(ErrorKind::NotFound, "there is no such route", see),
        StatusCode::METHOD_NOT_ALLOWED => Fault::new(
            ErrorKind::MethodNotAllowed,
            "this route has no such method",
            see,
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            Fault::new(ErrorKind::TooLarge, "the body is too large", "send less")
        }
        other if other.is_client_error() => Fault::new(
            ErrorKind::InvalidRequest,
            format!("the request makes no sense: {other}"),
            see,
        ),
        other => Fault::new(
            ErrorKind::Internal,
            other.to_string(),
            "report it, with the request id",
        ),
    }
}
