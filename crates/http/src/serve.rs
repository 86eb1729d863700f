//! Serving on a socket, until told to stop.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How long answers that are under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// A peer that has been silent for so long is asked whether it is still there.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Serves until `closing` is cancelled, then accepts no more and ends what is under way. HTTP/1.1 and HTTP/2 without
/// TLS on one port.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    closing: CancellationToken,
) -> io::Result<()> {
    let listener = listener.tap_io(|socket| {
        if let Err(error) = tune(socket) {
            tracing::debug!(%error, "a socket keeps its defaults");
        }
    });
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(closing.clone().cancelled_owned());
    tokio::select! {
        served = async { serving.await } => served,
        () = async {
            closing.cancelled().await;
            tokio::time::sleep(GRACE).await;
        } => {
            tracing::info!("answers that were still under way are cut off");
            Ok(())
        }
    }
}

/// Small answers leave at once, and a peer that vanished without a word is noticed.
fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    Ok(())
}
