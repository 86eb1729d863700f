//! What is exported of a request that goes through tasks and another program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::LazyLock;

use http::HeaderMap;
use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use wrenn_traces::{HEADER, Place, SANDBOX_ID, Span, carried, collect};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

static EXPORTED: LazyLock<InMemorySpanExporter> = LazyLock::new(|| {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    collect(provider.tracer("test"));
    exporter
});

fn from(caller: &str) -> HeaderMap {
    [(HEADER, caller.parse().unwrap())].into_iter().collect()
}

/// The one of this name.
fn exported(name: &str) -> SpanData {
    let all = EXPORTED.get_finished_spans().unwrap();
    let mut named = all.into_iter().filter(|span| span.name == name);
    let span = named.next().unwrap_or_else(|| panic!("there is no {name}"));
    assert!(named.next().is_none(), "{name} is there twice");
    span
}

fn sandbox(span: &SpanData) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|attribute| attribute.key.as_str() == SANDBOX_ID);
    found.map(|found| found.value.to_string())
}

#[tokio::test]
async fn a_request_is_one_trace_through_tasks_and_programs() {
    LazyLock::force(&EXPORTED);
    let request = Span::serve(&from(CALLER), || "a request".into());
    let step = async {
        let within = Place::here().about(&"sb-1").around(async {
            let call = Span::call(|| "a call".into());
            let mut headers = HeaderMap::new();
            call.tell(&mut headers);
            call.around(async {}).await;
            headers
        });
        // Another task does not know by itself.
        let lost = tokio::spawn(async { drop(Span::step(|| "lost".into())) });
        lost.await.unwrap();
        tokio::spawn(carried(within)).await.unwrap()
    };
    let headers = request.around(step).await;
    drop(request);
    drop(Span::follow(&headers, || "an answer".into()));
    let [request, call, answer] = ["a request", "a call", "an answer"].map(exported);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for span in [&request, &call, &answer] {
        assert_eq!(span.span_context.trace_id().to_string(), trace);
    }
    assert_eq!(request.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(call.parent_span_id, request.span_context.span_id());
    assert_eq!(answer.parent_span_id, call.span_context.span_id());
    assert_eq!(
        [&request, &call, &answer].map(|span| span.span_kind.clone()),
        [SpanKind::Server, SpanKind::Client, SpanKind::Server]
    );
    assert_eq!(
        [&request, &call, &answer].map(sandbox),
        [None, Some("sb-1".to_owned()), None]
    );
    let all = EXPORTED.get_finished_spans().unwrap();
    assert!(all.iter().all(|span| span.name != "lost"));
}

#[tokio::test]
async fn who_names_no_trace_begins_one_where_it_is_served_and_nowhere_else() {
    LazyLock::force(&EXPORTED);
    drop(Span::serve(&from("nonsense"), || "a first one".into()));
    let first = exported("a first one");
    assert!(first.span_context.is_valid());
    assert_eq!(first.parent_span_id, SpanId::INVALID);
    for span in [
        Span::follow(&HeaderMap::new(), || "alone".into()),
        Span::call(|| "alone".into()),
        Span::step(|| "alone".into()),
    ] {
        let mut headers = HeaderMap::new();
        span.tell(&mut headers);
        assert!(headers.is_empty());
    }
    let all = EXPORTED.get_finished_spans().unwrap();
    assert!(all.iter().all(|span| span.name != "alone"));
}

#[tokio::test]
async fn a_caller_who_samples_nothing_is_believed() {
    LazyLock::force(&EXPORTED);
    let span = Span::serve(&from(&CALLER.replace("-01", "-00")), || "unseen".into());
    let mut headers = HeaderMap::new();
    span.tell(&mut headers);
    drop(span);
    let told = headers[HEADER].to_str().unwrap();
    assert!(
        told.starts_with(&CALLER[..35]) && told.ends_with("-00"),
        "{told}"
    );
    let all = EXPORTED.get_finished_spans().unwrap();
    assert!(all.iter().all(|span| span.name != "unseen"));
}

#[tokio::test]
async fn what_is_given_up_says_so_and_a_place_keeps_nothing_open() {
    LazyLock::force(&EXPORTED);
    let span = Span::serve(&HeaderMap::new(), || "given up".into());
    let place = span.place();
    let never = span.around(std::future::pending::<()>());
    let limit = std::time::Duration::from_millis(1);
    tokio::time::timeout(limit, never).await.unwrap_err();
    drop(span);
    assert_eq!(exported("given up").status, Status::error(""));
    place
        .around(async { drop(Span::step(|| "afterwards".into())) })
        .await;
    let (before, after) = (exported("given up"), exported("afterwards"));
    assert_eq!(after.parent_span_id, before.span_context.span_id());
}

#[tokio::test]
async fn an_answer_ends_with_its_body() {
    use http_body_util::BodyExt as _;

    LazyLock::force(&EXPORTED);
    let span = Span::serve(&HeaderMap::new(), || "answered".into());
    let body = wrenn_traces::Held::new(http_body_util::Full::new("x".into()), span);
    let there = || {
        let all = EXPORTED.get_finished_spans().unwrap();
        all.iter().any(|span| span.name == "answered")
    };
    assert!(!there());
    body.collect().await.unwrap();
    assert!(there());
}
