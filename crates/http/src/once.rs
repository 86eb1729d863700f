//! `Idempotency-Key`: a call that is done once, however often it is sent.

use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::RefOr;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use wrenn_api::limits;
use wrenn_control::{AskedOnce, Calls, InHand, Sandboxes, StoredAnswer, Turn};
use wrenn_model::{ErrorKind, Fault, SandboxId, Status};

use crate::auth::Who;
use crate::extract::collect;
use crate::native::view;
use crate::refusal::{Answer, Refusal};
use crate::router::App;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is of an earlier call.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key.
const KEY_LENGTH: usize = 255;
/// The largest body that is kept to be given again, in bytes.
const KEPT_BODY: usize = 64 << 10;
/// What a caller needs of an answer's headers.
const KEPT_HEADERS: [HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    HeaderName::from_static("preference-applied"),
];

/// The id of a sandbox that is to be made, chosen before it is.
#[derive(Debug, Clone)]
pub(crate) struct Planned(pub(crate) SandboxId);

/// How a call takes being sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Twice is as once.
    Repeatable,
    /// So it is, and one that failed has left everything as it was, whatever the reason.
    Upload,
    /// It makes a sandbox, whose id is known before.
    Create,
    /// Twice is told another thing than once, and does no harm.
    State,
    /// Twice is not as once.
    Once,
    /// Nor is it, and its answer has a secret in it, which is kept nowhere.
    Secret,
}

impl Kind {
    /// Whether a call that failed so may have been done.
    fn may_be_done(self, fault: ErrorKind) -> bool {
        matches!(self, Self::Once | Self::Secret)
            && matches!(
                fault,
                ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::DbError
            )
    }

    /// `None` for a call that changes nothing, and for one that there is none of: a key changes nothing about its refusal.
    fn of(method: &Method, route: &str) -> Option<Self> {
        Some(match (method.as_str(), route) {
            ("POST", "/v1/sandboxes") => Self::Create,
            ("POST", "/v1/keys" | "/v1/hosts/invitations") => Self::Secret,
            ("POST", "/v1/sandboxes/{id}/pause" | "/v1/sandboxes/{id}/resume") => Self::State,
            ("POST", "/v1/sandboxes/{id}/exec") => Self::Once,
            ("POST", "/v1/sandboxes/{id}/ping")
            | ("PUT", "/v1/sandboxes/{id}/network" | "/v1/teams/{name}")
            | ("DELETE", "/v1/sandboxes/{id}" | "/v1/keys/{id}" | "/v1/snapshots/{name}") => {
                Self::Repeatable
            }
            ("POST", _) if is_upload(route) => Self::Upload,
            _ => return None,
        })
    }
}

/// Says of an operation that it takes a key, where it does.
pub(crate) fn describe_key(method: &Method, route: &str, operation: &mut Operation) {
    if Kind::of(method, route).is_none() {
        return;
    }
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "Whoever sends the same call with the same key within 24 hours is told what came of the first; docs/errors.md has the rules",
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(KEY_LENGTH))
                .pattern(Some("^[!-~]+$"))
                .build(),
        ))
        .build();
    operation
        .parameters
        .get_or_insert_default()
        .push(key.into());
    let replayed = HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .description(Some("`true` where this is the answer of an earlier call"))
        .build();
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let headers = &mut response.headers;
            headers.insert("Idempotency-Replayed".to_owned(), replayed.clone().into());
        }
    }
}

/// What it uploads streams through, and is no part of what tells calls apart.
fn is_upload(route: &str) -> bool {
    route.ends_with("/files/write") || route.ends_with("/files/stream/write")
}

/// Does a call that has a key once: who sends it again is told what came of it.
pub(crate) async fn once(
    State(app): State<App>,
    Who(caller): Who,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let Some(kind) = Kind::of(request.method(), route.as_str()) else {
        return Ok(next.run(request).await);
    };
    let Some(key) = key(request.headers())? else {
        return Ok(next.run(request).await);
    };
    let (asked, mut request) = digest(request, route.as_str(), caller.key.as_str()).await?;
    let asked = AskedOnce {
        team: caller.team.clone(),
        key,
        asked,
    };
    let in_hand = match app.control.calls().begin(asked).await? {
        Turn::Done(answer) => return again(&answer),
        Turn::Do(in_hand) => in_hand,
        Turn::Unknown(mut in_hand) => match kind {
            Kind::Repeatable | Kind::Upload => in_hand,
            Kind::Create => match made(&app.control.sandboxes_of(&caller), &in_hand).await? {
                // What becomes of it is not known yet: who sends it again looks again.
                Some(response) if response.status() == StatusCode::ACCEPTED => {
                    in_hand.let_go().await?;
                    return Ok(response);
                }
                Some(response) => return keep(in_hand, kind, response).await,
                None => {
                    in_hand.renew().await?;
                    in_hand
                }
            },
            Kind::Once | Kind::State | Kind::Secret => {
                return keep(in_hand, kind, unknown().into_response()).await;
            }
        },
    };
    if kind == Kind::Create
        && let Some(id) = in_hand.sandbox()
    {
        request.extensions_mut().insert(Planned(id));
    }
    work(app.control.calls(), in_hand, kind, request, next).await
}

