//! Serving on a socket, until told to stop.
//!
//! Who holds a connection and says little holds nothing else: a request's head has a time and a size, a connection without
//! a request has the same time, and a peer of HTTP/2 that does not answer is let go. What a body may take is each route's.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wrenn_sys::tcp;

use crate::line::Line;

/// How long answers that are under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// How long a request's head may take to come, and how long a connection may be without a request.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// Bytes that a request's head may have, its first line included.
const HEAD_BYTES: u32 = 64 * 1024;
/// After so long a silence a peer of HTTP/2 is asked whether it is there, and has as long again to answer.
const ASK_AFTER: Duration = Duration::from_secs(20);
/// A listener that has no descriptors left, say, is tried again so much later.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Serves until `closing` is cancelled, then accepts no more and ends what is under way. HTTP/1.1 and HTTP/2 without
/// TLS on one port.
pub async fn serve(listener: TcpListener, router: Router, closing: CancellationToken) {
    let builder = Arc::new(builder());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = closing.cancelled() => break,
        };
        match accepted {
            Ok((socket, _)) => {
                let (builder, router, closing) =
                    (Arc::clone(&builder), router.clone(), closing.clone());
                connections.spawn(async move { converse(&builder, socket, router, closing).await });
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::info!("answers that were still under way are cut off");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES)
        .keep_alive_interval(ASK_AFTER)
        .keep_alive_timeout(ASK_AFTER);
    builder
}

/// One connection, to its end.
async fn converse(
    builder: &Builder<TokioExecutor>,
    socket: TcpStream,
    router: Router,
    closing: CancellationToken,
) {
    if let Err(error) = tcp::tune(&socket) {
        tracing::debug!(%error, "a socket keeps its defaults");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let line = Line::default();
    let service = TowerToHyperService::new(router);
    let service = {
        let (asked, line) = (Arc::clone(&asked), line.clone());
        hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(line.clone());
            service.call(request)
        })
    };
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    // What is not HTTP yet has no head: nothing but this ends it.
    let mut silence = pin!(tokio::time::sleep(HEAD_TIME));
    let (mut waiting, mut ending) = (true, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection broke off");
                }
                return;
            }
            () = closing.cancelled(), if !ending => {
                connection.as_mut().graceful_shutdown();
                ending = true;
            }
            // Also in the middle of an answer that nobody reads.
            () = line.ended() => return,
            () = silence.as_mut(), if waiting => {
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                waiting = false;
            }
        }
    }
}

/// Whether it says of one connection that its peer has left it, and nothing of the listener.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    /// A server with one route, and its end.
    async fn server() -> (std::net::SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = CancellationToken::new();
        let slow = || async {
            tokio::time::sleep(3 * HEAD_TIME).await;
            "slow"
        };
        // It writes for ever, and after a while has enough of it.
        let enough = |line: Line| async move {
            tokio::spawn(async move {
                tokio::time::sleep(HEAD_TIME).await;
                line.hang_up();
            });
            let chunk = Ok::<_, std::convert::Infallible>(vec![b'x'; 1 << 16]);
            Body::from_stream(futures::stream::repeat(chunk))
        };
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/slow", get(slow))
            .route("/enough", get(enough));
        tokio::spawn(serve(listener, router, closing.clone()));
        (address, closing)
    }

    /// What the server answers to this, and how long it held the connection.
    async fn told(address: std::net::SocketAddr, said: &[u8]) -> (String, Duration) {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let begun = Instant::now();
        // It may have hung up before it has heard all.
        drop(socket.write_all(said).await);
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_whole_is_let_go() {
        let (address, _closing) = server().await;
        for said in [
            "",
            "P",
            "PRI * HTTP/2.0\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ",
            // Nor is who has been answered, and asks nothing more.
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            let (answer, held) = told(address, said.as_bytes()).await;
            assert_eq!(
                answer.contains("here"),
                said.ends_with("\r\n\r\n"),
                "{answer}"
            );
            assert!(
                (HEAD_TIME..2 * HEAD_TIME).contains(&held),
                "{said:?}: {held:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_longer_than_a_head() {
        let (address, _closing) = server().await;
        let said = b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let (answer, held) = told(address, said).await;
        assert!(answer.ends_with("slow"), "{answer}");
        assert!(held >= 3 * HEAD_TIME, "{held:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_may_end_a_connection_that_nobody_reads_from() {
        let (address, _closing) = server().await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        let said = b"GET /enough HTTP/1.1\r\nhost: x\r\n\r\n";
        socket.write_all(said).await.unwrap();
        tokio::time::sleep(2 * HEAD_TIME).await;
        // What was on its way is all that there is.
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer).await);
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_head_has_a_size() {
        let (address, _closing) = server().await;
        let head = |bytes: usize| {
            let long = "x".repeat(bytes);
            format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: {long}\r\n\r\n")
        };
        let (answer, _) = told(address, head(32 * 1024).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (answer, _) = told(address, head(HEAD_BYTES as usize).as_bytes()).await;
        assert!(!answer.contains("here"), "{answer}");
        let many = "x: y\r\n".repeat(200);
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n");
        let (answer, _) = told(address, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_what_is_under_way_and_not_for_ever() {
        let (address, closing) = server().await;
        let idle = tokio::spawn(async move { told(address, b"").await });
        let said = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
        let slow = tokio::spawn(async move { told(address, said).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        closing.cancel();
        let (_, held) = idle.await.unwrap();
        assert!(held < Duration::from_secs(1), "{held:?}");
        let (answer, held) = slow.await.unwrap();
        assert_eq!(answer, "");
        assert!((GRACE..2 * GRACE).contains(&held), "{held:?}");
        TcpStream::connect(address).await.unwrap_err();
    }
}
