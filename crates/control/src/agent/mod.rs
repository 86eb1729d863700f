//! A typed client of the host's agent: its contract over a Unix socket, or over TLS.

mod address;
mod command;
mod connection;
mod dialer;
mod fault;
mod file;
mod fork;
mod looks;
mod metrics;
mod network;
mod pool;
mod template;
mod traced;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connectrpc::ConnectError;
use connectrpc::client::CallOptions;
use wrenn_hostagent_api::{self as rpc, protocol};
use wrenn_model::{ErrorKind, Fault, MiB, SandboxId};
use wrenn_pki::Authority;

pub use address::{AgentAddress, InvalidAddress};
pub use command::{Command, CommandEvent, CommandInput, CommandStream, ExecOutcome, Input};
pub use fault::from_agent;
pub use file::{FileStream, Upload};
pub use metrics::{MachineUsage, Usage};

pub(crate) use fork::Children;
pub(crate) use looks::Looks;
pub(crate) use watch::Change;

pub(crate) use network::{from_message as policy_of, to_message as policy_message};

use crate::request;
use connection::Connections;

/// Something that is done at once.
const SHORT: Duration = Duration::from_secs(10);
/// A boot, on a slow host under emulation.
const CREATE: Duration = Duration::from_secs(600);
/// A pause or a resume of a guest that has next to no memory, on a slow host under emulation.
const MOVE: Duration = Duration::from_secs(120);
/// How slowly a guest's memory is written or read at the worst, in MiB a second.
const MOVE_MIB_PER_SEC: u32 = 16;
/// Unmaking a sandbox, tried again while something holds on to it.
const DESTROY: Duration = Duration::from_secs(60);
/// What a command's own timeout is given on top, for the way there and back.
const EXEC_SLACK: Duration = Duration::from_secs(30);
/// Larger than two capped streams of a command.
const MESSAGE_BYTES: usize = 32 << 20;
/// Sandboxes' texts take memory; so many bytes of them are believed.
const LIST_BYTES: usize = 256 << 20;

/// Sandboxes as the agent had them at some moment.
pub(crate) type Sandboxes = HashMap<SandboxId, rpc::Sandbox>;

/// The host's agent.
#[derive(Debug, Clone)]
pub(crate) struct AgentClient {
    connections: Connections,
}

fn options() -> CallOptions {
    unlimited().with_max_message_size(MESSAGE_BYTES)
}

/// Bounds the time that a call takes, by the clock that bounds everything else here. When it is over the call is dropped, by
/// which the agent learns of it.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or_else(|_| Err(ConnectError::deadline_exceeded("its time is over")))
}

/// For a call that takes as long as it takes. Like every other it says for which request it is made.
fn unlimited() -> CallOptions {
    let options = CallOptions::default();
    match request::current() {
        Some(id) => options.with_header(protocol::REQUEST_ID, id.as_str()),
        None => options,
    }
}

/// How long a pause or a resume of so much memory may take.
pub(crate) fn moving(memory: MiB) -> Duration {
    MOVE + Duration::from_secs(u64::from(memory.0 / MOVE_MIB_PER_SEC))
}

/// The agent has done it, and does not say to what.
fn unnamed(done: &str) -> Fault {
    Fault::new(
        ErrorKind::AgentError,
        format!("the host agent {done} a sandbox and did not say which"),
        "see that server and agent are of one version",
    )
}

impl AgentClient {
    /// A client of the agent at this address. Connects when it is first used, and anew when that is needed.
    pub(crate) fn new(agent: AgentAddress, authority: Arc<Authority>) -> Self {
        Self {
            connections: Connections::new(agent, authority),
        }
    }

