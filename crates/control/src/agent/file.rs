//! Files of a guest, both ways, a chunk at a time.

use bytes::Bytes;
use connectrpc::client::ServerStream;
use futures::{Stream, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::oneof::write_file_stream_request::Part;
use wrenn_hostagent_api::__buffa::view::ReadFileStreamResponseView;
use wrenn_model::{ErrorKind, Fault, SandboxId};

use super::connection::Lease;
use super::fault::from_agent;
use super::traced::Answer;
use super::{AgentClient, unlimited};

/// Chunks on their way between a caller and the agent.
const QUEUE: usize = 4;

/// A file being read. Its first chunk has come: a file that is not there was an error before this.
#[derive(Debug)]
pub struct FileStream {
    first: Option<Bytes>,
    stream: ServerStream<Answer, ReadFileStreamResponseView<'static>>,
    lease: Option<Lease>,
}

/// A file being written. Dropped before [`Upload::complete`], the old file stays as it was.
#[derive(Debug)]
pub struct Upload {
    parts: mpsc::Sender<rpc::WriteFileStreamRequest>,
    call: JoinHandle<Result<(), Fault>>,
}

impl AgentClient {
    /// Begins to read a file.
    pub(crate) async fn read_file(
        &self,
        id: &SandboxId,
        path: &str,
        user: Option<&str>,
    ) -> Result<FileStream, Fault> {
        let request = rpc::ReadFileStreamRequest {
            sandbox_id: id.to_string(),
            path: path.to_owned(),
            user: user.unwrap_or_default().to_owned(),
            ..Default::default()
        };
        let lease = self.connections.lease();
        let stream = lease
            .client()
            .read_file_stream_with_options(request, unlimited())
            .await
            .map_err(from_agent)?;
        let mut file = FileStream {
            first: None,
            stream,
            lease: Some(lease),
        };
        file.first = file.receive().await?;
        Ok(file)
    }

    /// Begins to write a file.
    pub(crate) fn write_file(&self, id: &SandboxId, path: &str, user: Option<&str>) -> Upload {
        let meta = rpc::write_file_stream_request::Meta {
            sandbox_id: id.to_string(),
            path: path.to_owned(),
            user: user.unwrap_or_default().to_owned(),
            ..Default::default()
        };
        let (parts, queue) = mpsc::channel(QUEUE);
        let first = stream::iter([part(Part::from(meta))]);
        let requests = futures::StreamExt::chain(first, ReceiverStream::new(queue));
        let (lease, options) = (self.connections.lease(), unlimited());
        let call = tokio::spawn(async move {
            lease
                .client()
                .write_file_stream_with_options(requests, options)
                .await
                .map_err(from_agent)?;
            lease.give_back();
            Ok(())
        });
        Upload { parts, call }
    }
}

fn part(part: Part) -> rpc::WriteFileStreamRequest {
    rpc::WriteFileStreamRequest {
        part: Some(part),
        ..Default::default()
    }
}

impl FileStream {
    async fn receive(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(message) = self.stream.message().await.map_err(from_agent)? {
            return Ok(Some(message.bytes().slice_ref(message.view().chunk)));
        }
        if let Some(error) = self.stream.error() {
            return Err(from_agent(error.clone()));
        }
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        Ok(None)
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// When the file or the agent was lost half-way.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        match self.first.take() {
            Some(chunk) => Ok(Some(chunk)),
            // The lease is gone once the end has been seen.
            None if self.lease.is_none() => Ok(None),
            None => self.receive().await,
        }
    }

    /// The chunks as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Fault>> + Send + 'static {
        stream::try_unfold(self, |mut file| async move {
            Ok(file.next().await?.map(|chunk| (chunk, file)))
        })
    }
}

impl Upload {
    /// Writes more. Waits while the guest is slower than the caller.
    ///
    /// # Errors
    /// When the agent has refused the file.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        self.send(Part::Chunk(chunk.to_vec())).await
    }

    /// Everything has come: the new file takes the old one's place.
    ///
    /// # Errors
    /// When the agent has refused the file.
    pub async fn complete(mut self) -> Result<(), Fault> {
        self.send(Part::Complete(true)).await?;
        self.outcome().await
    }

    async fn send(&mut self, next: Part) -> Result<(), Fault> {
        if self.parts.send(part(next)).await.is_ok() {
            return Ok(());
        }
        // The agent listens no more. It says why.
        self.outcome().await?;
        Err(Fault::new(
            ErrorKind::AgentError,
            "the host agent took only a part of the file",
            "send it again",
        ))
    }

    async fn outcome(&mut self) -> Result<(), Fault> {
        match (&mut self.call).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "an upload's task failed");
                Err(Fault::new(
                    ErrorKind::Internal,
                    "the upload failed",
                    "report it, with the request id",
                ))
            }
        }
    }
}
