//! How a guest is reached.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use wrenn_envd_api::guest;

/// A connection to a guest.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection for Box<dyn Stream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Opens connections to one guest.
pub trait Connector: Debug + Send + Sync + 'static {
    /// A connection to the guest's `port`. It holds back no small write until an earlier one is acknowledged.
    ///
    /// Errors: the guest, or the way to it, does not answer. A call bounds the time that this may take.
    fn connect(&self, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
}

/// A [`Connector`] as the HTTP client wants it: every request goes to the guest agent's port.
#[derive(Debug, Clone)]
pub(crate) struct Dial(pub(crate) Arc<dyn Connector>);

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.0.connect(guest::PORT);
        Box::pin(async move { Ok(TokioIo::new(connecting.await?)) })
    }
}
