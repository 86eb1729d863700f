//! Making a sandbox: two durable writes around one call.
//!
//! The row is written as pending before the agent is asked. The work runs in a task of its own: a caller that goes
//! away is a message to it, never a cut in the middle.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wrenn_hostagent_api as rpc;
use wrenn_model::{
    ErrorKind, Fault, MiB, NetworkPolicy, OnTimeout, SandboxId, Status, TemplateName, Transition,
};
use wrenn_store::{Admitted, Sandbox, millis};

use super::pause::{StepTime, steps};
use super::quota::beyond;
use super::{Sandboxes, overtaken};
use crate::agent::policy_message;
use crate::fault::store_fault;
use crate::flight::Flight;
use crate::reconcile::rules;
use crate::request::{self, carried};
use crate::shape::{self, within};

/// What a caller asks for. What is `None` has a default in [`crate::Limits`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSandbox {
    /// Its id, where that was chosen before.
    pub id: Option<SandboxId>,
    /// What it is made from.
    pub template: Option<TemplateName>,
    /// Virtual CPUs.
    pub vcpus: Option<u32>,
    /// Guest memory.
    pub memory: Option<MiB>,
    /// Seconds without activity after which `on_timeout` happens.
    pub timeout_sec: Option<u32>,
    /// What happens then.
    pub on_timeout: OnTimeout,
    /// A call into the paused sandbox resumes it first.
    pub auto_resume: bool,
    /// Where its packets may go.
    pub network: NetworkPolicy,
    /// The guest's host name.
    pub hostname: Option<String>,
    /// The caller's own labels.
    pub metadata: BTreeMap<String, String>,
    /// Variables for every process in the guest.
    pub envs: BTreeMap<String, String>,
    /// Boots from the template's disk, whatever there is that would be faster.
    pub cold: bool,
}

/// Whether the caller stays until the sandbox runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It does; when it goes away before that, the sandbox is unwound.
    Running,
    /// It looks for itself how far it is.
    Accepted,
}

/// A sandbox after its creation, or at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// As it is now.
    pub sandbox: Sandbox,
    /// How long the wait for its turn and each step took; empty while it is pending.
    pub steps: Vec<StepTime>,
}

/// What the agent is told once, and no row has.
struct Asked {
    envs: BTreeMap<String, String>,
    cold: bool,
    /// It goes on when its creator hangs up.
    detached: bool,
}

impl Sandboxes {
    /// Makes a sandbox. Answers with it running, or pending when the caller did not want to wait.
    ///
    /// # Errors
    /// `invalid_request` beyond the host's size, `not_found` without the template, both without a trace; `unavailable`
    /// without the agent, `resource_exhausted` beyond a limit of its team, likewise; `host_busy`, without a trace where the caller waits for it; else what became of it is
    /// in its row.
    pub async fn create(&self, new: NewSandbox, wait: Wait) -> Result<Created, Fault> {
        self.core.open_for_work()?;
        let asked = Asked {
            envs: new.envs.clone(),
            cold: new.cold,
            detached: wait == Wait::Accepted,
        };
        let row = self.plan(new).await?;
        self.room_on_disk(&row).await?;
        let gone = CancellationToken::new();
        let (tell, accepted) = oneshot::channel();
        let work = self.clone().admit(row, asked, tell, gone.clone());
        let task = self.core.tasks.spawn(carried(work));
        // Dropped with this future when the caller hangs up.
        let caller = gone.drop_guard();
        if wait == Wait::Accepted {
            // Who is not told is refused.
            let accepted = accepted.await;
            caller.disarm();
            if let Ok(sandbox) = accepted {
                let steps = Vec::new();
                return Ok(Created { sandbox, steps });
            }
        }
        task.await.unwrap_or_else(|error| Err(broken(&error)))
    }

    /// Writes the row, which is told, and starts what it says. In a task of its own: what is written is begun or taken back,
    /// whether its caller still waits or not.
    async fn admit(
        self,
        row: Sandbox,
        asked: Asked,
        accepted: oneshot::Sender<Sandbox>,
        gone: CancellationToken,
    ) -> Result<Created, Fault> {
        let flight = self.core.flights.begin(&row.id);
        let admitted = self.core.store().admit(&row).await;
        if let Admitted::Refused(exceeded) = admitted.map_err(|error| store_fault(&error))? {
            return Err(beyond(&row, exceeded));
        }
        // Who waits until it runs does not listen.
        drop(accepted.send(row.clone()));
        let request = request(&row, asked);
        self.start(row, request, gone, flight).await
    }

