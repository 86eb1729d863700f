//! The connection that a request came over, as far as its handler has a say in it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// An answer that is as long as this is in memory until it is read; a shorter one the kernel takes.
const LONG: u64 = 16 << 10;
/// How long a caller may take over such a one.
const TIME: Duration = Duration::from_secs(600);

/// How much of it a connection is given at a time.
const PIECE: usize = 32 << 10;

/// A connection that may be ended whatever is still to be written to it. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(CancellationToken);

impl Line {
    /// Ends it.
    pub(crate) fn hang_up(&self) {
        self.0.cancel();
    }

    /// Ends it after this time, unless what this answers with is dropped before.
    pub(crate) fn limit(&self, time: Duration) -> AbortOnDropHandle<()> {
        let line = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(time).await;
            line.hang_up();
        }))
    }

    /// Sees to it that a long answer, all of which is in memory, is not there for ever. What streams is as slow as its reader,
    /// who may have good reasons.
    pub(crate) fn limit_answer(&self, answer: Response) -> Response {
        let whole = answer.body().size_hint().exact();
        if whole.is_none_or(|length| length < LONG) {
            return answer;
        }
        answer.map(|body| {
            Body::new(Limited {
                body,
                piece: Bytes::new(),
                _limit: self.limit(TIME),
            })
        })
    }

    /// Returns when somebody has ended it.
    pub(crate) async fn ended(&self) {
        self.0.cancelled().await;
    }
}

/// A body that has so much time. It is given in pieces, of which a connection takes the next when it has room: of one that was given
/// whole nobody would know when it has gone.
struct Limited {
    body: Body,
    piece: Bytes,
    _limit: AbortOnDropHandle<()>,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.piece.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let length = self.piece.len().min(PIECE);
        let piece = self.piece.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.body.size_hint().exact().unwrap_or_default();
        SizeHint::with_exact(left + self.piece.len() as u64)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Line {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_too_long_ends_its_connection_and_one_that_is_over_does_not() {
        let time = Duration::from_secs(600);
        let (slow, over) = (Line::default(), Line::default());
        let _limit = slow.limit(time);
        drop(over.limit(time));
        let begun = tokio::time::Instant::now();
        slow.ended().await;
        assert_eq!(begun.elapsed(), time);
        let later = tokio::time::timeout(time, over.ended()).await;
        assert!(later.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_answer_that_nobody_reads_ends_its_connection() {
        let of = |length: usize| Response::new(Body::from(vec![0; length]));
        let (long, short, read) = (Line::default(), Line::default(), Line::default());
        let answer = long.limit_answer(of(16 << 10));
        assert_eq!(answer.body().size_hint().exact(), Some(16 << 10));
        let _unread = (answer, short.limit_answer(of((16 << 10) - 1)));
        let answer = read.limit_answer(of(1 << 20));
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        assert_eq!(body.map(|body| body.len()).ok(), Some(1 << 20));
        // A connection that has taken the first of it, and has no room for more.
        let begun_to_read = Line::default();
        let mut stalled = begun_to_read.limit_answer(of(1 << 20)).into_body();
        let first = stalled.frame().await.unwrap().unwrap();
        assert!(first.into_data().unwrap().len() <= PIECE && !stalled.is_end_stream());
        let begun = tokio::time::Instant::now();
        long.ended().await;
        begun_to_read.ended().await;
        assert_eq!(begun.elapsed(), TIME);
        for line in [short, read] {
            let later = tokio::time::timeout(TIME, line.ended()).await;
            assert!(later.is_err());
        }
    }
}
