//! `POST /files`, as one raw body or as a form.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::{Extension, Json};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use wrenn_envd_api::{FileEntry, FileKind};

use super::incoming::Incoming;
use super::{FileError, FileQuery};
use crate::caller;
use crate::session::Session;
use crate::users::User;

/// How much is gathered for one write: enough that handing it to another thread does not count.
const BATCH: usize = 1 << 20;

/// How many files one form may bring.
const MAX_FILES: usize = 1024;

/// Receives files, each of which replaces what stood in its place once it has come in whole.
pub(crate) async fn upload(
    Extension(session): Extension<Arc<Session>>,
    Query(query): Query<FileQuery>,
    request: Request,
) -> Result<Json<Vec<FileEntry>>, FileError> {
    let user = caller::user(request.headers(), query.username.as_deref(), &session)?;
    let path = query.resolved(&user);
    if is_form(request.headers()) {
        return form(request, path, user).await.map(Json);
    }
    let path = path.ok_or(FileError::Invalid("the query has no path"))?;
    let body = Body::into_data_stream(request.into_body()).map_err(|_| FileError::BrokenOff);
    Ok(Json(vec![receive(path, user, body).await?]))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("multipart/form-data")
}

/// Every part called `file` is one; without a path in the query its file name says where it goes.
async fn form(
    request: Request,
    path: Option<PathBuf>,
    user: User,
) -> Result<Vec<FileEntry>, FileError> {
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| FileError::Invalid("the form has no boundary"))?;
    let mut entries = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|_| FileError::BrokenOff)? {
        if field.name() != Some("file") {
            continue;
        }
        let target = match (&path, field.file_name()) {
            (Some(_), _) if !entries.is_empty() => {
                return Err(FileError::Invalid("a path takes one file only"));
            }
            (Some(path), _) => path.clone(),
            (None, Some(name)) if !name.is_empty() => crate::paths::resolve(name, &user.home),
            (None, _) => {
                return Err(FileError::Invalid(
                    "a file has neither a path nor a file name",
                ));
            }
        };
        if entries.len() >= MAX_FILES {
            return Err(FileError::Invalid("too many files in one form"));
        }
        let content = field.map_err(|_| FileError::BrokenOff);
        entries.push(receive(target, user.clone(), content).await?);
    }
    if entries.is_empty() {
        return Err(FileError::Invalid("the form has no part called file"));
    }
    Ok(entries)
}

/// Writes one file. While a batch is being written, the next one comes in; when the caller hangs up, the stream errs or
/// this future is dropped, and the unfinished file goes.
async fn receive(
    path: PathBuf,
    user: User,
    content: impl Stream<Item = Result<Bytes, FileError>>,
) -> Result<FileEntry, FileError> {
    let mut content = pin!(content);
    let mut incoming = blocking(move || Incoming::begin(&path, &user)).await?;
    let mut batch = gather(&mut content).await?;
    while !batch.is_empty() {
        let write = blocking(move || {
            incoming.write(&batch)?;
            Ok(incoming)
        });
        (incoming, batch) = tokio::try_join!(write, gather(&mut content))?;
    }
    blocking(move || incoming.finish())
        .await
        .map(|target| entry(&target))
}

/// The next pieces, [`BATCH`] bytes or a little more; fewer only at the end, none after it.
async fn gather(
    content: &mut (impl Stream<Item = Result<Bytes, FileError>> + Unpin),
) -> Result<Vec<Bytes>, FileError> {
    let (mut batch, mut length) = (Vec::new(), 0);
    while length < BATCH {
        let Some(piece) = content.try_next().await? else {
            break;
        };
        length += piece.len();
        batch.push(piece);
    }
    Ok(batch)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| FileError::BrokenOff)?
}

fn entry(path: &Path) -> FileEntry {
    FileEntry {
        name: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        path: path.to_string_lossy().into_owned(),
        kind: FileKind::File,
    }
}
