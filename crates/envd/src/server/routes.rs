//! Which path is answered by what.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Json, Router, middleware};
use connectrpc::{CompressionRegistry, ConnectRpcService, Limits};
use wrenn_envd_api::Metrics;
use wrenn_envd_api::filesystem::FilesystemExt;
use wrenn_envd_api::process::ProcessExt;

use super::{Server, answer, gate, init, linger};
use crate::files;
use crate::filesystem::FilesystemService;
use crate::process::ProcessService;
use crate::session::Session;

/// The largest Connect message, and the largest body of a call that sends one: room for input, not for files.
const MAX_MESSAGE: usize = 4 << 20;

/// The largest body of `/init`.
const MAX_INIT: usize = 1 << 20;

/// Everything that is served.
pub(crate) fn router(server: &Arc<Server>) -> Router {
    let later = any(|| async { answer::refuse(StatusCode::NOT_IMPLEMENTED, "not supported yet") });
    let unlimited = DefaultBodyLimit::disable();
    Router::new()
        .route("/health", get(|| async { StatusCode::NO_CONTENT }))
        .route(
            "/init",
            post(init::init).layer(DefaultBodyLimit::max(MAX_INIT)),
        )
        .route("/metrics", get(metrics))
        .route("/envs", get(envs))
        .route("/sync", post(sync))
        .route(
            "/files",
            get(files::download).post(files::upload).layer(unlimited),
        )
        .route("/files/compose", later.clone())
        .route("/freeze", later.clone())
        .route("/unfreeze", later.clone())
        .route("/fsfreeze", later.clone())
        .route("/fsthaw", later)
        .with_state(Arc::clone(server))
        .fallback_service(services(server))
        .layer(middleware::from_fn_with_state(
            Arc::clone(server),
            gate::gate,
        ))
        .layer(middleware::from_fn(linger::linger))
}

/// The Connect services. Nothing is compressed: the bytes go no further than the host.
fn services(server: &Server) -> ConnectRpcService {
    let processes =
        ProcessService::new(Arc::clone(&server.processes), Arc::clone(&server.sessions));
    let filesystem = FilesystemService::new(Arc::clone(&server.sessions));
    let router = ProcessExt::register(Arc::new(processes), connectrpc::Router::new());
    let router = FilesystemExt::register(Arc::new(filesystem), router);
    let limits = Limits::default()
        .with_max_message_size(MAX_MESSAGE)
        .with_max_request_body_size(MAX_MESSAGE);
    ConnectRpcService::new(router)
        .with_limits(limits)
        .with_compression(CompressionRegistry::new())
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    match server.metrics.read() {
        Ok(metrics) => Json::<Metrics>(metrics).into_response(),
        Err(error) => answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Writes all that the file systems hold back to their disks: what the host does next, a pause, finds them at rest.
async fn sync() -> Response {
    match tokio::task::spawn_blocking(rustix::fs::sync).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn envs(Extension(session): Extension<Arc<Session>>) -> Json<BTreeMap<String, String>> {
    Json(session.env.clone())
}
