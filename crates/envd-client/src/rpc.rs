//! Calls of the Connect protocol, in its binary codec.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use buffa::Message;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Builder;
use http::{Method, Request, Response};
use wrenn_envd_api::{Secret, header};

use crate::error::Error;
use crate::message::{Messages, decode, enveloped};
use crate::transport::{Answer, Transport, collect, url, whole};

/// The largest answer of a call that is no stream.
const MAX_ANSWER: usize = 1 << 20;

/// The content type of a call that is no stream, and of its answer.
const UNARY: &str = "application/proto";
/// The content type of a stream.
const STREAM: &str = "application/connect+proto";

/// Calls one method and reads its one answer.
pub(crate) async fn unary<A: Message>(
    transport: &Transport,
    request: Builder,
    message: &impl Message,
) -> Result<A, Error> {
    let request = request
        .header(CONTENT_TYPE, UNARY)
        .body(whole(message.encode_to_vec()));
    let response = transport.send(request.map_err(|_| invalid())?).await?;
    check_type(&response, UNARY)?;
    decode(&collect(response.into_body(), MAX_ANSWER).await?)
}

/// Calls one method whose answer is a stream.
pub(crate) async fn stream(
    transport: &Transport,
    request: Builder,
    message: &impl Message,
) -> Result<Messages, Error> {
    let request = request
        .header(CONTENT_TYPE, STREAM)
        .body(whole(enveloped(message)));
    let response = transport.send(request.map_err(|_| invalid())?).await?;
    check_type(&response, STREAM)?;
    Ok(Messages::new(response.into_body()))
}

/// An answer of another type is none that was asked for.
fn check_type(response: &Response<Answer>, expected: &str) -> Result<(), Error> {
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes() == expected.as_bytes()) {
        Ok(())
    } else {
        Err(Error::protocol(&format!("the answer is no {expected}")))
    }
}

/// A request for `method` of a service.
pub(crate) fn call(token: Option<&Secret>, service: &str, method: &str) -> Builder {
    let request = authorized(
        Request::builder()
            .method(Method::POST)
            .uri(url(&format!("/{service}/{method}"))),
        token,
    );
    request.header("connect-protocol-version", "1")
}

/// The request with the sandbox's token.
pub(crate) fn authorized(request: Builder, token: Option<&Secret>) -> Builder {
    match token {
        Some(token) => request.header(header::ACCESS_TOKEN, token.expose()),
        None => request,
    }
}

/// The request as that of a user of the guest; `None` is root.
pub(crate) fn as_user(request: Builder, user: Option<&str>) -> Builder {
    let credentials = STANDARD.encode(format!("{}:", user.unwrap_or("root")));
    request.header(AUTHORIZATION, format!("Basic {credentials}"))
}

/// The request with the time after which the guest agent ends the call.
pub(crate) fn limited(request: Builder, limit: Option<Duration>) -> Builder {
    match limit {
        // Ten digits are what the protocol allows: 115 days.
        Some(limit) => request.header(
            header::CONNECT_TIMEOUT,
            limit.as_millis().min(9_999_999_999).to_string(),
        ),
        None => request,
    }
}

/// The caller's own values made no valid request: a NUL byte in a path, say.
pub(crate) fn invalid() -> Error {
    Error::Refused {
        code: crate::RefusedCode::InvalidArgument,
        message: "a value cannot be sent in a header or path".to_owned(),
    }
}
