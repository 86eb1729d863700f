//! `Idempotency-Key`: a call that is done once, however often it is sent.

mod kept;
mod kind;
mod made;

use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use sha2::{Digest as _, Sha256};
use wrenn_api::limits;
use wrenn_control::{AskedOnce, Calls, InHand, Turn};
use wrenn_model::SandboxId;

use self::kept::{again, keep, unknown};
use self::kind::{Kind, is_upload};
use self::made::{Found, look};
use crate::auth::Who;
use crate::extract::collect;
use crate::refusal::{Answer, Refusal};
use crate::router::App;

pub(crate) use kind::describe_key;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key.
const KEY_LENGTH: usize = 255;

/// What a call makes, by an id that is chosen before: that of a sandbox, or what others and names follow from.
#[derive(Debug, Clone)]
pub(crate) struct Planned(pub(crate) SandboxId);

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
    let (asked, body, mut request) = digest(request, route.as_str(), caller.key.as_str()).await?;
    let asked = AskedOnce {
        team: caller.team.clone(),
        key,
        asked,
    };
    let in_hand = match app.control.calls().begin(asked).await? {
        Turn::Done(answer) => return again(&answer),
        Turn::Do(in_hand) => in_hand,
        Turn::Unknown(mut in_hand) => match look(&app, &caller, kind, &in_hand, &body).await? {
            Found::Done(response) => return keep(in_hand, kind, response).await,
            Found::NotYet(response) => {
                in_hand.let_go().await?;
                return Ok(response);
            }
            Found::Unknown => return keep(in_hand, kind, unknown().into_response()).await,
            Found::Nothing => {
                // What it named is over, or never was.
                if matches!(kind, Kind::Create | Kind::Fork) {
                    in_hand.renew().await?;
                }
                in_hand
            }
        },
    };
    if kind.is_planned()
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

/// A digest of what is asked, by whom, the body, which has been read for that, and the request with it.
async fn digest(request: Request, route: &str, caller: &str) -> Answer<(String, Bytes, Request)> {
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
    Ok((hex, bytes, Request::from_parts(parts, body)))
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
