//! Spans that wait to be sent. There is room for so many; what comes beyond that is lost, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

/// Some megabytes of them.
const LENGTH: usize = 4096;

/// Where spans go that have ended.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    lost: Arc<AtomicU64>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Waiting {
    spans: mpsc::Receiver<SpanData>,
    lost: Arc<AtomicU64>,
}

/// Both ends.
pub(super) fn bounded() -> (Queue, Waiting) {
    let (spans, waiting) = mpsc::channel(LENGTH);
    let lost = Arc::new(AtomicU64::new(0));
    let queue = Queue {
        spans,
        lost: Arc::clone(&lost),
    };
    let waiting = Waiting {
        spans: waiting,
        lost,
    };
    (queue, waiting)
}

impl Waiting {
    /// The next one; none once there are no more.
    pub(super) async fn next(&mut self) -> Option<SpanData> {
        self.spans.recv().await
    }

    /// Takes no more. What is there already is still to be had.
    pub(super) fn close(&mut self) {
        self.spans.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.spans.is_closed()
    }

    /// How many found no room since this was last asked.
    pub(super) fn lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        // Called by whoever does the work: it never waits.
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