/// The caller's key, if there is one.
fn key(headers: &HeaderMap) -> Answer<Option<String>> {
    let mut given = headers.get_all(KEY).iter();
    let Some(key) = given.next() else {
        return Ok(None);
    };
    let text = key.to_str().unwrap_or_default();
    let fits = (1..=KEY_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !fits || given.next().is_some() {
        return Err(Refusal::invalid(
            "the Idempotency-Key is none",
            format!(
                "send one of 1 to {KEY_LENGTH} printable characters without blanks, such as a UUID"
            ),
        ));
    }
    Ok(Some(text.to_owned()))
}

/// A digest of what is asked, by whom, and the request with its body, which has been read for that.
async fn digest(request: Request, route: &str, caller: &str) -> Answer<(String, Request)> {
    let (parts, body) = request.into_parts();
    let (bytes, body) = if is_upload(route) {
        (Bytes::new(), body)
    } else {
        let read = collect(body, limits::JSON_BODY_BYTES).await?;
        (read.clone(), Body::from(read))
    };
    let mut digest = Sha256::new();
    // HTTP/2 says with whom it speaks in its URI, and HTTP/1.1 elsewhere: it is the same call.
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let prefer = parts
        .headers
        .get("prefer")
        .map_or(&b""[..], HeaderValue::as_bytes);
    for part in [
        caller.as_bytes(),
        parts.method.as_str().as_bytes(),
        path.as_bytes(),
        prefer,
        &bytes,
    ] {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    let hex = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((hex, Request::from_parts(parts, body)))
}

/// Does it, in a task of its own: a caller that hangs up will ask again.
async fn work(
    calls: &Calls,
    in_hand: InHand,
    kind: Kind,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let done = calls.spawn(async move {
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = response.unwrap_or_else(|_| Refusal::panicked());
        keep(in_hand, kind, response).await
    });
    done.await.unwrap_or_else(|_| Ok(Refusal::panicked()))
}

/// Writes an answer before it is given. What may succeed later is as if it had not been asked, but where it may have been done all
/// the same: an agent that breaks off in a command does not say how far that came.
async fn keep(in_hand: InHand, kind: Kind, response: Response) -> Answer<Response> {
    let (answer, response) = match response.extensions().get::<Fault>() {
        Some(fault) if kind.may_be_done(fault.kind) => (of_fault(&unknown().0), response),
        Some(fault)
            if fault.kind.retryable()
                || kind == Kind::Upload
                || fault.kind == ErrorKind::Forbidden =>
        {
            in_hand.not_done().await?;
            return Ok(response);
        }
        Some(fault) => (of_fault(fault), response),
        None => of_success(kind, response).await?,
    };
    match in_hand.done(&answer).await {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!("a call was taken over by another server before it was done here");
        }
        Err(fault) => tracing::warn!(%fault, "what came of a call is not kept"),
    }
    Ok(response)
}

/// A refusal as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    kind: ErrorKind,
    message: String,
    remedy: String,
}

fn of_fault(fault: &Fault) -> StoredAnswer {
    let kept = Kept {
        kind: fault.kind,
        message: fault.message.clone(),
        remedy: fault.remedy.clone(),
    };
    StoredAnswer {
        status: wrenn_api::http_status(fault.kind),
        headers: "{}".to_owned(),
        // It always has a JSON form.
        body: serde_json::to_string(&kept).unwrap_or_default(),
    }
}

