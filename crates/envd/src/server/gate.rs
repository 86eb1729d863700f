//! Lets a call in or not, before anything else looks at it.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use wrenn_envd_api::{Operation, header};

use super::Server;
use super::answer::refuse;
use super::revoked::until;
use crate::files::FileQuery;
use crate::session::Session;

/// Before the first `/init` nothing passes but `/health` and `/init`; afterwards every other call needs the token, or a
/// signed URL if it is about a file. The session that let a call in goes with it, and the call ends with its token.
pub(super) async fn gate(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Response {
    if matches!(request.uri().path(), "/health" | "/init") {
        return next.run(request).await;
    }
    let Some(session) = server.sessions.current() else {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the guest is not initialised",
        );
    };
    if !has_token(&request, &session) && !is_signed(request.method(), request.uri(), &session) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "the access token is missing or wrong",
        );
    }
    let void = session.void.clone();
    request.extensions_mut().insert(session);
    until(&void, next.run(request)).await
}

fn has_token(request: &Request, session: &Session) -> bool {
    let offered = request.headers().get(header::ACCESS_TOKEN);
    offered.is_some_and(|offered| session.token.matches(offered.as_bytes()))
}

fn is_signed(method: &Method, uri: &Uri, session: &Session) -> bool {
    let operation = match (uri.path(), method) {
        ("/files", &Method::GET | &Method::HEAD) => Operation::Read,
        ("/files", &Method::POST) => Operation::Write,
        _ => return false,
    };
    Query::<FileQuery>::try_from_uri(uri).is_ok_and(|query| query.allows(operation, &session.token))
}
