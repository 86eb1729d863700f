//! Where in a trace work is done.

use std::pin::Pin;
use std::task::{self, Poll};

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use pin_project_lite::pin_project;

use crate::{SANDBOX_ID, tracer};

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
    pub fn around<F: Future>(self, work: F) -> Around<F> {
        Around { work, here: self.0 }
    }

    pub(crate) fn of(context: Context) -> Self {
        Self(Some(context))
    }

    pub(crate) fn context(self) -> Option<Context> {
        self.0
    }
}

pin_project! {
    /// Work at a place. It is hardly larger than the work: an `async fn` around it would have it twice, and work is nested.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Around<F> {
        #[pin]
        work: F,
        here: Option<Context>,
    }
}

impl<F: Future> Future for Around<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _here = this.here.clone().map(Context::attach);
        this.work.poll(task)
    }
}

/// Says of what is done here to which sandbox.
pub fn name_sandbox(id: &impl ToString) {
    if let Place(Some(here)) = Place::here() {
        let id = KeyValue::new(SANDBOX_ID, id.to_string());
        here.span().set_attribute(id);
    }
}

/// Work for a task of its own, which would no longer know its place.
pub fn carried<F: Future>(work: F) -> Around<F> {
    Place::here().around(work)
}