async fn of_success(kind: Kind, response: Response) -> Answer<(StoredAnswer, Response)> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX)
        .await
        .map_err(|_| Refusal::invalid("the answer broke off", "ask again with another key"))?;
    let text = std::str::from_utf8(&bytes)
        .ok()
        .filter(|text| text.len() <= KEPT_BODY);
    let answer = match text {
        Some(text) if kind != Kind::Secret => {
            let headers: serde_json::Map<String, serde_json::Value> = KEPT_HEADERS
                .iter()
                .filter_map(|name| {
                    let value = parts.headers.get(name)?.to_str().ok()?;
                    Some((name.to_string(), value.into()))
                })
                .collect();
            StoredAnswer {
                status: parts.status.as_u16(),
                headers: serde_json::to_string(&headers).unwrap_or_default(),
                body: text.to_owned(),
            }
        }
        _ => of_fault(&Fault::new(
            ErrorKind::AlreadyExists,
            "this call was done, and its answer was given once: it is too large to be kept, or has a secret in it",
            "look at what there is, and use another key to do it again",
        )),
    };
    Ok((answer, Response::from_parts(parts, Body::from(bytes))))
}

/// What came of the call the first time.
fn again(answer: &StoredAnswer) -> Answer<Response> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = if status.is_success() {
        (status, answer.body.clone()).into_response()
    } else {
        let kept: Kept = serde_json::from_str(&answer.body).map_err(|_| {
            Fault::new(
                ErrorKind::Internal,
                "what was kept of this call makes no sense",
                "report it, with the request id",
            )
        })?;
        Refusal(Fault::new(kept.kind, kept.message, kept.remedy)).into_response()
    };
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    let kept: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&answer.headers).unwrap_or_default();
    for (name, value) in kept {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// The sandbox that a create made before its server died; `None` when it came to nothing.
async fn made(sandboxes: &Sandboxes, in_hand: &InHand) -> Answer<Option<Response>> {
    let Some(id) = in_hand.sandbox() else {
        return Ok(None);
    };
    let row = match sandboxes.get(&id).await {
        Ok(row) => row,
        Err(fault) if fault.kind == ErrorKind::NotFound => return Ok(None),
        Err(fault) => return Err(fault.into()),
    };
    let status = match row.status {
        Status::Pending => StatusCode::ACCEPTED,
        Status::Running | Status::Paused => StatusCode::CREATED,
        Status::Stopped | Status::Error => return Ok(None),
    };
    let place = [(header::LOCATION, format!("/v1/sandboxes/{id}"))];
    Ok(Some((status, place, axum::Json(view(row))).into_response()))
}

fn unknown() -> Refusal {
    Refusal(Fault::new(
        ErrorKind::AlreadyExists,
        "this broke off while it was done: whether it was done, nobody knows",
        "look at what there is, and use another key to do it again",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_changes_something_is_of_a_kind() {
        let document: serde_json::Value =
            serde_json::from_str(crate::document::json()).unwrap_or_default();
        let mut kinds = Vec::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (verb, operation) in item.as_object().into_iter().flatten() {
                let method = verb.to_uppercase().parse().unwrap();
                if let Some(kind) = Kind::of(&method, path) {
                    kinds.push((format!("{method} {path}"), kind));
                }
                let takes = operation["parameters"]
                    .to_string()
                    .contains("Idempotency-Key");
                // Who joins has a token that is good once; a file that is read stays as it is.
                let changes_nothing =
                    method.is_safe() || path == "/v1/hosts/join" || path.ends_with("/read");
                assert_eq!(takes, !changes_nothing, "{method} {path}");
            }
        }
        kinds.sort_by(|a, b| a.0.cmp(&b.0));
        let kinds: Vec<_> = kinds
            .iter()
            .map(|(call, kind)| (call.as_str(), *kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("DELETE /v1/keys/{id}", Kind::Repeatable),
                ("DELETE /v1/sandboxes/{id}", Kind::Repeatable),
                ("DELETE /v1/snapshots/{name}", Kind::Repeatable),
                ("POST /v1/hosts/invitations", Kind::Secret),
                ("POST /v1/keys", Kind::Secret),
                ("POST /v1/sandboxes", Kind::Create),
                ("POST /v1/sandboxes/{id}/exec", Kind::Once),
                ("POST /v1/sandboxes/{id}/files/stream/write", Kind::Upload),
                ("POST /v1/sandboxes/{id}/files/write", Kind::Upload),
                ("POST /v1/sandboxes/{id}/pause", Kind::State),
                ("POST /v1/sandboxes/{id}/ping", Kind::Repeatable),
                ("POST /v1/sandboxes/{id}/resume", Kind::State),
                ("PUT /v1/sandboxes/{id}/network", Kind::Repeatable),
                ("PUT /v1/teams/{name}", Kind::Repeatable),
            ]
        );
    }
}
