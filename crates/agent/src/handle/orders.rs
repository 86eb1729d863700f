//! What is asked of a sandbox's task, on its way there. What the task does for it is logged as the caller's, with the sandbox
//! and with the request that the call was made for, and is part of the caller's trace.

use tokio::sync::mpsc::{self, error::SendError};
use tracing::{Instrument as _, Span};
use wrenn_model::SandboxId;
use wrenn_traces::Place;

use super::Command;

/// A command, and for whom it is done.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) command: Command,
    pub(crate) cause: Cause,
}

/// For whom a sandbox's task does something.
#[derive(Debug)]
pub(crate) struct Cause {
    span: Span,
    place: Place,
}

impl Cause {
    /// Whoever calls this, and wants something of this sandbox.
    pub(crate) fn here(id: &SandboxId) -> Self {
        Self {
            span: span(id),
            place: Place::here().about(id),
        }
    }

    pub(crate) fn none() -> Self {
        Self {
            span: Span::none(),
            place: Place::default(),
        }
    }

    /// Does it.
    pub(crate) fn around<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        self.place.around(work.instrument(self.span))
    }
}

/// The bounded queue to a sandbox's task.
#[derive(Debug)]
pub(super) struct Orders {
    id: SandboxId,
    queue: mpsc::Sender<Order>,
}

impl Orders {
    pub(super) fn new(id: SandboxId, length: usize) -> (Self, mpsc::Receiver<Order>) {
        let (queue, inbox) = mpsc::channel(length);
        (Self { id, queue }, inbox)
    }

    /// Waits for a place in the queue.
    ///
    /// # Errors
    /// When the task has ended.
    pub(super) async fn send(&self, command: Command) -> Result<(), SendError<Order>> {
        let cause = Cause::here(&self.id);
        self.queue.send(Order { command, cause }).await
    }
}

/// What happens to a sandbox; within a call's own span, it is that call's.
pub(crate) fn span(id: &SandboxId) -> Span {
    tracing::info_span!("sandbox", %id)
}
