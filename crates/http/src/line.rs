//! The connection that a request came over, as far as its handler has a say in it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio_util::sync::CancellationToken;

/// A connection that may be ended whatever is still to be written to it. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(CancellationToken);

impl Line {
    /// Ends it.
    pub(crate) fn hang_up(&self) {
        self.0.cancel();
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
