//! What a guest is told of the trace that a call belongs to.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod guest;

use std::sync::Arc;

use guest::Loopback;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use wrenn_envd_client::EnvdClient;
use wrenn_traces::{HEADER, Span};

/// What a guest hears of a call.
async fn heard(within: &Span) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = EnvdClient::new(Arc::new(Loopback(listener.local_addr().unwrap())));
    let hear = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 64 << 10];
        let read = stream.read(&mut request).await.unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    };
    // It says nothing, and hangs up.
    let (_, heard) = tokio::join!(within.around(client.metrics()), hear);
    heard
}

#[tokio::test]
async fn a_call_names_its_trace_where_it_is_part_of_one() {
    let provider = SdkTracerProvider::builder().build();
    wrenn_traces::collect(provider.tracer("test"));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let caller = format!("00-{trace}-00f067aa0ba902b7-01");
    let caller = [(HEADER, caller.parse().unwrap())].into_iter().collect();
    let told = heard(&Span::serve(&caller, || "a request".into())).await;
    assert!(
        told.contains(&format!("traceparent: 00-{trace}-")),
        "{told}"
    );
    // Of the call itself, and not of what it is a part of.
    assert!(!told.contains("00f067aa0ba902b7"), "{told}");
    let told = heard(&Span::default()).await;
    assert!(!told.contains("traceparent"), "{told}");
}
