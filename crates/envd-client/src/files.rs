//! File content, in both directions.

use std::fmt::Write;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use hyper::body::Frame;

use crate::error::{Error, RefusedCode};
use crate::transport::Answer;

/// How long a guest may take for the next piece, in either direction.
pub(crate) const STALL: Duration = Duration::from_secs(60);

/// How often an upload is looked at.
pub(crate) const WATCH: Duration = Duration::from_secs(1);

/// The content of a file in the guest, piece by piece. Dropping it breaks the download off.
#[derive(Debug)]
pub struct FileStream {
    body: Answer,
    size: Option<u64>,
}

impl FileStream {
    pub(crate) fn new(response: Response<Answer>) -> Self {
        let size = response.headers().get(CONTENT_LENGTH);
        let size = size.and_then(|size| size.to_str().ok()?.parse().ok());
        Self {
            body: response.into_body(),
            size,
        }
    }

    /// How long the guest says it is. The content that follows is no longer, and a shorter one is an error.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next piece, at most a few hundred KiB; `None` at the end. The whole has no cap: the caller counts.
    ///
    /// Errors: the guest stalls, or breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = tokio::time::timeout(STALL, self.body.frame()).await;
            match frame.map_err(|_| Error::TimedOut)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(Error::from_transport(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
            }
        }
    }
}

/// Content on its way into the guest, and whose turn it is: the source's or the guest's.
#[derive(Debug)]
pub(crate) struct Upload<S> {
    source: Pin<Box<S>>,
    progress: Progress,
}

/// How an upload goes. Clones are about the same upload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Since when the guest has been given a piece and not asked for the next.
    guest_since: Option<Instant>,
    /// Why the source gave up.
    failed: Option<io::Error>,
    /// Nobody waits for the upload any more.
    over: bool,
}

impl<S> Upload<S> {
    pub(crate) fn new(source: S) -> (Self, Progress) {
        let progress = Progress::default();
        (
            Self {
                source: Box::pin(source),
                progress: progress.clone(),
            },
            progress,
        )
    }
}

impl<S: Stream<Item = io::Result<Bytes>>> Stream for Upload<S> {
    type Item = io::Result<Frame<Bytes>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.progress.is_over() {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        let polled = self.source.as_mut().poll_next(cx);
        self.progress
            .change(|state| state.guest_since = polled.is_ready().then(Instant::now));
        polled.map(|item| {
            item.map(|piece| {
                piece.map(Frame::data).map_err(|error| {
                    let told = io::Error::from(error.kind());
                    self.progress.change(|state| state.failed = Some(error));
                    told
                })
            })
        })
    }
}

impl Progress {
    /// Resolves once the guest has not moved for [`STALL`]. A slow source is its owner's business.
    pub(crate) async fn stalled(&self) {
        loop {
            tokio::time::sleep(WATCH).await;
            let mut stalled = false;
            self.change(|state| {
                let since = state.guest_since;
                stalled = since.is_some_and(|since| since.elapsed() > STALL);
            });
            if stalled {
                return;
            }
        }
    }

    /// The call has ended, perhaps with a refusal while content was still being sent: no more is taken from the source.
    pub(crate) fn end(&self) {
        self.change(|state| state.over = true);
    }

    fn is_over(&self) -> bool {
        let mut over = false;
        self.change(|state| over = state.over);
        over
    }

    /// Why the source gave up, if it did.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        let mut failure = None;
        self.change(|state| failure = state.failed.take());
        failure
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The path and query of a file's URL.
///
/// Errors: the path is not absolute. The guest agent would take it as relative to a home directory; the host means none.
pub(crate) fn file_url(path: &str) -> Result<String, Error> {
    if !path.starts_with('/') || path.contains('\0') {
        let message = "the path must be absolute".to_owned();
        return Err(Error::Refused {
            code: RefusedCode::InvalidArgument,
            message,
        });
    }
    let mut url = "/files?path=".to_owned();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            other => drop(write!(url, "%{other:02X}")),
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped() {
        assert_eq!(
            file_url("/a b/é&?#+%").unwrap(),
            "/files?path=/a%20b/%C3%A9%26%3F%23%2B%25"
        );
        assert!(file_url("a").is_err());
        assert!(file_url("").is_err());
        assert!(file_url("/a\0").is_err());
    }
}
