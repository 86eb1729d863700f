//! Calls end with the token that let them in.
//!
//! A token is replaced when the guest comes back from a pause or becomes another sandbox. Whoever began a call with the old
//! one is gone or has no business here any more: answers that are under way break off, so that the caller sees that they
//! are not whole. Commands are not calls; they go on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::answer::refuse;

/// The answer of `call`, which is given up once the token is `void`, and so is what is left of the answer's body then.
pub(super) async fn until(
    void: &CancellationToken,
    call: impl Future<Output = Response>,
) -> Response {
    tokio::select! {
        biased;
        () = void.cancelled() => refuse(StatusCode::UNAUTHORIZED, "the access token was replaced"),
        response = call => response.map(|body| {
            Body::new(Revocable { body, void: Box::pin(void.clone().cancelled_owned()) })
        }),
    }
}

/// A body that breaks off when its token is void.
struct Revocable {
    body: Body,
    void: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for Revocable {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // First, since a body may always have more.
        if self.void.as_mut().poll(cx).is_ready() {
            let reason = io::Error::other("the access token was replaced");
            return Poll::Ready(Some(Err(axum::Error::new(reason))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
