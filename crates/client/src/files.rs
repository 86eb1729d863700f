//! Files in and out of a guest, streamed: nothing is held but the chunk under way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::Method;
use http::header::CONTENT_TYPE;
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Incoming;

use crate::error::Source;
use crate::sandboxes::at;
use crate::{Client, Result};

impl Client {
    /// Writes a file in the guest, as root; its directories are made. The old file stays as it was unless `content` came
    /// whole: an error in it breaks the upload off.
    ///
    /// `path` is absolute.
    pub async fn write_file<E>(
        &self,
        id: &str,
        path: &str,
        content: impl Stream<Item = std::result::Result<Bytes, E>> + Send + 'static,
    ) -> Result<()>
    where
        E: Into<Source> + 'static,
    {
        let boundary = boundary();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n{path}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let part = |text: String| stream::once(async { Ok::<_, Source>(Bytes::from(text)) });
        let chunks = part(head)
            .chain(content.map(|chunk| chunk.map_err(Into::into)))
            .chain(part(tail))
            .map(|chunk| chunk.map(Frame::data));
        let request = self
            .request(Method::POST, &at(id, "/files/stream/write"))
            .header(
                CONTENT_TYPE,
                format!("multipart/form-data; boundary={boundary}"),
            );
        let body = BodyExt::boxed_unsync(StreamBody::new(chunks));
        self.send(request, body).await.map(drop)
    }

    /// Reads a regular file of the guest. An absent one is an error here, before the first byte.
    ///
    /// `path` is absolute.
    pub async fn read_file(&self, id: &str, path: &str) -> Result<FileContent> {
        let request = wrenn_api::ReadFileRequest {
            path: path.to_owned(),
            user: None,
        };
        let answer = self
            .call_with(Method::POST, &at(id, "/files/stream/read"), &request)
            .await?;
        Ok(FileContent {
            client: self.clone(),
            body: BodyStream::new(answer.into_body()),
        })
    }
}

/// A file's bytes as they come: the guest's own, not to be trusted.
#[derive(Debug)]
pub struct FileContent {
    client: Client,
    body: BodyStream<Incoming>,
}

impl Stream for FileContent {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return match std::task::ready!(self.body.poll_next_unpin(cx)) {
                None => Poll::Ready(None),
                Some(Err(error)) => Poll::Ready(Some(Err(self.client.broken(error)))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    // Trailers carry nothing of the file.
                    Err(_) => continue,
                },
            };
        }
    }
}

/// A line that no file holds but by a chance of one in 2^128.
fn boundary() -> String {
    let mut bytes = [0; 16];
    #[expect(clippy::expect_used, reason = "without entropy nothing may go on")]
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("wrenn-{hex}")
}
