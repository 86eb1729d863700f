//! `GET /files`.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::Query;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures::Stream;
use rustix::buffer::spare_capacity;

use super::{FileError, FileQuery};
use crate::caller;
use crate::session::Session;

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// Sends a regular file.
pub(crate) async fn download(
    Extension(session): Extension<Arc<Session>>,
    Query(query): Query<FileQuery>,
    headers: HeaderMap,
) -> Result<Response, FileError> {
    if refuses_identity(&headers) {
        return Err(FileError::NotAcceptable(
            "only the encoding identity is served",
        ));
    }
    let user = caller::user(&headers, query.username.as_deref(), &session)?;
    let path = query
        .resolved(&user)
        .ok_or(FileError::Invalid("the query has no path"))?;
    let (file, metadata, path) = tokio::task::spawn_blocking(move || {
        open(&path).map(|(file, metadata)| (file, metadata, path))
    })
    .await
    .map_err(|_| FileError::BrokenOff)??;

    let mut response = Response::new(Body::from_stream(pieces(file, metadata.len())));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_DISPOSITION, disposition(&path));
    if metadata.len() > 0 {
        headers.insert(CONTENT_LENGTH, metadata.len().into());
    }
    Ok(response)
}

/// Opens a regular file. Anything else could block or never end.
fn open(path: &Path) -> Result<(File, Metadata), FileError> {
    let io_error = |error| FileError::Io(path.to_path_buf(), error);
    let metadata = std::fs::metadata(path).map_err(io_error)?;
    check_regular(&metadata, path)?;
    let file = File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    check_regular(&metadata, path)?;
    Ok((file, metadata))
}

fn check_regular(metadata: &Metadata, path: &Path) -> Result<(), FileError> {
    if metadata.is_dir() {
        return Err(FileError::IsDirectory(path.to_path_buf()));
    }
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_path_buf()));
    }
    Ok(())
}

/// The file's content, read only as fast as it is sent. A file that says it is empty, as those in /proc do, is read to its
/// end; any other to the length that was announced, even if it grows.
fn pieces(file: File, length: u64) -> impl Stream<Item = io::Result<Bytes>> {
    let left = if length == 0 { u64::MAX } else { length };
    futures::stream::try_unfold((file, left), move |(file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let limit = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(limit);
            rustix::io::read(&file, spare_capacity(&mut piece))?;
            Ok::<_, io::Error>((file, Bytes::from(piece)))
        });
        let (file, piece) = read.await.map_err(io::Error::other)??;
        if piece.is_empty() {
            // A file that shrank must not pass for whole.
            return if length == 0 {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let left = left.saturating_sub(piece.len() as u64);
        Ok(Some((piece, (file, left))))
    })
}

/// Whether the caller rules out plain content, which is all there is.
fn refuses_identity(headers: &HeaderMap) -> bool {
    let Some(accepted) = headers
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let weight = |name: &str| {
        accepted.split(',').find_map(|part| {
            let (coding, parameters) = part.split_once(';').unwrap_or((part, ""));
            let zero = matches!(parameters.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
            coding.trim().eq_ignore_ascii_case(name).then_some(!zero)
        })
    };
    !weight("identity").or_else(|| weight("*")).unwrap_or(true)
}

fn disposition(path: &Path) -> HeaderValue {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    let quoted: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    HeaderValue::try_from(format!("inline; filename=\"{quoted}\""))
        .unwrap_or(HeaderValue::from_static("inline"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_content_can_be_ruled_out() {
        let refuses = |value: &str| {
            refuses_identity(&HeaderMap::from_iter([(
                ACCEPT_ENCODING,
                value.parse().unwrap(),
            )]))
        };
        for value in [
            "gzip",
            "gzip, deflate, br",
            "*",
            "identity",
            "*;q=0, identity",
            "identity;q=0.5",
            "",
        ] {
            assert!(!refuses(value), "{value}");
        }
        for value in ["identity;q=0", "gzip, *;q=0", "gzip, identity; q=0.0"] {
            assert!(refuses(value), "{value}");
        }
        assert!(!refuses_identity(&HeaderMap::new()));
    }
}
