//! Where in a trace work is done.

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _};

use crate::tracer;

/// The sandbox that work is done for: spans that begin at a place name it.
#[derive(Debug, Clone)]
pub(crate) struct Subject(pub(crate) String);

/// A place in a trace, or none. It keeps no span open.
#[derive(Debug, Clone, Default)]
pub struct Place(Option<Context>);

impl Place {
    /// Where this is called.
    #[must_use]
    pub fn here() -> Self {
        if tracer().is_none() {
            return Self(None);
        }
        let here = Context::current();
        let inside = here.span().span_context().is_valid();
        Self(inside.then_some(here))
    }

    /// The same place, for a sandbox.
    #[must_use]
    pub fn about(self, sandbox: &impl ToString) -> Self {
        let subject = |here: Context| here.with_value(Subject(sandbox.to_string()));
        Self(self.0.map(subject))
    }

    /// Does work there.
    pub async fn around<F: Future>(self, work: F) -> F::Output {
        match self.0 {
            Some(here) => work.with_context(here).await,
            None => work.await,
        }
    }

    pub(crate) fn of(context: Context) -> Self {
        Self(Some(context))
    }

    pub(crate) fn context(self) -> Option<Context> {
        self.0
    }
}

/// Work for a task of its own, which would no longer know its place.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    Place::here().around(work)
}
