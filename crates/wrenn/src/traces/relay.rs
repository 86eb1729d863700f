//! The way to the collector for a control plane that `wrenn up` has shut off from the network: a socket beside the agent's, on
//! which traces can be posted, and nothing else can be done. Where the collector is, and what lets one in there, this process
//! knows alone.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use wrenn_model::chain;
use wrenn_sys::durable;

use super::collector::{Collector, PROTOBUF};
use super::endpoint::Endpoint;

/// Bytes of one request: several times what a full one of ours has.
const MAX_REQUEST: usize = 4 << 20;
/// How long one may take to come.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Requests on their way at a time. One control plane has one.
const AT_A_TIME: usize = 2;

/// A socket that leads to the collector, until this is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: PathBuf,
    serving: JoinHandle<()>,
}

struct Shared {
    collector: Collector,
    permits: Semaphore,
}

impl Relay {
    /// The socket beside this one.
    pub(crate) fn beside(agent: &Path) -> PathBuf {
        agent.with_file_name("otlp.sock")
    }

    /// Where the control plane finds it.
    pub(crate) fn endpoint(&self) -> OsString {
        let mut endpoint = OsString::from("unix:");
        endpoint.push(&self.socket);
        endpoint
    }

    /// Removes what a former process, which was killed, has left.
    pub(crate) fn clear(socket: &Path) -> io::Result<()> {
        durable::remove(socket)
    }

    /// Serves this user, in a folder that others do not get into.
    pub(crate) fn start(socket: PathBuf, uid: u32, endpoint: &Endpoint) -> Result<Self> {
        let collector = Collector::new(endpoint.clone())?;
        let listener = listen(&socket, uid)
            .with_context(|| format!("the socket {} cannot be made", socket.display()))?;
        let shared = Shared {
            collector,
            permits: Semaphore::new(AT_A_TIME),
        };
        let router = Router::new()
            .route("/v1/traces", post(hand_on))
            .with_state(Arc::new(shared));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the control plane's traces find no way any more");
            }
        });
        Ok(Self { socket, serving })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
        drop(durable::remove(&self.socket));
    }
}

fn listen(socket: &Path, uid: u32) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    chown(socket, Some(uid), Some(uid))?;
    Ok(listener)
}

async fn hand_on(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    // Before anything of it is read: what waits here is root's memory.
    let Ok(_permit) = shared.permits.try_acquire() else {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    };
    let read = to_bytes(request.into_body(), MAX_REQUEST);
    let Ok(Ok(traces)) = tokio::time::timeout(READ_LIMIT, read).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match shared.collector.post(traces).await {
        Ok(answer) => (answer.status, [(CONTENT_TYPE, PROTOBUF)], answer.body).into_response(),
        Err(error) => {
            tracing::debug!(error = chain(&error), "traces are not handed on");
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}
