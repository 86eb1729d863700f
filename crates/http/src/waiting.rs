//! What is told while there is no control plane yet: its database has not been there since the server began.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use wrenn_control::database_away;

use crate::envelope;
use crate::metrics::Metrics;
use crate::refusal::Refusal;

/// Answers every call as one is answered whose database is away.
pub fn waiting() -> Router {
    let metrics = Arc::new(Metrics::default());
    let answer = move |request: Request| {
        let metrics = Arc::clone(&metrics);
        async move { refuse(&request, &metrics) }
    };
    Router::new().fallback(answer)
}

fn refuse(request: &Request, metrics: &Metrics) -> Response {
    let id = envelope::request_id(request);
    let refused = Refusal(database_away()).into_response();
    envelope::under_id(envelope::refused(refused, &id, metrics), &id)
}
