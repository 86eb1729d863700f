//! Who is calling: an API key in the header `X-API-Key`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use wrenn_model::{ErrorKind, Fault};

use crate::refusal::Answer;
use crate::router::App;

const API_KEY: &str = "x-api-key";

/// Who was let in: the name of their key.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Arc<str>);

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
    let name = app.control.keys().check(given).await?;
    let caller = Caller(name);
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    // For the record of who did what.
    response.extensions_mut().insert(caller);
    Ok(response)
}
