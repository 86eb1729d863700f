//! Where traces go, when somebody collects them: to a collector of OpenTelemetry's, by OTLP over HTTP. What is in them is said
//! where it is done ([`wrenn_traces`]).
//!
//! ```text
//!   endpoint   where the collector is
//!   collector  one exchange with it
//!   queue      spans that wait to be sent, bounded: no request ever waits for them
//!   export     the task that sends them
//!   trouble    what the log is told of a collector that does not take them, now and then
//!   relay      the way of a control plane that has no network of its own
//! ```

mod collector;
mod endpoint;
mod export;
mod queue;
mod relay;
mod trouble;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use collector::Collector;
use export::Export;

pub(crate) use endpoint::{Endpoint, Target};
pub(crate) use relay::Relay;

/// How long the end of the program waits for what is still to be sent. Of `wrenn up` two end, one after the other.
const FLUSH: Duration = Duration::from_secs(1);

/// What a program that confines another hands on to it: which traces are made, and what an operator says of the machine.
pub(crate) const INHERITED: [&str; 3] = [
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_RESOURCE_ATTRIBUTES",
];

/// Who makes traces.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    /// Such as `wrenn-agent`.
    pub(crate) service: &'static str,
    /// The data directory of an agent, which has the installation's id from its first start on.
    pub(crate) data: Option<&'a Path>,
}

/// Traces are made and sent.
#[derive(Debug)]
pub(crate) struct Traces {
    closing: CancellationToken,
    exporting: JoinHandle<()>,
}

impl Traces {
    /// From now on they are. To be called within the runtime.
    pub(crate) fn start(endpoint: &Endpoint, origin: &Origin<'_>) -> Result<Self> {
        let collector = Collector::new(endpoint.clone())?;
        let resource = resource(origin);
        let (queue, waiting) = queue::bounded();
        let export = Export::new(collector, &resource, waiting);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_resource(resource)
            .build();
        wrenn_traces::collect(provider.tracer("wrenn"));
        let closing = CancellationToken::new();
        let exporting = tokio::spawn(export.run(closing.clone()));
        tracing::info!(%endpoint, "traces are sent");
        Ok(Self { closing, exporting })
    }

    /// Sends what there is still to send, as far as that is soon done.
    pub(crate) async fn end(mut self) {
        self.closing.cancel();
        let ended = tokio::time::timeout(FLUSH, &mut self.exporting).await;
        match ended.map(|ended| ended.context("it broke off")) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces are lost"),
            Err(_) => {
                self.exporting.abort();
                tracing::warn!("the last traces are lost: the collector takes too long");
            }
        }
    }
}

/// Who they come from, beside what the operator says in `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(origin: &Origin<'_>) -> Resource {
    let machine = rustix::system::uname();
    let instance = origin.data.and_then(|data| {
        let id = std::fs::read_to_string(data.join("instance")).ok()?;
        Some(KeyValue::new("service.instance.id", id.trim().to_owned()))
    });
    Resource::builder()
        .with_attributes(instance)
        .with_attributes([
            KeyValue::new("service.name", origin.service),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new(
                "host.name",
                machine.nodename().to_string_lossy().into_owned(),
            ),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build()
}
