//! Answers that are written before they are given, and given again.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use wrenn_control::{InHand, StoredAnswer};
use wrenn_model::{ErrorKind, Fault};

use super::kind::Kind;
use crate::refusal::{Answer, Refusal};

/// Says that an answer is of an earlier call.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// What a caller needs of an answer's headers.
const KEPT_HEADERS: [HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    HeaderName::from_static("preference-applied"),
];

/// Writes an answer before it is given. What may succeed later is as if it had not been asked, but where it may have been done all
/// the same: an agent that breaks off in a command does not say how far that came.
pub(super) async fn keep(in_hand: InHand, kind: Kind, response: Response) -> Answer<Response> {
    let (answer, response) = match response.extensions().get::<Fault>() {
        // The host knows: who sends it again looks there.
        Some(fault) if kind == Kind::Snapshot && kind.may_be_done(fault.kind) => {
            in_hand.let_go().await?;
            return Ok(response);
        }
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
        .filter(|text| text.len() <= kind.kept_body());
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
pub(super) fn again(answer: &StoredAnswer) -> Answer<Response> {
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

pub(super) fn unknown() -> Refusal {
    Refusal(Fault::new(
        ErrorKind::AlreadyExists,
        "this broke off while it was done: whether it was done, nobody knows",
        "look at what there is, and use another key to do it again",
    ))
}
