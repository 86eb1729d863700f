//! What is asked of a sandbox's task, on its way there. What the task does for it is logged as the caller's: with the
//! sandbox, and with the request that the call was made for.

use tokio::sync::mpsc::{self, error::SendError};
use tracing::Span;
use wrenn_model::SandboxId;

use super::Command;

/// A command, and the span of its work.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) command: Command,
    pub(crate) span: Span,
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
        let span = span(&self.id);
        self.queue.send(Order { command, span }).await
    }
}

/// What happens to a sandbox; within a call's own span, it is that call's.
pub(crate) fn span(id: &SandboxId) -> Span {
    tracing::info_span!("sandbox", %id)
}
