//! Serving on a socket, until told to stop.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wrenn_sys::tcp;

/// How long answers that are under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(5);

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
        if let Err(error) = tcp::tune(socket) {
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
