//! Takes connections and hands their requests to the router.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::Semaphore;

use crate::console;

/// How many connections are open at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;

/// How much of a request or answer is buffered. Uploads arrive in pieces of up to this size.
const BUFFER: usize = 256 << 10;

/// The most streams on one h2 connection.
const MAX_STREAMS: u32 = 256;

/// When a silent connection is asked for a sign of life, how often, and how many times in vain. After a restore its other
/// side no longer exists, and nothing tells so.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// How long what was sent may stay unacknowledged, in milliseconds: as long as silence is borne.
const UNACKNOWLEDGED_MS: u32 = 30_000;

/// How many threads wait for disks and programs. They are made as needed and end when idle.
const MAX_BLOCKING: usize = 64;

/// The runtime for [`serve`]: one thread that never blocks, and helpers that do.
pub(crate) fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING)
        .build()
}

/// Serves until the listener breaks, which it never does as long as there are descriptors.
pub(crate) async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let place = Arc::clone(&room).acquire_owned().await.ok();
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            connection(stream, router).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, router: Router) {
    // A connection that could not be set up is only slower, or is noticed later when it is dead.
    drop(set_up(&stream));
    let mut server = auto::Builder::new(TokioExecutor::new());
    // No time limit for a request's header: it would also close idle connections, which the host keeps for its next call.
    // In a guest nobody but the host can connect.
    server
        .http1()
        .header_read_timeout(None)
        .max_buf_size(BUFFER);
    server
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(u32::try_from(BUFFER).ok());
    // A connection that ends badly is its client's business.
    drop(
        server
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            .await,
    );
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    // Small answers must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS)?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

/// Out of descriptors, most likely: others must close some first.
async fn pause(error: &io::Error) {
    console::log(format_args!("cannot accept a connection: {error}"));
    tokio::time::sleep(Duration::from_millis(50)).await;
}
