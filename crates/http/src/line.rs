//! The connection that a request came over, as far as its handler has a say in it.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

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

    /// Returns when somebody has ended it.
    pub(crate) async fn ended(&self) {
        self.0.cancelled().await;
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
}
