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
pub(crate) const MEMORY_MB: u32 = 128;

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

    /// One that boots.
    pub(crate) async fn create(&self, id: &str) -> Answer {
        let request = rpc::CreateSandboxRequest {
            cold: true,
            ..shaped(TEMPLATE, MEMORY_MB)
        };
        self.make(id, request).await
    }

    /// One of a template or a snapshot, in whatever way it comes to be.
    pub(crate) async fn create_from(&self, id: &str, template: &str, memory_mb: u32) -> Answer {
        self.make(id, shaped(template, memory_mb)).await
    }

    async fn make(&self, id: &str, request: rpc::CreateSandboxRequest) -> Answer {
        let request = rpc::CreateSandboxRequest {
            sandbox_id: id.to_owned(),
            ..request
        };
        self.0
            .create_sandbox_with_options(request, options())
            .await
            .map(drop)
    }

    pub(crate) async fn snapshot(&self, id: &str, name: &str) -> Answer {
        self.snapshot_as(id, name, false).await
    }

    /// A snapshot under a name that there may be already.
    pub(crate) async fn overwrite(&self, id: &str, name: &str) -> Answer {
        self.snapshot_as(id, name, true).await
    }

    async fn snapshot_as(&self, id: &str, name: &str, overwrite: bool) -> Answer {
        let request = rpc::CreateSnapshotRequest {
            sandbox_id: id.to_owned(),
            name: name.to_owned(),
            overwrite,
            ..Default::default()
        };
        self.0
            .create_snapshot_with_options(request, options())
            .await
            .map(drop)
    }

    pub(crate) async fn delete_snapshot(&self, name: &str) -> Answer {
        let request = rpc::DeleteSnapshotRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        self.0
            .delete_snapshot_with_options(request, options())
            .await
            .map(drop)
    }

    /// The names of all snapshots.
    pub(crate) async fn snapshots(&self) -> Answer<Vec<String>> {
        let request = rpc::ListTemplatesRequest::default();
        let listed = self
            .0
            .list_templates_with_options(request, options())
            .await?;
        let templates = listed.into_owned().templates.into_iter();
        let snapshots = templates.filter(|template| template.r#type == "snapshot");
        Ok(snapshots.map(|template| template.name).collect())
    }

    /// Makes one child. That it could not come to be is an error, too.
    pub(crate) async fn fork(&self, id: &str, child: &str) -> Answer {
        let child = rpc::ForkChild {
            sandbox_id: child.to_owned(),
            timeout_sec: 3600,
            ..Default::default()
        };
        let request = rpc::ForkRequest {
            sandbox_id: id.to_owned(),
            children: vec![child],
            ..Default::default()
        };
        let forked = self.0.fork_with_options(request, options()).await?;
        for result in forked.into_owned().results {
            if let Some(failure) = result.failure.as_option() {
                return Err(ConnectError::internal(failure.message.clone()));
            }
        }
        Ok(())
    }

    /// Has so many of the smallest shape stand ready, and so many VMMs stand by behind them.
    pub(crate) async fn warm(&self, count: u32, started: u32) -> Answer {
        let request = rpc::WarmPoolRequest {
            template: TEMPLATE.to_owned(),
            vcpus: 1,
            memory_mb: MEMORY_MB,
            count,
            started,
            ..Default::default()
        };
        self.0
            .warm_pool_with_options(request, options())
            .await
            .map(drop)
    }

    /// Has nothing stand ready any more.
    pub(crate) async fn drain(&self) -> Answer {
        let request = rpc::DrainPoolRequest::default();
        self.0
            .drain_pool_with_options(request, options())
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

/// What is asked for, but for its id.
fn shaped(template: &str, memory_mb: u32) -> rpc::CreateSandboxRequest {
    rpc::CreateSandboxRequest {
        template: template.to_owned(),
        vcpus: 1,
        memory_mb,
        timeout_sec: 3600,
        hostname: "sandbox".to_owned(),
        ..Default::default()
    }
}

fn options() -> CallOptions {
    CallOptions::default().with_timeout(LIMIT)
}
