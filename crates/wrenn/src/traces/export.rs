//! The task that sends spans, many at a time.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::collector::{Answer, Collector, PostError};
use super::queue::Waiting;
use super::trouble::Trouble;

/// The most spans of one request.
const BATCH: usize = 512;
/// How long the first of them waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// After what pauses a batch is sent again that was not taken.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Sends what waits.
#[derive(Debug)]
pub(super) struct Export {
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    waiting: Waiting,
    trouble: Trouble,
}

/// Why a collector did not take spans.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Unanswered(#[from] PostError),
    #[error("it answers {0}")]
    Later(StatusCode),
    #[error("it answers {0}: is it a collector's port for OTLP over HTTP, most often 4318?")]
    Never(StatusCode),
    #[error("it does not want {spans} of them: {why:?}")]
    Partly { spans: i64, why: String },
}

impl Export {
    pub(super) fn new(collector: Collector, resource: &Resource, waiting: Waiting) -> Self {
        let trouble = Trouble::with(collector.endpoint().clone());
        Self {
            collector,
            resource: resource.into(),
            waiting,
            trouble,
        }
    }

    /// Sends until `closing`, and then what is left.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        loop {
            let batch = self.gather(&closing).await;
            if batch.is_empty() {
                return;
            }
            self.send(batch, &closing).await;
        }
    }

    /// The next ones; none at the end.
    async fn gather(&mut self, closing: &CancellationToken) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let mut until = None;
        while batch.len() < BATCH {
            let full = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = closing.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
                span = self.waiting.next() => match span {
                    Some(span) => {
                        until.get_or_insert_with(|| Instant::now() + GATHER);
                        batch.push(span);
                    }
                    None => break,
                },
                () = full => break,
            }
        }
        batch
    }

    async fn send(&mut self, batch: Vec<SpanData>, closing: &CancellationToken) {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        let request = Bytes::from(request.encode_to_vec());
        let mut pauses = AGAIN.into_iter();
        let sent = loop {
            let sent = self.try_send(request.clone()).await;
            let again = sent.as_ref().is_err_and(Refused::may_pass);
            if let Err(refused) = &sent {
                self.trouble.met(refused);
            }
            match pauses.next().filter(|_| again && !closing.is_cancelled()) {
                Some(pause) => tokio::select! {
                    () = sleep(pause) => {}
                    () = closing.cancelled() => {}
                },
                None => break sent,
            }
        };
        let refused = match sent {
            Ok(()) => 0,
            Err(Refused::Partly { spans, .. }) => u64::try_from(spans).unwrap_or_default(),
            Err(_) => spans,
        };
        self.trouble.lost(refused + self.waiting.lost());
        if refused == 0 {
            self.trouble.passed();
        }
    }

    async fn try_send(&self, request: Bytes) -> Result<(), Refused> {
        let Answer { status, body } = self.collector.post(request).await?;
        match status.as_u16() {
            200..=299 => {}
            429 | 502 | 503 | 504 => return Err(Refused::Later(status)),
            _ => return Err(Refused::Never(status)),
        }
        // Whatever else it says, it has taken them.
        let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
        match answer.partial_success {
            Some(partial) if partial.rejected_spans > 0 => Err(Refused::Partly {
                spans: partial.rejected_spans,
                why: partial.error_message.chars().take(200).collect(),
            }),
            _ => Ok(()),
        }
    }
}

impl Refused {
    /// Whether the same spans may be taken later, by the rules of OTLP.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Later(_) => true,
            Self::Never(_) | Self::Partly { .. } => false,
        }
    }
}
