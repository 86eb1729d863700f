//! What a trace has of the agent's work: the call, and each step of what it does. Work that no request of the API asked for,
//! a timeout's pause say, is in none.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use wrenn_hostagent_api::protocol;
use wrenn_traces::{Held, REQUEST_ID, Span};

use crate::metrics;

/// A call that is part of a trace; it ends with its answer's last word.
pub(crate) async fn call(request: Request, next: Next) -> Response {
    let method = request.uri().path().trim_start_matches('/');
    let span = Span::follow(request.headers(), || method.to_owned().into());
    if span.is_none() {
        return next.run(request).await;
    }
    span.set("rpc.system.name", "connectrpc");
    if let Some(id) = request.headers().get(protocol::REQUEST_ID)
        && let Ok(id) = id.to_str()
    {
        span.set(REQUEST_ID, id.to_owned());
    }
    let response = span.around(next.run(request)).await;
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if !status.is_success() {
        span.failed(status.as_str().to_owned());
    }
    response.map(|body| Body::new(Held::new(body, span)))
}

/// What a step is called, by its failpoint: those of a creation have nothing before their names.
pub(crate) fn name(point: &str) -> String {
    if point.contains('.') {
        return point.to_owned();
    }
    format!("{}.{point}", metrics::CREATE)
}
