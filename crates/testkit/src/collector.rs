//! A collector of traces, on the loopback: it keeps what it is sent, or does with its callers what a collector should not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What it does with who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// It takes what it is sent.
    Takes,
    /// It takes connections and says nothing.
    Hangs,
    /// It speaks something that is no HTTP.
    Babbles,
    /// It refuses, for now.
    Refuses,
}

/// A span that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The program that it is of.
    pub service: String,
    /// Its name.
    pub name: String,
    /// In hex digits.
    pub trace: String,
    /// In hex digits.
    pub id: String,
    /// In hex digits; empty where there is none.
    pub parent: String,
    /// As OTLP counts them: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// It says that it failed.
    pub failed: bool,
    /// What is said of it.
    pub attributes: Vec<(String, String)>,
    /// And of the program.
    pub resource: Vec<(String, String)>,
}

impl Sent {
    /// What is said of it under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let (_, value) = attributes.find(|(key, _)| key == name)?;
        Some(value)
    }
}

/// A collector, until it is dropped. It has a thread of its own, so that tests may block.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Vec<Bytes>>>,
    _end: oneshot::Sender<()>,
}

impl Collector {
    /// One of this temper.
    ///
    /// # Panics
    /// When the loopback has no port for it.
    #[must_use]
    pub fn start(temper: Temper) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let kept = Arc::<Mutex<Vec<Bytes>>>::default();
        let (end, ended) = oneshot::channel::<()>();
        let keep = Arc::clone(&kept);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket");
                tokio::select! {
                    () = serve(listener, temper, keep) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            address,
            kept,
            _end: end,
        }
    }

    /// What programs are told.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that it was sent, as it came.
    #[must_use]
    pub fn bytes(&self) -> Vec<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    /// The spans that it was sent.
    ///
    /// # Panics
    /// When something else was sent.
    #[must_use]
    pub fn spans(&self) -> Vec<Sent> {
        let read = |bytes: Bytes| ExportTraceServiceRequest::decode(bytes).expect("OTLP");
        self.bytes().into_iter().map(read).flat_map(spans).collect()
    }

    /// Waits until all of these names were sent.
    ///
    /// # Panics
    /// When they do not come.
    #[must_use]
    pub fn wait_for(&self, names: &[&str]) -> Vec<Sent> {
        let begun = Instant::now();
        loop {
            let spans = self.spans();
            let came = |name: &&&str| spans.iter().any(|span| span.name == **name);
            let missing: Vec<_> = names.iter().filter(|name| !came(name)).collect();
            if missing.is_empty() {
                return spans;
            }
            let late = begun.elapsed() > Duration::from_secs(20);
            assert!(!late, "{missing:?} did not come: {spans:#?}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

async fn serve(listener: TcpListener, temper: Temper, kept: Arc<Mutex<Vec<Bytes>>>) {
    if matches!(temper, Temper::Takes | Temper::Refuses) {
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state((temper, kept));
        return axum::serve(listener, router).await.expect("a server");
    }
    let mut held = Vec::new();
    loop {
        let (mut socket, _) = listener.accept().await.expect("a caller");
        if temper == Temper::Babbles {
            // Whoever came may have gone.
            drop(socket.write_all(b"\x16\x03\x00HTTP\r\n\xff\xfe\x00").await);
        } else {
            held.push(socket);
        }
    }
}

async fn take(
    State((temper, kept)): State<(Temper, Arc<Mutex<Vec<Bytes>>>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if temper == Temper::Refuses {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if headers
        .get("content-type")
        .is_none_or(|kind| kind != "application/x-protobuf")
    {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    kept.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(body);
    StatusCode::OK
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Sent> {
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = pairs(of_resource.resource.unwrap_or_default().attributes);
        let service = resource.iter().find(|(name, _)| name == "service.name");
        let service = service.map(|(_, value)| value.clone()).unwrap_or_default();
        for span in of_resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            all.push(Sent {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind,
                failed: span.status.is_some_and(|status| status.code == 2),
                attributes: pairs(span.attributes),
                resource: resource.clone(),
            });
        }
    }
    all
}

fn pairs(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let pair = |one: KeyValue| (one.key, one.value.map(text).unwrap_or_default());
    attributes.into_iter().map(pair).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
