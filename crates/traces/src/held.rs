//! An answer that belongs to a span.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::Span;

pin_project! {
    /// A body with the span of its exchange, which ends with it: read to its end, broken off or dropped.
    #[derive(Debug)]
    pub struct Held<B> {
        #[pin]
        body: B,
        span: Option<Span>,
    }
}

impl<B> Held<B> {
    /// The body of what `span` is about.
    pub fn new(body: B, span: Span) -> Self {
        let span = Some(span);
        Self { body, span }
    }
}

impl<B: Body<Data = Bytes>> Body for Held<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => {
                if let Some(span) = this.span.take() {
                    span.failed("broken_off");
                }
            }
            None => drop(this.span.take()),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
