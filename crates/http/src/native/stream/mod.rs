//! A command over a WebSocket.

mod session;
mod text;
mod words;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use wrenn_api::limits;
use wrenn_control::request;
use wrenn_traces::Place;

use super::described::OfSandbox;
use crate::auth::{Mine, Shown};
use crate::extract::Id;
use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// Runs a command and streams what it prints, over a WebSocket.
///
/// The client's first message is `start` or `connect` (ClientMessage); then `stdin`, `close_stdin`, `signal`, `resize`, `stop`. The server
/// answers with ServerMessage: `start`, `stdout` and `stderr`, then `exit` or `error`, and closes. `stop`, and a client
/// that goes away, end the command, unless `detach` was asked for.
///
/// With `connect` as its first message the client takes up a command that runs already, from now on; then only `stop`
/// ends it. When the sandbox is paused, the server says `error` with code `invalid_state`: the command goes on after the
/// resume, and `connect` takes it up again.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/exec/stream", operation_id = "exec_stream", tag = "commands", params(OfSandbox),
    responses((status = 101, description = "The WebSocket begins."))
)]
pub(super) async fn exec_stream(
    State(app): State<App>,
    Mine(sandboxes): Mine,
    shown: Shown,
    Id(id): Id,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    sandboxes.callable(&id).await?;
    let upgrade = upgrade
        .map_err(|_| {
            Refusal::invalid(
                "this route speaks WebSocket",
                "ask for an upgrade, by RFC 6455",
            )
        })?
        .max_message_size(limits::MESSAGE_BYTES)
        .max_frame_size(limits::MESSAGE_BYTES);
    // The conversation goes on in a task of its own, and is of this request all the same.
    let (request, place) = (request::current(), Place::here());
    let conversation = async move |socket| {
        let closing = app.closing.clone();
        tokio::select! {
            () = session::run(socket, sandboxes, id, closing) => {}
            () = shown.revoked(app) => {}
        }
    };
    Ok(upgrade
        .on_upgrade(move |socket| request::within(request, place.around(conversation(socket)))))
}
