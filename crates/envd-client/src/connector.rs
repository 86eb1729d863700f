//! How a guest is reached.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wrenn_envd_api::guest;

/// Opens connections to one guest.
pub trait Connector: Debug + Send + Sync + 'static {
    /// A connection to the guest's `port`.
    ///
    /// Errors: the guest, or the way to it, does not answer. A call bounds the time that this may take.
    fn connect(&self, port: u16) -> BoxFuture<'static, io::Result<TcpStream>>;
}

/// A [`Connector`] as the HTTP client wants it: every request goes to the guest agent's port.
#[derive(Debug, Clone)]
pub(crate) struct Dial(pub(crate) Arc<dyn Connector>);

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.0.connect(guest::PORT);
        Box::pin(async move {
            let stream = connecting.await?;
            // A small request must not wait for the acknowledgement of the one before.
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
