//! `GET /metrics`: what this server counts of its requests, and what the agent counts of its work, as OpenMetrics text for
//! Prometheus. It asks for the key like every other route: how much is done here is nobody's business.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use wrenn_model::{ErrorKind, Fault};

use crate::refusal::Answer;
use crate::router::App;

/// The version of the format that the answer is in.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The route of a request that none fits.
const NO_ROUTE: &str = "none";

/// A kind of request, and how it was answered. Routes are the patterns, never the paths: nobody but us names a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    code: &'static str,
}

/// What is counted of requests, from the server's start on.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Histogram, fn() -> Histogram>,
    errors: Family<Refused, Counter>,
    agent_up: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("wrenn_server");
        let requests = Family::<Answered, Histogram, _>::new_with_constructor(times as fn() -> _);
        let errors = Family::default();
        let agent_up = Gauge::default();
        registry.register_with_unit(
            "request_duration",
            "How long requests took until their answer began, by route and status",
            Unit::Seconds,
            requests.clone(),
        );
        registry.register("errors", "Refused requests by error code", errors.clone());
        registry.register(
            "agent_up",
            "Whether the host agent answers",
            agent_up.clone(),
        );
        Self {
            registry,
            requests,
            errors,
            agent_up,
        }
    }
}

impl Metrics {
    /// A request was answered; `route` is the pattern that it fitted.
    pub(crate) fn answered(
        &self,
        route: Option<&str>,
        method: &Method,
        status: u16,
        took: Duration,
    ) {
        let answered = Answered {
            route: route.unwrap_or(NO_ROUTE).to_owned(),
            method: known(method),
            status,
        };
        self.requests
            .get_or_create(&answered)
            .observe(took.as_secs_f64());
    }

    /// A request was refused.
    pub(crate) fn refused(&self, kind: ErrorKind) {
        let code = kind.name();
        self.errors.get_or_create(&Refused { code }).inc();
    }

    /// All of it, with what the agent told.
    fn text(&self, agent: Option<&str>) -> Result<String, std::fmt::Error> {
        self.agent_up.set(agent.is_some().into());
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registry)?;
        out.push_str(agent.unwrap_or_default());
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

/// A method by its name; a caller may make names up.
fn known(method: &Method) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]
        .into_iter()
        .find(|name| *name == method.as_str())
        .unwrap_or("other")
}

/// From a millisecond to two minutes.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 18))
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/metrics", get(scrape))
}

/// Without the agent's part when it does not answer, which is told in it.
async fn scrape(State(app): State<App>) -> Answer<Response> {
    let agent = app.control.host_metrics().await;
    if let Err(error) = &agent {
        tracing::debug!(%error, "the agent's metrics are missing");
    }
    let text = app.metrics.text(agent.as_deref().ok()).map_err(|error| {
        Fault::new(
            ErrorKind::Internal,
            format!("the metrics could not be written: {error}"),
            "report it, with the request id",
        )
    })?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}
