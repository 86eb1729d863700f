//! The way from the control plane to the agent: a relay of their calls that loses, delays and doubles them.
//!
//! A call has its connection to itself, so that to close it is to lose this call and no other.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::world::World;

/// How late a call or its answer may be, in milliseconds.
const LATE: u64 = 5_000;

/// A relay between two sockets.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    world: World,
    agent: PathBuf,
}

impl Wire {
    /// Relays what comes to one socket to the agent's.
    pub(crate) fn new(world: World, agent: &Path) -> Self {
        let agent = agent.to_owned();
        Self { world, agent }
    }

    /// Relays until the runtime ends.
    pub(crate) async fn serve(self, listener: UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().relay(stream));
        }
    }

    /// One connection.
    async fn relay(self, stream: UnixStream) {
        let cut = CancellationToken::new();
        let stream = Counted(stream, self.world.clone());
        let carry = service_fn(|request| {
            let (wire, cut) = (self.clone(), cut.clone());
            async move {
                let carried = wire.carry(request).await;
                if carried.is_none() {
                    cut.cancel();
                    std::future::pending::<()>().await;
                }
                carried.ok_or_else(|| io::Error::other("the call was lost"))
            }
        });
        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), carry);
        tokio::select! {
            // How it ended is its caller's to see.
            served = served => drop(served),
            () = cut.cancelled() => {}
        }
    }

    /// Carries a call and its answer; none when either is lost.
    async fn carry(&self, request: Request<Incoming>) -> Option<Response<Incoming>> {
        let name = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let mut dice = self.world.dice(&format!("call {name}"));
        let to = self.world.lock().agents;
        let (parts, body) = request.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let whole = || Request::from_parts(parts.clone(), Full::new(body.clone()));
        if self.world.strikes(&mut dice, 20) {
            tokio::time::sleep(dice.millis(LATE)).await;
        }
        if self.world.strikes(&mut dice, 4) {
            self.world.tell(format!("call {name} is lost"));
            return None;
        }
        if self.world.strikes(&mut dice, 4) {
            let again = dice.millis(LATE);
            self.world.tell(format!("call {name} is doubled"));
            tokio::spawn(self.clone().again(to, whole(), again));
        }
        let answer = self.call(to, whole()).await;
        if answer.is_none() {
            self.world.tell(format!("call {name} finds no agent"));
        }
        self.back(&name, answer?, &mut dice).await
    }

    async fn back(
        &self,
        name: &str,
        answer: Response<Incoming>,
        dice: &mut Dice,
    ) -> Option<Response<Incoming>> {
        if self.world.strikes(dice, 10) {
            tokio::time::sleep(dice.millis(LATE)).await;
        }
        if self.world.strikes(dice, 4) {
            self.world.tell(format!("the answer to {name} is lost"));
            return None;
        }
        if self.world.strikes(dice, 1) {
            self.world
                .tell(format!("the answer to {name} does not come"));
            std::future::pending::<()>().await;
        }
        Some(answer)
    }

    async fn again(self, to: u64, request: Request<Full<Bytes>>, after: Duration) {
        tokio::time::sleep(after).await;
        if let Some(answer) = self.call(to, request).await {
            drop(answer.into_body().collect().await);
        }
    }

    /// Calls the agent, after so many others have died. What is on its way to one that dies is lost with its socket.
    async fn call(&self, to: u64, request: Request<Full<Bytes>>) -> Option<Response<Incoming>> {
        if self.world.lock().agents != to {
            return None;
        }
        let stream = UnixStream::connect(&self.agent).await.ok()?;
        let stream = TokioIo::new(Counted(stream, self.world.clone()));
        let (mut agent, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
                .await
                .ok()?;
        tokio::spawn(connection);
        agent.send_request(request).await.ok()
    }
}

/// A connection whose traffic is an event of the world.
#[derive(Debug)]
struct Counted(UnixStream, World);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if read.is_ready() {
            self.1.lock().events += 1;
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(context, bytes);
        if written.is_ready() {
            self.1.lock().events += 1;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
