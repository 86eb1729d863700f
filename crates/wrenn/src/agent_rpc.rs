//! Calls to the agent that works on a data directory, over its socket, by root alone.

use std::path::Path;
use std::time::Duration;

use connectrpc::ConnectError;
use connectrpc::client::{CallOptions, ClientConfig, Http2Connection, SharedHttp2Connection};
use wrenn_hostagent_api as rpc;

/// How long a question may take.
const SHORT: Duration = Duration::from_secs(10);
/// Between two questions whether the agent is ready.
const PAUSE: Duration = Duration::from_millis(20);
/// How long all sandboxes together may take to end.
const SHUTDOWN: Duration = Duration::from_secs(300);

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
            ClientConfig::new(address).proto(),
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

    /// How many sandboxes run.
    pub(crate) async fn running(&self) -> Result<usize, ConnectError> {
        let options = CallOptions::default().with_timeout(SHORT);
        let answer = self
            .0
            .list_sandboxes_with_options(rpc::ListSandboxesRequest::default(), options)
            .await?;
        let all = answer.into_owned().sandboxes;
        Ok(all
            .iter()
            .filter(|sandbox| sandbox.status == "running")
            .count())
    }

    /// Ends every sandbox and then the agent; gives how many there were.
    pub(crate) async fn shutdown(&self) -> Result<u32, ConnectError> {
        let options = CallOptions::default().with_timeout(SHUTDOWN);
        let answer = self
            .0
            .shutdown_with_options(rpc::ShutdownRequest::default(), options)
            .await?;
        Ok(answer.into_owned().destroyed)
    }
}
