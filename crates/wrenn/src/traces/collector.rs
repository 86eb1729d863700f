//! One exchange with the collector. It may be away, slow, or something else altogether: whatever it does takes a bounded time
//! and a bounded memory.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wrenn_sys::tcp;

use super::endpoint::{Endpoint, Way};

/// What traces are sent as.
pub(super) const PROTOBUF: &str = "application/x-protobuf";

/// How long an exchange may take, from dialling to the last byte of the answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// Headers that go with each request, by OpenTelemetry's own variables; the first wins.
const HEADERS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
];

/// A collector.
#[derive(Debug)]
pub(super) struct Collector {
    endpoint: Endpoint,
    headers: HeaderMap,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("it cannot be reached")]
    Connect(#[source] io::Error),
    #[error("it does not speak HTTP")]
    Http(#[from] hyper::Error),
    #[error("its answer is too long, or breaks off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it does not answer within {LIMIT:?}")]
    TimedOut,
    #[error("no such request can be made")]
    Request(#[from] http::Error),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Collector {
    /// The one at this endpoint. Nothing is sent yet.
    pub(super) fn new(endpoint: Endpoint) -> Result<Self> {
        let tls = match &endpoint.way {
            Way::Tls { host, .. } => Some((trusting()?, ServerName::try_from(host.clone())?)),
            Way::Tcp { .. } | Way::Unix(_) => None,
        };
        // What is behind a socket, a relay of ours say, has its own.
        let headers = match endpoint.way {
            Way::Unix(_) => HeaderMap::new(),
            Way::Tcp { .. } | Way::Tls { .. } => {
                let said = HEADERS.iter().find_map(|name| std::env::var(name).ok());
                headers(&said.unwrap_or_default())?
            }
        };
        Ok(Self {
            endpoint,
            headers,
            tls,
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts traces, as OTLP has them.
    pub(super) async fn post(&self, traces: Bytes) -> Result<Answer, PostError> {
        let exchange = tokio::time::timeout(LIMIT, self.exchange(traces));
        exchange.await.unwrap_or(Err(PostError::TimedOut))
    }

    async fn exchange(&self, traces: Bytes) -> Result<Answer, PostError> {
        let stream = self.connect().await.map_err(PostError::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::post(&self.endpoint.path)
            .header(HOST, self.endpoint.authority())
            .body(Full::new(traces))?;
        request.headers_mut().extend(self.headers.clone());
        let protobuf = HeaderValue::from_static(PROTOBUF);
        request.headers_mut().insert(CONTENT_TYPE, protobuf);
        let answered = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
            let body = body.await.map_err(PostError::Body)?.to_bytes();
            Ok(Answer { status, body })
        };
        let mut answered = pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            // What has been read is there; what has not will not come.
            _ = connection => answered.await,
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (host, port) = match &self.endpoint.way {
            Way::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Way::Tcp { host, port } | Way::Tls { host, port } => (host.as_str(), *port),
        };
        let stream = TcpStream::connect((host, port)).await?;
        if let Err(error) = tcp::tune(&stream) {
            tracing::debug!(%error, "a socket keeps its defaults");
        }
        match &self.tls {
            Some((tls, name)) => {
                let tls = TlsConnector::from(Arc::clone(tls));
                Ok(Box::new(tls.connect(name.clone(), stream).await?))
            }
            None => Ok(Box::new(stream)),
        }
    }
}

/// TLS to whom the machine trusts.
fn trusting() -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    anyhow::ensure!(
        added > 0,
        "this machine trusts no certificate authority: install ca-certificates, or name a collector by http://"
    );
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// `name=value,name=value`, values in percent-encoding.
fn headers(said: &str) -> Result<HeaderMap> {
    let wrong = "OTEL_EXPORTER_OTLP_HEADERS is written like name=value,name=value";
    let pairs = said
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            // What is wrong is not shown: it is a secret most often.
            let (name, value) = pair.split_once('=').context(wrong)?;
            let name: HeaderName = name.trim().parse().ok().context(wrong)?;
            let value = decoded(value.trim()).context(wrong)?;
            let mut value = HeaderValue::from_bytes(&value).ok().context(wrong)?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect()
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high << 4 | low).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_variable_has_them() {
        let read = headers(" api-key=s3cret , authorization=Bearer%20x%3D ,").unwrap();
        assert_eq!(read["api-key"], "s3cret");
        assert_eq!(read["authorization"], "Bearer x=");
        assert!(headers("").unwrap().is_empty());
        for wrong in [
            "s3cret",
            "a b=s3cret",
            "a=s3cret%2",
            "a=s3cret%0a",
            "=s3cret",
        ] {
            let told = format!("{:?}", headers(wrong).unwrap_err());
            assert!(!told.contains("s3cret"), "{told}");
        }
        let shown = format!("{read:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
