//! Calls to the agent under test.

use std::path::Path;
use std::time::Duration;

use connectrpc::ConnectError;
use connectrpc::client::{CallOptions, ClientConfig, Http2Connection, SharedHttp2Connection};
use futures::{Stream, stream};
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::oneof::import_snapshot_request::Part;
use wrenn_testkit::vmm::Count;

use super::agent::TEMPLATE;

/// How long any call may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Guest memory: the least that may be asked for.
const MEMORY_MB: u32 = 128;

/// What came of a call.
pub(crate) type Answer<T = ()> = Result<T, ConnectError>;

/// A client of one agent. It outlives the agent: what comes next on the socket is called next.
#[derive(Clone)]
pub(crate) struct Client(rpc::HostAgentServiceClient<SharedHttp2Connection>);

impl Client {
    pub(crate) fn new(data: &Path) -> Self {
        Self::with(data, &[])
    }

    /// One whose calls carry these headers.
    pub(crate) fn with(data: &Path, headers: &[(&str, &str)]) -> Self {
        // The host part of the address is a formality: the socket is the address.
        let address = http::Uri::from_static("http://agent");
        let connection =
            Http2Connection::builder().lazy_unix(data.join("agent.sock"), address.clone());
        let config = ClientConfig::new(address).proto();
        let config = headers.iter().fold(config, |config, (name, value)| {
            config.with_default_header(*name, *value)
        });
        Self(rpc::HostAgentServiceClient::new(
            connection.shared(1),
            config,
        ))
    }

