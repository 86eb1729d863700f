//! Parts of a request as our types, with refusals in our form.

use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use wrenn_api::limits;
use wrenn_model::{ErrorKind, Fault, InvalidName, SandboxId, TemplateName};

use crate::refusal::{Answer, Refusal};

/// A JSON object in the body, of so many bytes at the most.
#[derive(Debug)]
pub(crate) struct Json<T, const BYTES: usize = { limits::JSON_BODY_BYTES }>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync, const BYTES: usize> FromRequest<S> for Json<T, BYTES> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Answer<Self> {
        let (parts, body) = request.into_parts();
        let body = collect(body, BYTES).await?;
        object(&parts.headers, &body).map(Self)
    }
}

/// A JSON object in the body; no body at all, or `null`, means the object with nothing in it.
#[derive(Debug)]
pub(crate) struct MaybeJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeJson<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Answer<Self> {
        let (parts, body) = request.into_parts();
        let body = collect(body, limits::JSON_BODY_BYTES).await?;
        if matches!(body.trim_ascii(), b"" | b"null") {
            return Ok(Self(T::default()));
        }
        object(&parts.headers, &body).map(Self)
    }
}

fn object<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Answer<T> {
    if let Some(given) = headers.get(CONTENT_TYPE) {
        let essence = given
            .to_str()
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::invalid(
                "the body is not declared as JSON",
                "send it with Content-Type: application/json",
            ));
        }
    }
    // Deserializers take a list for a structure too, by the order of its fields: that is nobody's contract.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Refusal::invalid(
            "the body is no JSON object",
            "send an object, {} at the least",
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        Refusal::invalid(format!("the body: {error}"), "correct it by /openapi.yaml")
    })
}

/// A body in memory, up to a limit, and within the time for it.
pub(crate) async fn collect(body: Body, limit: usize) -> Answer<Bytes> {
    let time = Duration::from_secs(limits::JSON_BODY_SEC);
    let collected = tokio::time::timeout(time, gather(body, limit)).await;
    collected.unwrap_or_else(|_| Err(Refusal::too_slow(time, "send it in one go")))
}

async fn gather(body: Body, limit: usize) -> Answer<Bytes> {
    let mut chunks = body.into_data_stream();
    let mut collected = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::invalid("the body broke off", "send it again"))?;
        if collected.len() + chunk.len() > limit {
            return Err(Refusal::too_large(
                limit,
                "send less; files have routes of their own",
            ));
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(collected.freeze())
}

/// The sandbox that the path names. What is no id is nobody's.
#[derive(Debug)]
pub(crate) struct Id(pub(crate) SandboxId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let text = segment(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|_| Fault::no_sandbox(&shortened(&text)).into())
    }
}

/// The template that the path names.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) TemplateName);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let text = segment(parts, state).await?;
        text.parse().map(Self).map_err(|_| {
            let message = format!("there is no template {:?}", shortened(&text));
            Fault::new(
                ErrorKind::NotFound,
                message,
                "list the templates with GET /v1/snapshots",
            )
            .into()
        })
    }
}

/// The key or the team that the path names. What is no name of one names none.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Named<T>
where
    T: FromStr<Err = InvalidName>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let text = segment(parts, state).await?;
        text.parse().map(Self).map_err(|error: InvalidName| {
            Fault::new(
                ErrorKind::NotFound,
                error.to_string(),
                "list what there is: GET /v1/keys, GET /v1/teams",
            )
            .into()
        })
    }
}

async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Answer<String> {
    match Path::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(error) => Err(Refusal::invalid(
            format!("the path: {error}"),
            "write it in UTF-8, percent-encoded",
        )),
    }
}

/// What a message repeats of a caller's text.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The pairs of the query, in their order.
#[derive(Debug)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Pairs {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(error) => Err(Refusal::invalid(
                format!("the query: {error}"),
                "write it as key=value&key=value",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_not_waited_for() {
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let begun = tokio::time::Instant::now();
        let refused = collect(Body::from_stream(trickle), 1000).await.unwrap_err();
        assert!(
            refused.0.message.contains("within 30 seconds"),
            "{refused:?}"
        );
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
        let whole = collect(Body::from("{}"), 2).await.unwrap();
        assert_eq!(&whole[..], b"{}");
    }
}
