//! Calls to the agent that works on a data directory, over its socket, by root alone.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use connectrpc::ConnectError;
use connectrpc::client::{CallOptions, Http2Connection, SharedHttp2Connection};
use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use wrenn_agent::{Outcome, Swept, TakenDown};
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::oneof::import_snapshot_request::Part;
use wrenn_model::{SandboxId, TeamName};

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// What should be imported can not be read.
    #[error("it cannot be read")]
    Input(#[source] std::io::Error),
    /// The agent did not take it.
    #[error(transparent)]
    Agent(#[from] ConnectError),
}

/// How long a question may take.
const SHORT: Duration = Duration::from_secs(10);
/// Between two questions whether the agent is ready.
const PAUSE: Duration = Duration::from_millis(20);
/// How long all sandboxes together may take to end.
const SHUTDOWN: Duration = Duration::from_secs(300);

/// How long the data of one generation may take to be read.
const VERIFY: Duration = Duration::from_secs(3600);
/// Bytes of a snapshot that are read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks of a snapshot on their way to the agent.
const QUEUE: usize = 4;

/// The agent of one data directory.
pub(crate) struct AgentRpc(rpc::HostAgentServiceClient<SharedHttp2Connection>);

impl AgentRpc {
    /// Nothing is sent yet.
    pub(crate) fn new(data: &Path) -> Self {
        // The host part of the address is a formality: the socket is the address.
        let address = http::Uri::from_static("http://agent");
        let connection =
            Http2Connection::builder().lazy_unix(data.join("agent.sock"), address.clone());
        Self(rpc::HostAgentServiceClient::new(
            connection.shared(1),
            rpc::protocol::client_config(address),
        ))
    }

    /// What the host is and has.
    pub(crate) async fn health(&self) -> Result<rpc::HealthResponse, ConnectError> {
        let options = CallOptions::default().with_timeout(SHORT);
        let answer = self
            .0
            .health_with_options(rpc::HealthRequest::default(), options)
            .await?;
        Ok(answer.into_owned())
    }

    /// What the host is and has, once its recovery has ended, however long that takes.
    pub(crate) async fn ready(&self) -> rpc::HealthResponse {
        loop {
            match self.health().await {
                Ok(health) if health.ready => return health,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the agent does not answer yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What it counts and measures, as OpenMetrics text.
    pub(crate) async fn metrics(&self) -> Result<String, ConnectError> {
        let options = CallOptions::default().with_timeout(SHORT);
        let answer = self
            .0
            .host_metrics_with_options(rpc::HostMetricsRequest::default(), options)
            .await?;
        Ok(answer.into_owned().text)
    }

    /// How many sandboxes run.
    pub(crate) async fn running(&self) -> Result<usize, ConnectError> {
        let all = self.sandboxes().await?;
        Ok(all
            .iter()
            .filter(|sandbox| sandbox.status == "running")
            .count())
    }

    /// Every sandbox.
    pub(crate) async fn sandboxes(&self) -> Result<Vec<rpc::Sandbox>, ConnectError> {
        let options = CallOptions::default().with_timeout(SHORT);
        let answer = self
            .0
            .list_sandboxes_with_options(rpc::ListSandboxesRequest::default(), options)
            .await?;
        Ok(answer.into_owned().sandboxes)
    }

    /// Runs the shortest command in a sandbox.
    pub(crate) async fn exec_true(&self, id: &str) -> Result<(), ConnectError> {
        let request = rpc::ExecRequest {
            sandbox_id: id.to_owned(),
            cmd: "true".to_owned(),
            ..Default::default()
        };
        let options = CallOptions::default().with_timeout(SHORT);
        self.0.exec_with_options(request, options).await?;
        Ok(())
    }

    /// Compares the newest generation of a sandbox with its sums.
    pub(crate) async fn verify(
        &self,
        id: &str,
    ) -> Result<rpc::VerifySnapshotResponse, ConnectError> {
        let request = rpc::VerifySnapshotRequest {
            sandbox_id: id.to_owned(),
            ..Default::default()
        };
        let options = CallOptions::default().with_timeout(VERIFY);
        let answer = self
            .0
            .verify_snapshot_with_options(request, options)
            .await?;
        Ok(answer.into_owned())
    }

    /// The newest generation of a sandbox, packed, in chunks.
    pub(crate) async fn export(
        &self,
        id: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, ConnectError>>, ConnectError> {
        let request = rpc::ExportSnapshotRequest {
            sandbox_id: id.to_owned(),
            ..Default::default()
        };
        let messages = self.0.export_snapshot(request).await?;
        Ok(stream::try_unfold(messages, |mut messages| async move {
            match messages.message().await? {
                Some(message) => {
                    let chunk = message.bytes().slice_ref(message.view().chunk);
                    Ok(Some((chunk, messages)))
                }
                None => messages.error().cloned().map_or(Ok(None), Err),
            }
        }))
    }

    /// Makes a paused sandbox of this id from what `input` has, once it has ended well.
    pub(crate) async fn import(
        &self,
        id: &SandboxId,
        mut input: impl AsyncRead + Unpin,
    ) -> Result<rpc::Sandbox, ImportError> {
        let (parts, queue) = mpsc::channel(QUEUE);
        let send = async move {
            let meta = rpc::import_snapshot_request::Meta {
                sandbox_id: id.to_string(),
                // Root runs the installation.
                owner_id: TeamName::OPERATOR.to_owned(),
                ..Default::default()
            };
            // Where the agent takes no more, it says why.
            if parts.send(part(Part::from(meta))).await.is_err() {
                return Ok(());
            }
            let mut buffer = vec![0; CHUNK_BYTES];
            loop {
                let read = input.read(&mut buffer).await?;
                let next = match read {
                    0 => Part::Complete(true),
                    read => Part::Chunk(buffer[..read].to_vec()),
                };
                if parts.send(part(next)).await.is_err() || read == 0 {
                    return Ok(());
                }
            }
        };
        let requests = stream::unfold(queue, |mut queue| async move {
            let part = queue.recv().await?;
            Some((part, queue))
        });
        let call = self.0.import_snapshot(requests);
        let (sent, answer) = tokio::join!(send, call);
        sent.map_err(ImportError::Input)?;
        let sandbox = answer?.into_owned().sandbox.into_option();
        sandbox.ok_or_else(|| ConnectError::internal("it names no sandbox").into())
    }

    /// Takes away what nobody owns any more, or with `dry_run` says what that is.
    pub(crate) async fn sweep(&self, dry_run: bool) -> Result<Vec<Swept>, ConnectError> {
        let request = rpc::SweepRequest {
            dry_run,
            ..Default::default()
        };
        let options = CallOptions::default().with_timeout(SHUTDOWN);
        let answer = self.0.sweep_with_options(request, options).await?;
        let resources = answer.into_owned().resources.into_iter();
        Ok(resources.map(swept).collect())
    }

    /// Ends every sandbox that lives, and then the agent.
    pub(crate) async fn shutdown(&self) -> Result<TakenDown, ConnectError> {
        let options = CallOptions::default().with_timeout(SHUTDOWN);
        let answer = self
            .0
            .shutdown_with_options(rpc::ShutdownRequest::default(), options)
            .await?;
        let rpc::ShutdownResponse {
            destroyed, kept, ..
        } = answer.into_owned();
        Ok(TakenDown { destroyed, kept })
    }
}

fn swept(resource: rpc::SweptResource) -> Swept {
    Swept {
        outcome: match resource.outcome.as_str() {
            "removed" => Outcome::Removed,
            "garbage" => Outcome::Garbage,
            "failed" => Outcome::Failed(resource.failure),
            _ => Outcome::Kept,
        },
        kind: resource.kind,
        name: resource.name,
        why: resource.why,
    }
}

fn part(part: Part) -> rpc::ImportSnapshotRequest {
    rpc::ImportSnapshotRequest {
        part: Some(part),
        ..Default::default()
    }
}
