//! Something that is done.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use http::HeaderMap;
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use pin_project_lite::pin_project;

use crate::place::{Around, Place, Subject};
use crate::{SANDBOX_ID, parent, tracer};

/// A name, made up only where it is needed.
type Name = Cow<'static, str>;

/// Why something failed that nobody waited for any more.
const GIVEN_UP: &str = "cancelled";

/// Something that is done, until this is dropped. Where no traces are collected it is nothing.
#[derive(Debug, Default)]
#[must_use = "it ends when it is dropped"]
pub struct Span(Option<Context>);

impl Span {
    /// A request that somebody makes of us: the caller's trace goes on, or a new one begins.
    pub fn serve(headers: &HeaderMap, name: impl FnOnce() -> Name) -> Self {
        let Some(parent) = tracer().map(|_| remote(headers).unwrap_or_default()) else {
            return Self(None);
        };
        Self::begin(&parent, SpanKind::Server, name())
    }

    /// The same, where it is a part of somebody's trace. It begins none.
    pub fn follow(headers: &HeaderMap, name: impl FnOnce() -> Name) -> Self {
        match tracer().and_then(|_| remote(headers)) {
            Some(parent) => Self::begin(&parent, SpanKind::Server, name()),
            None => Self(None),
        }
    }

    /// A request of ours to another program, as a part of what is done here. It begins no trace.
    pub fn call(name: impl FnOnce() -> Name) -> Self {
        Self::part(SpanKind::Client, name)
    }

    /// A step of what is done here. It begins no trace.
    pub fn step(name: impl FnOnce() -> Name) -> Self {
        Self::part(SpanKind::Internal, name)
    }

    fn part(kind: SpanKind, name: impl FnOnce() -> Name) -> Self {
        match Place::here().context() {
            Some(parent) => Self::begin(&parent, kind, name()),
            None => Self(None),
        }
    }

    fn begin(parent: &Context, kind: SpanKind, name: Name) -> Self {
        let Some(tracer) = tracer() else {
            return Self(None);
        };
        let subject = parent.get::<Subject>();
        let subject = subject.map(|Subject(id)| KeyValue::new(SANDBOX_ID, id.clone()));
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_attributes(subject);
        let span = tracer.build_with_context(builder, parent);
        Self(Some(parent.with_span(span)))
    }

    /// Whether it is nothing, so that nothing need be said about it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Says something about it.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// It failed; `kind` is one of few words.
    pub fn failed(&self, kind: impl Into<Value>) {
        if let Some(context) = &self.0 {
            let span = context.span();
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(""));
        }
    }

    /// Tells whom a request goes to which trace it belongs to.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let Some(context) = &self.0 else { return };
        if let Some(value) = parent::write(context.span().span_context()) {
            headers.insert(parent::HEADER, value);
        }
    }

    /// The place within it.
    #[must_use]
    pub fn place(&self) -> Place {
        self.0.clone().map(Place::of).unwrap_or_default()
    }

    /// Does work as a part of it. Work that is dropped before its end was given up.
    pub fn around<F: Future>(&self, work: F) -> Within<'_, F> {
        Within {
            work: self.place().around(work),
            unfinished: (!self.is_none()).then_some(self),
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Whoever has its place, in another task say, may go on.
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

pin_project! {
    /// Work within a span.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Within<'a, F> {
        #[pin]
        work: Around<F>,
        unfinished: Option<&'a Span>,
    }

    impl<F> PinnedDrop for Within<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(span) = this.project().unfinished {
                span.failed(GIVEN_UP);
            }
        }
    }
}

impl<F: Future> Future for Within<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let done = ready!(this.work.poll(task));
        *this.unfinished = None;
        Poll::Ready(done)
    }
}

/// The caller's place, when it says one.
fn remote(headers: &HeaderMap) -> Option<Context> {
    let parent = parent::read(headers)?;
    Some(Context::new().with_remote_span_context(parent))
}
