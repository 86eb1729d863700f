//! Who is calling, by an API key in the header `X-API-Key`, and whether they may.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use wrenn_control::{Caller, Need, Sandboxes};
use wrenn_model::{ErrorKind, Fault};

use crate::refusal::{Answer, Refusal};
use crate::router::App;

const API_KEY: &str = "x-api-key";
/// Between two looks whether the key of a conversation is still good.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lets in who has a key; before anything of the body is read, and before a WebSocket begins.
pub(crate) async fn require_key(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let Some(given) = shown(request.headers()) else {
        return Err(Fault::new(
            ErrorKind::Unauthorized,
            "there is no API key",
            "send one in the header X-API-Key; `api-key` in the server's data directory has the first",
        )
        .into());
    };
    let caller = app.control.keys().check(given).await?;
    let extensions = request.extensions_mut();
    if let Some(asking) = extensions.get::<Asking>() {
        // Nobody else fills it.
        drop(asking.0.set(Arc::clone(&caller)));
    }
    extensions.insert(caller);
    Ok(next.run(request).await)
}

/// The key that a request shows, if it shows one.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get(API_KEY)?;
    Some(key.to_str().unwrap_or_default())
}

/// Where the layers around this one find who asks, also when the caller hangs up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asking(pub(crate) Arc<OnceLock<Arc<Caller>>>);

/// The key that was shown, for what goes on for as long as it is good.
pub(crate) struct Shown(String);

impl Shown {
    /// Returns when the key opens nothing any more: a conversation is to end then.
    pub(crate) async fn revoked(self, app: App) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let checked = app.control.keys().check(&self.0).await;
            if checked.is_err_and(|fault| fault.kind == ErrorKind::Unauthorized) {
                return;
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Shown {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let given = shown(&parts.headers).ok_or_else(unasked)?;
        Ok(Self(given.to_owned()))
    }
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
        caller.cloned().map(Self).ok_or_else(unasked)
    }
}

fn unasked() -> Refusal {
    Refusal(Fault::new(
        ErrorKind::Internal,
        "the server asks nobody here who they are",
        "report it, with the request id",
    ))
}
