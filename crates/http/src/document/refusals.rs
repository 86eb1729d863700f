//! With which statuses each operation may refuse, and what they mean. What a status is for is `wrenn_api::http_status`'s.

use std::collections::BTreeMap;

use axum::http::Method;
use utoipa::ToSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use wrenn_api::{ErrorBody, http_status};
use wrenn_model::ErrorKind;

/// Who asks it is asked nothing.
const HEALTH: &str = "/healthz";

/// Every refusal that there is, by the name that operations refer to it by.
pub(super) fn all() -> BTreeMap<String, RefOr<Response>> {
    let mut kinds: BTreeMap<u16, Vec<ErrorKind>> = BTreeMap::new();
    for kind in ErrorKind::ALL {
        kinds.entry(http_status(*kind)).or_default().push(*kind);
    }
    let of_status = |(status, kinds)| (name(status), response(status, kinds).into());
    kinds.into_iter().map(of_status).collect()
}

/// Says how this operation may refuse.
pub(super) fn describe(method: &Method, path: &str, operation: &mut Operation) {
    let statuses = kinds(method, path, operation).into_iter().map(http_status);
    for status in statuses {
        let refusal = Ref::from_response_name(name(status));
        let responses = &mut operation.responses.responses;
        responses.insert(status.to_string(), refusal.into());
    }
}

fn name(status: u16) -> String {
    format!("Refusal{status}")
}

fn response(status: u16, kinds: Vec<ErrorKind>) -> Response {
    let mut codes: Vec<String> = kinds
        .iter()
        .map(|kind| format!("`{}`", kind.code()))
        .collect();
    codes.dedup();
    let body = Content::new(Some(RefOr::Ref(Ref::from_schema_name(ErrorBody::name()))));
    let header = |kind, told: &str| {
        HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(kind)))
            .description(Some(told))
            .build()
    };
    let mut response = ResponseBuilder::new()
        .description(format!(
            "{}: docs/errors.md says when, and what to do",
            codes.join(", ")
        ))
        .content("application/json", body)
        .header(
            "X-Request-Id",
            header(Type::String, "The request's id, as in the body"),
        );
    match status {
        401 => {
            let told = "`X-API-Key`, which is where a key belongs";
            response = response.header("WWW-Authenticate", header(Type::String, told));
        }
        429 | 507 => {
            let told = "Seconds after which to try again, where that is known";
            response = response.header("Retry-After", header(Type::Integer, told));
        }
        _ => {}
    }
    response.build()
}

fn kinds(method: &Method, path: &str, operation: &Operation) -> Vec<ErrorKind> {
    let mut kinds = vec![
        ErrorKind::DbError,
        ErrorKind::Internal,
        ErrorKind::Unavailable,
    ];
    let takes_body = operation.request_body.is_some();
    if takes_body || operation.parameters.is_some() {
        kinds.push(ErrorKind::InvalidRequest);
    }
    if takes_body {
        kinds.push(ErrorKind::TooLarge);
    }
    // A host that joins shows a token in its body, and is told the same of that.
    if path != HEALTH {
        kinds.extend([ErrorKind::Unauthorized, ErrorKind::Forbidden]);
    }
    // What a path names, or a body: a template, a team, a sandbox.
    let names = ["/v1/sandboxes", "/v1/snapshots", "/v1/pools", "/v1/keys"];
    if path.contains('{') || names.contains(&path) && takes_body {
        kinds.push(ErrorKind::NotFound);
    }
    if !method.is_safe() || path.starts_with("/v1/sandboxes/") {
        kinds.push(ErrorKind::Conflict);
    }
    let asks_the_agent = path.starts_with("/v1/sandboxes/")
        || path == "/v1/sandboxes" && takes_body
        || path.starts_with("/v1/snapshots")
        || path == "/v1/pools";
    if asks_the_agent {
        kinds.extend([
            ErrorKind::NotSupported,
            ErrorKind::AgentError,
            ErrorKind::Timeout,
        ]);
        kinds.extend([ErrorKind::HostBusy, ErrorKind::HostFull]);
    }
    if path.ends_with("/events") {
        kinds.push(ErrorKind::QuotaExhausted);
    }
    kinds
}
