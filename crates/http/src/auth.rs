//! Who is calling, by an API key in the header `X-API-Key`, and whether they may.

use std::sync::Arc;

use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use wrenn_control::{Caller, Need, Sandboxes};
use wrenn_model::{ErrorKind, Fault};

use crate::refusal::{Answer, Refusal};
use crate::router::App;

const API_KEY: &str = "x-api-key";

/// Lets in who has a key; before anything of the body is read, and before a WebSocket begins.
pub(crate) async fn require_key(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let given = request
        .headers()
        .get(API_KEY)
        .map(|key| key.to_str().unwrap_or_default());
    let Some(given) = given else {
        return Err(Fault::new(
            ErrorKind::Unauthorized,
            "there is no API key",
            "send one in the header X-API-Key; `api-key` in the server's data directory has the first",
        )
        .into());
    };
    let caller = app.control.keys().check(given).await?;
    request.extensions_mut().insert(Arc::clone(&caller));
    let mut response = next.run(request).await;
    // For the record of who did what.
    response.extensions_mut().insert(caller);
    Ok(response)
}

/// Lets on who has what is needed.
pub(crate) async fn require(
    State(need): State<Need>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    caller.may(need)?;
    Ok(next.run(request).await)
}

/// The sandboxes that the caller sees. There is no other way from a handler to a sandbox.
#[derive(Debug)]
pub(crate) struct Mine(pub(crate) Sandboxes);

impl FromRequestParts<App> for Mine {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let Who(caller) = Who::from_request_parts(parts, app).await?;
        Ok(Self(app.control.sandboxes_of(&caller)))
    }
}

/// The caller.
#[derive(Debug)]
pub(crate) struct Who(pub(crate) Arc<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let caller = parts.extensions.get::<Arc<Caller>>();
        caller.cloned().map(Self).ok_or_else(|| {
            Refusal(Fault::new(
                ErrorKind::Internal,
                "the server asks nobody here who they are",
                "report it, with the request id",
            ))
        })
    }
}
