//! A multipart upload, passed on as it comes.
//!
//! The file takes its place in the guest when the whole form has been read and was in order: a part that should not be
//! there, found at its very end, leaves the old file as it was.

use std::time::Duration;

use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use axum::http::StatusCode;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use wrenn_api::limits;
use wrenn_control::{Sandboxes, Upload};
use wrenn_model::{ErrorKind, Fault, SandboxId};

use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// Bytes of a body that may be in memory without a permit.
pub(super) const FREE_BYTES: usize = 1 << 20;
/// How long a large body waits for others to leave the memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which part of the form may come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Any: a file without a path yet is kept in memory.
    Any,
    /// The path, so that nothing is ever kept.
    PathFirst,
}

/// Where the file is to go.
#[derive(Debug, Default)]
struct Target {
    path: Option<String>,
    user: Option<String>,
}

/// What has come of the file.
enum Received {
    Nothing,
    /// On its way to the guest.
    Sent(Upload),
    /// Kept until its path comes.
    Kept(Vec<Bytes>, Option<OwnedSemaphorePermit>),
}

/// Leave to keep a large body in memory.
pub(super) async fn large(app: &App) -> Answer<OwnedSemaphorePermit> {
    let permit = tokio::time::timeout(PATIENCE, app.large.clone().acquire_owned()).await;
    match permit {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Refusal(Fault::new(
            ErrorKind::Unavailable,
            "too many large files are under way",
            "ask again shortly, or use the streaming route",
        ))),
    }
}

/// Reads the form and writes its file.
pub(super) async fn receive(
    app: &App,
    sandboxes: &Sandboxes,
    id: &SandboxId,
    mut form: Multipart,
    order: Order,
) -> Answer<()> {
    sandboxes.callable(id).await?;
    let mut target = Target::default();
    let mut received = Received::Nothing;
    while let Some(field) = in_time(form.next_field()).await?? {
        let name = field.name().unwrap_or_default().to_owned();
        match (name.as_str(), &received) {
            ("path" | "user", Received::Sent(_)) => return Err(misplaced(&name)),
            ("path", _) => target.set_path(text(field).await?)?,
            ("user", _) => target.set_user(text(field).await?)?,
            ("file", Received::Nothing) => {
                received = match (&target.path, order) {
                    (Some(path), _) => Received::Sent(
                        send(sandboxes, id, path, target.user.as_deref(), field).await?,
                    ),
                    (None, Order::Any) => keep(app, field).await?,
                    (None, Order::PathFirst) => return Err(misplaced("path")),
                }
            }
            ("file", _) => return Err(Refusal::invalid("the form has two files", "send one")),
            _ => {
                return Err(Refusal::invalid(
                    "the form has a part of another name",
                    "send path, user and file",
                ));
            }
        }
    }
    match (received, &target.path) {
        (Received::Nothing, _) => Err(Refusal::invalid(
            "the form has no file",
            "send it in a part named file",
        )),
        (Received::Sent(upload), _) => Ok(upload.complete().await?),
        (Received::Kept(..), None) => Err(Refusal::invalid(
            "the form has no path",
            "send it in a part named path",
        )),
        (Received::Kept(chunks, _permit), Some(path)) => {
            let mut upload = sandboxes
                .write_file(id, path, target.user.as_deref())
                .await?;
            for chunk in chunks {
                pass_on(&mut upload, &chunk).await?;
            }
            Ok(upload.complete().await?)
        }
    }
}

impl Target {
    fn set_path(&mut self, path: String) -> Answer<()> {
        wrenn_api::absolute_path(&path)?;
        once(self.path.replace(path), "path")
    }

    fn set_user(&mut self, user: String) -> Answer<()> {
        wrenn_api::user_name(&user)?;
        once(self.user.replace(user), "user")
    }
}

fn once(before: Option<String>, name: &str) -> Answer<()> {
    match before {
        None => Ok(()),
        Some(_) => Err(Refusal::invalid(
            format!("the form has two parts named {name}"),
            "send one",
        )),
    }
}

fn misplaced(name: &str) -> Refusal {
    Refusal::invalid(
        format!("the {name} comes after the file"),
        format!("send the part {name} before the part file"),
    )
}

async fn send(
    sandboxes: &Sandboxes,
    id: &SandboxId,
    path: &str,
    user: Option<&str>,
    mut field: Field<'_>,
) -> Answer<Upload> {
    let mut upload = sandboxes.write_file(id, path, user).await?;
    while let Some(chunk) = piece(&mut field).await? {
        pass_on(&mut upload, &chunk).await?;
    }
    Ok(upload)
}

/// The next piece of a part, for which a caller has so long.
async fn piece(field: &mut Field<'_>) -> Answer<Option<Bytes>> {
    Ok(in_time(field.chunk()).await??)
}

/// What comes of a form next, if it does not take too long to come.
async fn in_time<T>(next: impl Future<Output = T>) -> Answer<T> {
    let time = Duration::from_secs(limits::PIECE_SEC);
    tokio::time::timeout(time, next).await.map_err(|_| {
        Refusal::invalid(
            format!(
                "nothing more of the form came for {} seconds",
                time.as_secs()
            ),
            "send it once more, and to its end",
        )
    })
}

async fn pass_on(upload: &mut Upload, chunk: &[u8]) -> Answer<()> {
    for part in chunk.chunks(limits::CHUNK_BYTES) {
        upload.write(part).await?;
    }
    Ok(())
}

async fn keep(app: &App, mut field: Field<'_>) -> Answer<Received> {
    let (mut chunks, mut length, mut permit) = (Vec::new(), 0, None);
    while let Some(chunk) = piece(&mut field).await? {
        length += chunk.len();
        if length > FREE_BYTES && permit.is_none() {
            permit = Some(large(app).await?);
        }
        chunks.push(chunk);
    }
    Ok(Received::Kept(chunks, permit))
}

/// A small part as text.
async fn text(mut field: Field<'_>) -> Answer<String> {
    let mut collected = Vec::new();
    while let Some(chunk) = piece(&mut field).await? {
        if collected.len() + chunk.len() > limits::PATH_BYTES {
            return Err(Refusal::invalid(
                "a part of the form is too long",
                format!("path and user have at most {} bytes", limits::PATH_BYTES),
            ));
        }
        collected.extend_from_slice(&chunk);
    }
    String::from_utf8(collected)
        .map_err(|_| Refusal::invalid("a part of the form is no text", "write it in UTF-8"))
}

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::too_large(limits::FILE_BODY_BYTES, "write it with files/stream/write");
        }
        Self::invalid(
            format!("the form: {}", error.body_text()),
            "send a well-formed multipart form",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_more_is_not_waited_for_for_ever() {
        let begun = tokio::time::Instant::now();
        let refused = in_time(std::future::pending::<()>()).await;
        assert!(refused.is_err());
        assert_eq!(begun.elapsed().as_secs(), limits::PIECE_SEC);
        assert!(in_time(async { 7 }).await.is_ok());
    }
}