    /// Waits until recovery has ended.
    pub(crate) async fn ready(&self) {
        let ready = async {
            while !matches!(self.health().await, Ok(true)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, ready).await;
        in_time.expect("the agent recovers");
    }

    async fn health(&self) -> Answer<bool> {
        let options = CallOptions::default().with_timeout(Duration::from_secs(2));
        let request = rpc::HealthRequest::default();
        let answer = self.0.health_with_options(request, options).await?;
        Ok(answer.into_owned().ready)
    }

    pub(crate) async fn create(&self, id: &str) -> Answer {
        let request = rpc::CreateSandboxRequest {
            sandbox_id: id.to_owned(),
            template: TEMPLATE.to_owned(),
            vcpus: 1,
            memory_mb: MEMORY_MB,
            timeout_sec: 3600,
            hostname: "sandbox".to_owned(),
            ..Default::default()
        };
        self.0
            .create_sandbox_with_options(request, options())
            .await
            .map(drop)
    }

    pub(crate) async fn pause(&self, id: &str) -> Answer {
        let request = rpc::PauseSandboxRequest {
            sandbox_id: id.to_owned(),
            ..Default::default()
        };
        self.0
            .pause_sandbox_with_options(request, options())
            .await
            .map(drop)
    }

    pub(crate) async fn resume(&self, id: &str) -> Answer {
        let request = rpc::ResumeSandboxRequest {
            sandbox_id: id.to_owned(),
            ..Default::default()
        };
        self.0
            .resume_sandbox_with_options(request, options())
            .await
            .map(drop)
    }

    pub(crate) async fn destroy(&self, id: &str) -> Answer {
        let request = rpc::DestroySandboxRequest {
            sandbox_id: id.to_owned(),
            ..Default::default()
        };
        self.0
            .destroy_sandbox_with_options(request, options())
            .await
            .map(drop)
    }

    /// Puts it under a policy that forbids the internet.
    pub(crate) async fn forbid_internet(&self, id: &str) -> Answer {
        let request = rpc::SetNetworkRequest {
            sandbox_id: id.to_owned(),
            network: Some(rpc::NetworkPolicy::default()).into(),
            ..Default::default()
        };
        self.0
            .set_network_with_options(request, options())
            .await
            .map(drop)
    }

    /// Whether it is there and under such a policy.
    pub(crate) async fn forbids_internet(&self, id: &str) -> Answer<bool> {
        let found = self.find(id).await?;
        Ok(found.is_some_and(|found| {
            found
                .network
                .as_option()
                .is_some_and(|policy| !policy.internet)
        }))
    }

    /// The sandbox, if there is one.
    pub(crate) async fn find(&self, id: &str) -> Answer<Option<rpc::Sandbox>> {
        let request = rpc::ListSandboxesRequest {
            sandbox_ids: vec![id.to_owned()],
            ..Default::default()
        };
        let found = self
            .0
            .list_sandboxes_with_options(request, options())
            .await?;
        let mut found = found.into_owned().sandboxes;
        assert!(found.iter().all(|sandbox| sandbox.sandbox_id == id));
        Ok(found.pop())
    }

    /// What changes, as it changes, in the order of its telling; before that, everything.
    pub(crate) async fn watch(&self) -> Answer<impl Stream<Item = rpc::WatchSandboxesResponse>> {
        let request = rpc::WatchSandboxesRequest::default();
        let messages = self.0.watch_sandboxes(request).await?;
        Ok(stream::unfold(messages, |mut messages| async move {
            let message = messages.message().await.unwrap()?;
            Some((message.to_owned_message(), messages))
        }))
    }

    /// What a command of the guest prints.
    pub(crate) async fn exec(&self, id: &str, command: &[&str]) -> Answer<String> {
        let request = rpc::ExecRequest {
            sandbox_id: id.to_owned(),
            cmd: command[0].to_owned(),
            args: command[1..].iter().map(|arg| (*arg).to_owned()).collect(),
            ..Default::default()
        };
        let answer = self.0.exec_with_options(request, options()).await?;
        Ok(String::from_utf8_lossy(&answer.into_owned().stdout).into_owned())
    }

    /// How the guest counts.
    pub(crate) async fn count(&self, id: &str) -> Answer<Count> {
        let text = self.exec(id, &["count"]).await?;
        serde_json::from_str(&text).map_err(|error| ConnectError::internal(error.to_string()))
    }

    /// An archive of its pause.
    pub(crate) async fn export(&self, id: &str) -> Answer<Vec<u8>> {
        let request = rpc::ExportSnapshotRequest {
            sandbox_id: id.to_owned(),
            ..Default::default()
        };
        let mut pieces = self
            .0
            .export_snapshot_with_options(request, options())
            .await?;
        let mut archive = Vec::new();
        while let Some(piece) = pieces.message().await? {
            archive.extend_from_slice(piece.view().chunk);
        }
        match pieces.error().cloned() {
            Some(error) => Err(error),
            None => Ok(archive),
        }
    }

    /// A sandbox of an archive.
    pub(crate) async fn import(&self, id: &str, archive: &[u8]) -> Answer {
        let meta = rpc::import_snapshot_request::Meta {
            sandbox_id: id.to_owned(),
            ..Default::default()
        };
        let parts = [
            Part::from(meta),
            Part::Chunk(archive.to_vec()),
            Part::Complete(true),
        ];
        let requests = parts.map(|part| rpc::ImportSnapshotRequest {
            part: Some(part),
            ..Default::default()
        });
        let requests = stream::iter(requests);
        self.0
            .import_snapshot_with_options(requests, options())
            .await
            .map(drop)
    }

    /// What the agent counts.
    pub(crate) async fn metrics(&self) -> Answer<String> {
        let request = rpc::HostMetricsRequest::default();
        let answer = self.0.host_metrics_with_options(request, options()).await?;
        Ok(answer.into_owned().text)
    }

    /// Takes everything down.
    pub(crate) async fn shutdown(&self) -> Answer {
        let request = rpc::ShutdownRequest::default();
        self.0
            .shutdown_with_options(request, options())
            .await
            .map(drop)
    }
}

fn options() -> CallOptions {
    CallOptions::default().with_timeout(LIMIT)
}