    /// What the host is and has.
    pub(crate) async fn health(&self) -> Result<rpc::HealthResponse, Fault> {
        let lease = self.connections.lease();
        let answer = within(
            SHORT,
            lease
                .client()
                .health_with_options(rpc::HealthRequest::default(), options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        Ok(answer)
    }

    /// Makes a sandbox. Dropped before its end it is unwound, unless the request says `detached`.
    pub(crate) async fn create(
        &self,
        request: rpc::CreateSandboxRequest,
    ) -> Result<(rpc::Sandbox, Vec<rpc::StepTime>), Fault> {
        let lease = self.connections.lease();
        let answer = within(
            CREATE,
            lease
                .client()
                .create_sandbox_with_options(request, options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        let made = answer
            .sandbox
            .into_option()
            .ok_or_else(|| unnamed("made"))?;
        Ok((made, answer.steps))
    }

    /// Pauses a sandbox with so much memory. One that is paused already stays as it is.
    pub(crate) async fn pause(
        &self,
        id: &SandboxId,
        memory: MiB,
    ) -> Result<(rpc::Sandbox, rpc::PauseSandboxResponse), Fault> {
        let lease = self.connections.lease();
        let request = rpc::PauseSandboxRequest {
            sandbox_id: id.to_string(),
            ..Default::default()
        };
        let answer = within(
            moving(memory),
            lease
                .client()
                .pause_sandbox_with_options(request, options()),
        )
        .await;
        let mut answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        let sandbox = std::mem::take(&mut answer.sandbox).into_option();
        Ok((sandbox.ok_or_else(|| unnamed("paused"))?, answer))
    }

    /// Resumes a sandbox with so much memory, or boots it from its disk. One that runs already stays as it is.
    pub(crate) async fn resume(
        &self,
        id: &SandboxId,
        memory: MiB,
        cold: bool,
    ) -> Result<(rpc::Sandbox, rpc::ResumeSandboxResponse), Fault> {
        let lease = self.connections.lease();
        let request = rpc::ResumeSandboxRequest {
            sandbox_id: id.to_string(),
            cold,
            ..Default::default()
        };
        let limit = if cold { CREATE } else { moving(memory) };
        let answer = within(
            limit,
            lease
                .client()
                .resume_sandbox_with_options(request, options()),
        )
        .await;
        let mut answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        let sandbox = std::mem::take(&mut answer.sandbox).into_option();
        Ok((sandbox.ok_or_else(|| unnamed("resumed"))?, answer))
    }

    /// Unmakes a sandbox. Afterwards nothing of it exists, also when it never was.
    pub(crate) async fn destroy(&self, id: &SandboxId) -> Result<(), Fault> {
        let lease = self.connections.lease();
        let request = rpc::DestroySandboxRequest {
            sandbox_id: id.to_string(),
            ..Default::default()
        };
        within(
            DESTROY,
            lease
                .client()
                .destroy_sandbox_with_options(request, options()),
        )
        .await
        .map_err(from_agent)?;
        lease.give_back();
        Ok(())
    }

    /// All that the agent has now.
    pub(crate) async fn all(&self) -> Result<Sandboxes, Fault> {
        self.list(&[]).await
    }

    /// What the agent has of these now.
    pub(crate) async fn some(&self, ids: &[SandboxId]) -> Result<Sandboxes, Fault> {
        // Asked for none, it would tell of all.
        match ids {
            [] => Ok(Sandboxes::new()),
            ids => self.list(ids).await,
        }
    }

    async fn list(&self, ids: &[SandboxId]) -> Result<Sandboxes, Fault> {
        let lease = self.connections.lease();
        let options = options()
            .with_max_message_size(LIST_BYTES)
            .with_element_memory_limit(LIST_BYTES);
        let request = rpc::ListSandboxesRequest {
            sandbox_ids: ids.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let listed = lease.client().list_sandboxes_with_options(request, options);
        let answer = within(SHORT, listed).await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        let named =
            answer
                .sandboxes
                .into_iter()
                .filter_map(|sandbox| match sandbox.sandbox_id.parse() {
                    Ok(id) => Some((id, sandbox)),
                    Err(error) => {
                        tracing::warn!(%error, "the agent lists a sandbox that nobody can name");
                        None
                    }
                });
        Ok(named.collect())
    }

    /// Counts as use. Has `room` on top where the sandbox may have to be resumed first.
    pub(crate) async fn ping(&self, id: &SandboxId, room: Duration) -> Result<(), Fault> {
        let lease = self.connections.lease();
        let request = rpc::PingRequest {
            sandbox_id: id.to_string(),
            ..Default::default()
        };
        within(
            SHORT + room,
            lease.client().ping_with_options(request, options()),
        )
        .await
        .map_err(from_agent)?;
        lease.give_back();
        Ok(())
    }

    /// The last of a sandbox's serial console.
    pub(crate) async fn console(&self, id: &SandboxId) -> Result<Bytes, Fault> {
        let lease = self.connections.lease();
        let request = rpc::ConsoleRequest {
            sandbox_id: id.to_string(),
            ..Default::default()
        };
        let answer = within(
            SHORT,
            lease.client().console_with_options(request, options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        Ok(answer.content.into())
    }
}
