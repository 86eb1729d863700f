//! HTTP/1.1 to one guest, over connections that are kept and reused.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use wrenn_envd_api::{UNKNOWN_USER, guest};
use wrenn_traces::{Held, Span};

use crate::connector::{Connector, Dial};
use crate::error::{Error, RefusedCode, printable};

/// A request's body: whole or streamed.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An answer's body. As long as it is read, the call is under way.
pub(crate) type Answer = Held<Incoming>;

/// How much of an answer is buffered; its header must fit in.
const BUFFER: usize = 256 << 10;

/// How many header lines an answer may have.
const MAX_HEADERS: usize = 64;

/// The longest error body that is read.
const MAX_ERROR: usize = 64 << 10;

/// How many idle connections are kept.
const MAX_IDLE: usize = 16;
/// How long they are, where nobody says.
pub(crate) const IDLE: Duration = Duration::from_secs(90);

/// The connections to one guest. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Transport(Client<Dial, Body>);

impl Transport {
    pub(crate) fn new(connector: Arc<dyn Connector>, idle: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .http1_max_buf_size(BUFFER)
            .http1_max_headers(MAX_HEADERS)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_idle_timeout(idle)
            .pool_timer(TokioTimer::new())
            // A kept connection that turns out dead is replaced, once, if the request was not sent on it.
            .retry_canceled_requests(true)
            .build(Dial(connector));
        Self(client)
    }

    /// Sends a request; anything but a success is an error. Waits for the answer's header as long as the caller does.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Response<Answer>, Error> {
        // Its path is one of ours; what of the caller's is in an address stands behind it.
        let span = Span::call(|| format!("envd {}", request.uri().path()).into());
        if !span.is_none() {
            span.set("http.request.method", request.method().to_string());
            span.tell(request.headers_mut());
        }
        let response = span
            .around(self.0.request(request))
            .await
            .map_err(Error::from_transport)
            .inspect_err(|_| span.failed("unreachable"))?;
        let status = response.status();
        span.set("http.response.status_code", i64::from(status.as_u16()));
        if !status.is_success() {
            span.failed(status.as_str().to_owned());
        }
        let response = response.map(|body| Held::new(body, span));
        // No encoding was offered. What would unpack it could be made to fill the memory.
        if response.headers().contains_key(CONTENT_ENCODING) {
            return Err(Error::protocol("an encoding that nobody asked for"));
        }
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refusal(response).await)
        }
    }
}

/// The guest agent's URL for `path_and_query`; the host in it is never looked up.
pub(crate) fn url(path_and_query: &str) -> String {
    format!("http://{}:{}{path_and_query}", guest::ADDRESS, guest::PORT)
}

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Reads an answer of at most `limit` bytes.
pub(crate) async fn collect(mut body: Answer, limit: usize) -> Result<Bytes, Error> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Error::from_transport)?.into_data() else {
            continue;
        };
        if collected.len() + data.len() > limit {
            return Err(Error::TooLarge);
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

/// Bounds the time that a call takes.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or(Err(Error::TimedOut))
}

/// What a refusal says: in a Connect answer `code` is a name, in a plain one the status once more.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    code: serde_json::Value,
    message: String,
}

impl Refusal {
    /// As an error; `status` is the code of last resort.
    pub(crate) fn into_error(self, status: StatusCode) -> Error {
        let name = self.code.as_str();
        if name == Some("deadline_exceeded") {
            return Error::TimedOut;
        }
        let code = name
            .and_then(RefusedCode::from_name)
            .unwrap_or_else(|| RefusedCode::from_status(status));
        // The host chose the user; its token was right.
        let unknown_user =
            code == RefusedCode::Unauthenticated && self.message.starts_with(UNKNOWN_USER);
        let code = if unknown_user {
            RefusedCode::InvalidArgument
        } else {
            code
        };
        let message = if self.message.is_empty() {
            format!("it says no more than {status}")
        } else {
            printable(&self.message)
        };
        Error::Refused { code, message }
    }
}

async fn refusal(response: Response<Answer>) -> Error {
    let status = response.status();
    match collect(response.into_body(), MAX_ERROR).await {
        Ok(body) => serde_json::from_slice::<Refusal>(&body)
            .unwrap_or_default()
            .into_error(status),
        Err(error) => error,
    }
}