    /// The row as it would be, if host and templates allow it. Nothing is written yet.
    async fn plan(&self, new: NewSandbox) -> Result<Sandbox, Fault> {
        let limits = &self.core.limits;
        let template = new.template.unwrap_or_else(|| limits.default_template());
        let (agent, only) = (&self.core.agent, self.only.as_ref());
        let shape = shape::of(agent, limits, &template, only, new.vcpus, new.memory);
        let (vcpus, memory) = shape.await?;
        let timeout_sec = new.timeout_sec.unwrap_or(limits.timeout_sec);
        within("timeout_sec", timeout_sec, 1, limits.max_timeout_sec)?;
        let now = self.core.store.now_ms();
        let asked = now.saturating_sub(request::age().map_or(0, millis));
        Ok(Sandbox {
            id: new.id.unwrap_or_else(SandboxId::random),
            // It waits for its turn to start beside those of other teams.
            owner_id: self.maker.to_string(),
            template,
            parent_id: None,
            vcpus,
            memory,
            timeout_sec,
            on_timeout: new.on_timeout,
            auto_resume: new.auto_resume,
            hostname: new.hostname.unwrap_or_else(|| "sandbox".to_owned()),
            network: new.network,
            metadata: new.metadata,
            status: Status::Pending,
            transition: Some(Transition::Starting),
            status_reason: String::new(),
            guest_ip: String::new(),
            host_ip: String::new(),
            isolation: String::new(),
            vmm: String::new(),
            created_at_ms: asked,
            started_at_ms: None,
            last_active_at_ms: None,
            paused_at_ms: None,
            lost_since_ms: None,
            last_updated_ms: now,
            version: 1,
        })
    }

    /// Asks the agent and writes what came of it.
    async fn start(
        self,
        row: Sandbox,
        request: rpc::CreateSandboxRequest,
        gone: CancellationToken,
        _flight: Flight,
    ) -> Result<Created, Fault> {
        let detached = request.detached;
        let outcome = tokio::select! {
            outcome = self.core.agent.create(request) => outcome,
            () = gone.cancelled(), if !detached => {
                return self.unwind(row, "its creator went away").await;
            }
        };
        match outcome {
            Ok((seen, times)) => Ok(Created {
                sandbox: self.started(row, &seen, detached).await?,
                steps: steps(times),
            }),
            Err(fault) => {
                self.failed(row, &fault, detached).await?;
                Err(fault)
            }
        }
    }

    /// Writes that it runs, unless somebody has deleted it meanwhile, perhaps before the agent had heard of it.
    pub(super) async fn started(
        &self,
        row: Sandbox,
        seen: &rpc::Sandbox,
        detached: bool,
    ) -> Result<Sandbox, Fault> {
        let id = row.id.clone();
        let written = self.change(row, |row| {
            overtaken(row)?;
            row.status = Status::Running;
            row.transition = None;
            rules::refresh(row, seen);
            Ok(true)
        });
        match written.await {
            Ok(running) => Ok(running),
            // Its creator was told that it is accepted: the reconciler writes that it runs.
            Err(fault) if detached && fault.kind != ErrorKind::Conflict => Err(fault),
            Err(fault) => {
                self.core.agent.destroy(&id).await?;
                Err(fault)
            }
        }
    }

    pub(super) async fn failed(
        &self,
        row: Sandbox,
        fault: &Fault,
        detached: bool,
    ) -> Result<(), Fault> {
        tracing::info!(sandbox = %row.id, %fault, "not created");
        match fault.kind {
            // Nothing was begun, and whoever waits hears of it.
            ErrorKind::NotFound | ErrorKind::InvalidRequest | ErrorKind::InvalidState => {
                self.forget(&row).await?;
            }
            ErrorKind::HostBusy if !detached => self.forget(&row).await?,
            // Nobody knows how far it came.
            ErrorKind::Unavailable | ErrorKind::Timeout => {
                let told = self.unwind(row, &fault.message).await;
                tracing::debug!(?told, "unwound");
            }
            _ => {
                let mut failed = rules::stopped(&row, &fault.message, self.core.store.now_ms());
                failed.status = Status::Error;
                self.core
                    .store()
                    .update(&mut failed)
                    .await
                    .map_err(|error| store_fault(&error))?;
            }
        }
        Ok(())
    }

    async fn forget(&self, row: &Sandbox) -> Result<(), Fault> {
        let gone = rules::stopped(row, &row.status_reason, self.core.store.now_ms());
        let removed = self.core.store().remove(&gone).await;
        removed.map(drop).map_err(|error| store_fault(&error))
    }

    /// Sees to it that nothing is left. What cannot be done now, the reconciler does: the row says so.
    pub(super) async fn unwind(&self, row: Sandbox, reason: &str) -> Result<Created, Fault> {
        let id = row.id.clone();
        if let Some(row) = self.mark(row, reason).await? {
            self.core.agent.destroy(&id).await?;
            self.bury(&row).await?;
        }
        Err(Fault::new(
            ErrorKind::Conflict,
            format!("sandbox {id} was unwound: {reason}"),
            "create another",
        ))
    }
}

fn request(row: &Sandbox, asked: Asked) -> rpc::CreateSandboxRequest {
    rpc::CreateSandboxRequest {
        template: row.template.to_string(),
        vcpus: row.vcpus,
        memory_mb: row.memory.0,
        timeout_sec: row.timeout_sec,
        sandbox_id: row.id.to_string(),
        metadata: row.metadata.clone().into_iter().collect(),
        envs: asked.envs.into_iter().collect(),
        hostname: row.hostname.clone(),
        detached: asked.detached,
        owner_id: row.owner_id.clone(),
        on_timeout: row.on_timeout.as_str().to_owned(),
        auto_resume: row.auto_resume,
        network: policy_message(&row.network).into(),
        cold: asked.cold,
        asked_unix_ms: row.created_at_ms,
        ..Default::default()
    }
}

/// A task that panicked.
pub(super) fn broken(error: &tokio::task::JoinError) -> Fault {
    tracing::error!(%error, "an operation's task failed");
    Fault::new(
        ErrorKind::Internal,
        "the operation failed",
        "report it, with the request id",
    )
}
