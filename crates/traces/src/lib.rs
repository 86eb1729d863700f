//! Traces: which work belongs to which request of the API, across tasks, programs and machines.
//!
//! ```text
//!   span    something that is done, with a begin, an end and a few words about it
//!   place   where in a trace work is done; carried by hand into another task
//!   parent  the same as a header, `traceparent`, on its way to another program
//!   held    an answer whose body belongs to a span
//! ```
//!
//! Spans are OpenTelemetry's own and no spans of the log: what the log says, and at which level, is another matter, and where
//! nobody collects traces, which is the rule, there is not even a name made up. Where they are sent is the program's to say,
//! with [`collect`].
//!
//! What is told in a span leaves the machine. It has names of ours, ids and numbers; nothing that a guest or a caller wrote.

mod held;
mod parent;
mod place;
mod span;

use std::sync::OnceLock;

use opentelemetry::global::{BoxedTracer, ObjectSafeTracer};

pub use held::Held;
pub use parent::HEADER;
pub use place::{Around, Place, carried, name_sandbox};
pub use span::{Span, Within};

/// The attribute that says for which request of the API something is done.
pub const REQUEST_ID: &str = "wrenn.request.id";
/// The attribute that says to which sandbox.
pub const SANDBOX_ID: &str = "wrenn.sandbox.id";

static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// From now on spans are made, by this tracer. The first one stays.
pub fn collect(tracer: impl ObjectSafeTracer + Send + Sync + 'static) {
    TRACER.get_or_init(|| BoxedTracer::new(Box::new(tracer)));
}

/// Who makes spans, where they are collected at all.
fn tracer() -> Option<&'static BoxedTracer> {
    TRACER.get()
}
