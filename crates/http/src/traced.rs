//! What a trace has of a request, after OpenTelemetry's conventions for HTTP. Neither path nor query, nor a header of the
//! caller's: the route says which call it is.

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, Version};
use wrenn_model::{RequestId, SandboxId};
use wrenn_traces::{REQUEST_ID, SANDBOX_ID, Span};

/// Routes that are traced begin so. Others are looked at every few seconds by machines, and lead nowhere.
const TRACED: &str = "/v1/";

/// A request begins.
pub(crate) fn begun(request: &Request, route: Option<&MatchedPath>, id: &RequestId) -> Span {
    let Some(route) = route
        .map(MatchedPath::as_str)
        .filter(|route| route.starts_with(TRACED))
    else {
        return Span::default();
    };
    let method = named(request.method());
    let span = Span::serve(request.headers(), || format!("{method} {route}").into());
    if span.is_none() {
        return span;
    }
    span.set("http.request.method", method);
    span.set("http.route", route.to_owned());
    span.set("url.scheme", "http");
    span.set("network.protocol.version", version(request.version()));
    span.set(REQUEST_ID, id.to_string());
    span
}

/// It was answered.
pub(crate) fn answered(span: &Span, status: u16, sandbox: Option<&SandboxId>) {
    span.set("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.failed(status.to_string());
    }
    about(span, sandbox);
}

/// Its caller hung up before it was answered.
pub(crate) fn given_up(span: &Span, sandbox: Option<&SandboxId>) {
    span.failed("cancelled");
    about(span, sandbox);
}

fn about(span: &Span, sandbox: Option<&SandboxId>) {
    if let Some(sandbox) = sandbox {
        span.set(SANDBOX_ID, sandbox.to_string());
    }
}

/// A method that there is; whatever else somebody sends has no name.
fn named(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}
