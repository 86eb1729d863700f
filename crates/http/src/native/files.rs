//! Files of a guest: whole ones up to 100 MiB, and streams of any length.

use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use wrenn_api::{ReadFileRequest, WriteFileForm, limits};
use wrenn_control::{FileStream, Sandboxes};
use wrenn_model::Fault;

use super::described::{Octets, OfSandbox};
use super::upload::{self, Order};
use crate::auth::Mine;
use crate::extract::{Id, Json};
use crate::line::Line;
use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// Writes a file, of up to 100 MiB with its form. The parts `path` and `file` may come in any order;
/// `user` comes before `file`.
///
/// The old file, if any, is replaced as a whole; when the upload breaks off, it stays as it was.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/files/write", operation_id = "write_file", tag = "files", params(OfSandbox),
    request_body(content = WriteFileForm, content_type = "multipart/form-data"),
    responses((status = 204, description = "It is written."))
)]
pub(super) async fn write(
    State(app): State<App>,
    Mine(sandboxes): Mine,
    Id(id): Id,
    form: Result<Multipart, MultipartRejection>,
) -> Answer<StatusCode> {
    let time = Duration::from_secs(limits::FILE_BODY_SEC);
    let received = upload::receive(&app, &sandboxes, &id, form?, Order::Any);
    let received = tokio::time::timeout(time, received).await;
    received.unwrap_or_else(|_| Err(Refusal::too_slow(time, "use the streaming route")))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Writes a file of any size. The parts `path` and `user` come before `file`.
///
/// The old file, if any, is replaced as a whole; when the upload breaks off, it stays as it was.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/files/stream/write", operation_id = "write_file_stream", tag = "files", params(OfSandbox),
    request_body(content = WriteFileForm, content_type = "multipart/form-data"),
    responses((status = 204, description = "It is written."))
)]
pub(super) async fn write_stream(
    State(app): State<App>,
    Mine(sandboxes): Mine,
    Id(id): Id,
    form: Result<Multipart, MultipartRejection>,
) -> Answer<StatusCode> {
    upload::receive(&app, &sandboxes, &id, form?, Order::PathFirst).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a regular file of up to 100 MiB.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/files/read", operation_id = "read_file", tag = "files", params(OfSandbox),
    request_body = ReadFileRequest,
    responses((status = 200, description = "What is in it.", body = inline(Octets), content_type = "application/octet-stream"))
)]
pub(super) async fn read(
    State(app): State<App>,
    Mine(sandboxes): Mine,
    Id(id): Id,
    line: Line,
    Json(request): Json<ReadFileRequest>,
) -> Answer<Response> {
    let mut file = open(&sandboxes, &id, &request).await?;
    let (mut chunks, mut length, mut permit) = (Vec::new(), 0, None);
    while let Some(chunk) = file.next().await? {
        length += chunk.len();
        if length > limits::FILE_BODY_BYTES {
            return Err(Refusal::too_large(
                limits::FILE_BODY_BYTES,
                "read it with files/stream/read",
            ));
        }
        if length > upload::FREE_BYTES && permit.is_none() {
            permit = Some(upload::large(&app).await?);
        }
        chunks.push(Ok::<Bytes, Fault>(chunk));
    }
    // Held until the last chunk has left; a caller that takes too long over them is hung up on.
    let time = Duration::from_secs(limits::FILE_BODY_SEC);
    let held = (permit, line.limit(time));
    let body = stream::iter(chunks).inspect(move |_| {
        let _held = &held;
    });
    Ok(octets(Body::from_stream(body)))
}

/// Reads a regular file of any size. One that is not there is 404 before the first byte.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/files/stream/read", operation_id = "read_file_stream", tag = "files", params(OfSandbox),
    request_body = ReadFileRequest,
    responses((status = 200, description = "What is in it.", body = inline(Octets), content_type = "application/octet-stream"))
)]
pub(super) async fn read_stream(
    Mine(sandboxes): Mine,
    Id(id): Id,
    Json(request): Json<ReadFileRequest>,
) -> Answer<Response> {
    let file = open(&sandboxes, &id, &request).await?;
    Ok(octets(Body::from_stream(file.into_stream())))
}

async fn open(
    sandboxes: &Sandboxes,
    id: &wrenn_model::SandboxId,
    request: &ReadFileRequest,
) -> Answer<FileStream> {
    request.check()?;
    Ok(sandboxes
        .read_file(id, &request.path, request.user.as_deref())
        .await?)
}

fn octets(body: Body) -> Response {
    ([(CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

impl From<MultipartRejection> for Refusal {
    fn from(_: MultipartRejection) -> Self {
        Self::invalid(
            "the body is no multipart form",
            "send it with Content-Type: multipart/form-data",
        )
    }
}
