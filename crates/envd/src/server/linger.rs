//! Refusals that arrive: the rest of a refused request is read aside.
//!
//! A connection that is closed while its client still sends is reset, and the reset can overtake the answer. Whoever uploads
//! to a full disk would then learn that the connection broke, and not why.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

/// How long a client that was refused is listened to. By then it should have seen the answer.
const LINGER: Duration = Duration::from_secs(10);

/// Sees to it that the request's body is read to its end, by whomever.
pub(super) async fn linger(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Lingering(body))))
        .await
}

/// A body that is read on after it was dropped.
struct Lingering(Body);

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.0.is_end_stream() {
            return;
        }
        let mut rest = std::mem::take(&mut self.0);
        let read = async move { while let Some(Ok(_)) = rest.frame().await {} };
        // Without a runtime the agent is ending, and its connections with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(LINGER, read));
        }
    }
}
