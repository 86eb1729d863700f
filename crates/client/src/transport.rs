//! HTTP under the calls: addresses, connections, the key, and what is and is not an answer.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, Error, Source};

/// How long the server's machine may take to accept a connection.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may be in coming that only tells what there is. Whoever takes longer is no server, or none that works.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// What to do about a key that the server does not know; its own words are for those who write requests.
const OTHER_KEY: &str = "give a key of this server with --api-key or WRENN_API_KEY; its first one is in the file api-key, in \
                         its data directory or, of a `wrenn server`, in its own folder";
/// The largest answer that is taken whole: both streams of an exec at their cap, as JSON writes the worst of bytes.
const ANSWER_LIMIT: usize = 128 << 20;
/// The largest error body that is read.
const ERROR_LIMIT: usize = 64 << 10;
/// The header that carries the key.
pub(crate) const KEY_HEADER: &str = "x-api-key";

pub(crate) type RequestBody = UnsyncBoxBody<Bytes, Source>;

/// A client of one server. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    /// `http://host:port`, without a path.
    base: String,
    key: Option<HeaderValue>,
    http: hyper_util::client::legacy::Client<HttpConnector, RequestBody>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at `url` (`http://host:port`), which shows `key` with every call.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Key`]; no connection is made yet.
    pub fn new(url: &str, key: Option<&str>) -> crate::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        connector.set_keepalive(Some(Duration::from_secs(30)));
        Ok(Self {
            base: base(url)?,
            key: key.map(header).transpose()?,
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .build(connector),
        })
    }

    /// The server's address, `http://host:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// A request to `path`, which is escaped already.
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(ACCEPT, "*/*");
        if let Some(key) = &self.key {
            builder = builder.header(KEY_HEADER, key);
        }
        builder
    }

    /// Sends a request without a body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
    ) -> crate::Result<Response<Incoming>> {
        let send = || async {
            let sent = self.send(self.request(method.clone(), path), whole(Bytes::new()));
            if method != Method::GET {
                return sent.await;
            }
            let answer = tokio::time::timeout(LOOK_LIMIT, sent).await;
            answer.unwrap_or_else(|_| Err(self.silent()))
        };
        match send().await {
            // The server may close an idle connection just when it is used again. Asking twice does no harm.
            Err(Error::Broken { .. }) if method.is_idempotent() => send().await,
            answer => answer,
        }
    }

    /// Sends `body` as JSON.
    pub(crate) async fn call_with(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> crate::Result<Response<Incoming>> {
        let json = serde_json::to_vec(body).map_err(|error| self.contract(error.to_string()))?;
        let request = self
            .request(method, path)
            .header(CONTENT_TYPE, "application/json");
        self.send(request, whole(Bytes::from(json))).await
    }

    /// Sends a request; gives the answer when it is a good one, the server's error when it is not.
    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: RequestBody,
    ) -> crate::Result<Response<Incoming>> {
        let request = request
            .body(body)
            .map_err(|error| self.contract(error.to_string()))?;
        let sent = self.http.request(request).await;
        let response = sent.map_err(|error| self.unsent(error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        // An error whose body breaks off is an error still.
        let body = Limited::new(body, ERROR_LIMIT).collect().await;
        let body = body
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let mut refusal = self.refusal(parts.status, &body);
        if let Error::Api(told) = &mut refusal {
            told.retry_after_sec = retry_after(&parts.headers);
            if parts.status == StatusCode::UNAUTHORIZED && self.key.is_some() {
                told.remedy = OTHER_KEY.to_owned();
            }
        }
        Err(refusal)
    }

    /// Reads an answer whole, as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> crate::Result<T> {
        let body = self.bytes(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.contract(error.to_string()))
    }

    /// Reads an answer whole.
    pub(crate) async fn bytes(&self, response: Response<Incoming>) -> crate::Result<Bytes> {
        let body = Limited::new(response.into_body(), ANSWER_LIMIT);
        match body.collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// The error that a status and its body tell.
    pub(crate) fn refusal(&self, status: StatusCode, body: &[u8]) -> Error {
        match serde_json::from_slice::<wrenn_api::ErrorBody>(body) {
            Ok(wrenn_api::ErrorBody { error }) => {
                Error::Api(Box::new(ApiError::of_answer(status, error)))
            }
            Err(_) => self.contract(format!("status {status} without an error that it knows")),
        }
    }

    /// Why there is no answer.
    fn unsent(&self, error: hyper_util::client::legacy::Error) -> Error {
        if error.is_connect() {
            self.unreachable(error)
        } else if is_no_http(&error) {
            self.contract("it is not HTTP")
        } else {
            self.broken(error)
        }
    }

    fn silent(&self) -> Error {
        Error::Silent {
            url: self.base.clone(),
            limit_sec: LOOK_LIMIT.as_secs(),
        }
    }

    pub(crate) fn unreachable(&self, source: impl Into<Source>) -> Error {
        Error::Unreachable {
            url: self.base.clone(),
            source: source.into(),
        }
    }

    pub(crate) fn broken(&self, source: impl Into<Source>) -> Error {
        Error::Broken {
            url: self.base.clone(),
            source: source.into(),
        }
    }

    pub(crate) fn contract(&self, what: impl Into<String>) -> Error {
        Error::Contract {
            url: self.base.clone(),
            what: what.into(),
        }
    }
}

/// Whether what came is no HTTP, or came before anything was asked: hyper has no other name for the latter than what
/// it says. It tells either of the request itself, or as what kept that from being sent.
fn is_no_http(error: &(dyn std::error::Error + 'static)) -> bool {
    const UNASKED: &str = "received unexpected message from connection";
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(|cause| cause.is_parse() || cause.to_string() == UNASKED)
}

/// The seconds of `Retry-After`. Its other form, a date, is none of a Wrenn server's.
fn retry_after(headers: &http::HeaderMap) -> Option<u32> {
    let value = headers.get(http::header::RETRY_AFTER)?;
    value.to_str().ok()?.parse().ok()
}

/// A body that is there already.
pub(crate) fn whole(bytes: Bytes) -> RequestBody {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// `text` as one part of a path or one value of a query.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    // A whole part of dots would be taken for a way up.
    if matches!(text, "." | "..") {
        escaped = escaped.replace('.', "%2E");
    }
    escaped
}

fn header(key: &str) -> crate::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(key.trim()).map_err(|_| Error::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `url` without a path, checked.
fn base(url: &str) -> crate::Result<String> {
    let refuse = |why| Error::Address {
        url: url.to_owned(),
        why,
    };
    let uri: Uri = url.parse().map_err(|_| refuse("it is no URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(refuse("it does not begin with http://"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(refuse("it has a path"));
    }
    let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
    Ok(format!("http://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        assert_eq!(
            base("http://127.0.0.1:8080/").unwrap(),
            "http://127.0.0.1:8080"
        );
        assert_eq!(base("http://[::1]:8080").unwrap(), "http://[::1]:8080");
        for bad in [
            "",
            "127.0.0.1:8080",
            "https://a",
            "http://a/v1",
            "http://a?b",
            "http://a b",
        ] {
            assert!(matches!(base(bad), Err(Error::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn a_name_stays_one_part_of_the_path() {
        assert_eq!(escape("minimal-1.2_x"), "minimal-1.2_x");
        assert_eq!(escape("../x"), "..%2Fx");
        assert_eq!(escape(".."), "%2E%2E");
        assert_eq!(escape("ä?#"), "%C3%A4%3F%23");
    }
}
