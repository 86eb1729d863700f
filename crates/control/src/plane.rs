//! The control plane as one value: its services, its house-keeping, its end.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wrenn_model::{ErrorKind, Fault};
use wrenn_store::{DatabaseUrl, Store};

use crate::agent::{AgentAddress, AgentClient, Looks};
use crate::audit::Audit;
use crate::fault::{stopping, store_fault};
use crate::flight::Flights;
use crate::hosts::{self, Hosts, OpenError};
use crate::reconcile::{self, News, Waits};
use crate::request;
use crate::tail::{self, Tail};
use crate::{Caller, Calls, Events, Keys, Limits, Pools, Sandboxes, Teams, Templates};

/// How long [`ControlPlane::close`] waits for operations that are under way.
const GRACE: Duration = Duration::from_secs(10);
/// How long [`ControlPlane::check`] waits for the agent.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the services share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) agent: AgentClient,
    pub(crate) looks: Looks,
    pub(crate) limits: Limits,
    pub(crate) flights: Flights,
    pub(crate) news: News,
    pub(crate) waits: Waits,
    pub(crate) tail: Arc<Tail>,
    /// Work that must finish whether or not its caller still waits.
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: CancellationToken,
}

/// The control plane. Clones are the same one.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    core: Arc<Core>,
    keys: Keys,
    hosts: Hosts,
    audit: Audit,
    calls: Calls,
}

/// How the host's agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// It answers, and its recovery has ended.
    Ready,
    /// It answers, and is not yet in order after a start.
    Recovering,
    /// It does not answer.
    Unreachable,
    /// It speaks another major version of the contract than we do.
    Incompatible,
}

impl ControlPlane {
    /// Opens the database, makes its file when it is one and there is none, and begins to look after what the agent at the address
    /// has. The agent need not be there yet.
    ///
    /// # Errors
    /// When the database is not what it should be.
    pub async fn open(
        database: &DatabaseUrl,
        agent: AgentAddress,
        limits: Limits,
    ) -> Result<Self, OpenError> {
        let store = Store::open(database).await?;
        let authority = Arc::new(hosts::authority(&store).await?);
        let alone = !store.is_shared();
        let patience = if alone {
            Duration::ZERO
        } else {
            limits.others_take
        };
        let agent = AgentClient::new(agent, Arc::clone(&authority));
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let core = Arc::new(Core {
            looks: Looks::start(agent.clone(), &tasks, closing.clone()),
            agent,
            limits,
            flights: Flights::default(),
            news: News::default(),
            waits: Waits::new(patience),
            tail: Arc::default(),
            tasks,
            closing,
            store: store.clone(),
        });
        let (audit, clerk) = Audit::new(store.clone());
        let calls = Calls::new(store.clone(), core.tasks.clone());
        core.tasks.spawn(reconcile::run(Arc::clone(&core)));
        core.tasks.spawn(reconcile::news::listen(Arc::clone(&core)));
        let tail = Arc::clone(&core.tail);
        core.tasks
            .spawn(tail::run(tail, store.clone(), core.closing.clone()));
        core.tasks.spawn(clerk.run(core.closing.clone()));
        Ok(Self {
            keys: Keys::new(store.clone(), core.tasks.clone()),
            core,
            hosts: Hosts::new(store, authority),
            audit,
            calls,
        })
    }

    /// Sandboxes, from create to destroy, whosever they are.
    #[must_use]
    pub fn sandboxes(&self) -> Sandboxes {
        Sandboxes::new(Arc::clone(&self.core))
    }

    /// The sandboxes that this caller sees. What they make is their team's.
    #[must_use]
    pub fn sandboxes_of(&self, caller: &Caller) -> Sandboxes {
        Sandboxes::of(Arc::clone(&self.core), caller)
    }

    /// What sandboxes are made from, as far as this caller sees it.
    #[must_use]
    pub fn templates_of(&self, caller: &Caller) -> Templates {
        Templates::of(self.core.agent.clone(), caller)
    }

    /// What the host has stand ready.
    #[must_use]
    pub fn pools(&self) -> Pools {
        Pools::new(self.core.agent.clone(), self.core.limits.clone())
    }

    /// What becomes of the sandboxes that this caller sees.
    #[must_use]
    pub fn events_of(&self, caller: &Caller) -> Events {
        Events::of(Arc::clone(&self.core), caller)
    }

    /// Who did what.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Calls that are done once, however often they are sent.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Who may call.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whose sandboxes are, and what each team may have.
    #[must_use]
    pub fn teams(&self) -> Teams {
        Teams::new(self.core.store.clone())
    }

    /// Hosts on other machines, and how they join.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Whether the database answers, and how the agent is.
    ///
    /// # Errors
    /// `unavailable` or `db_error` when the database does not answer.
    pub async fn check(&self) -> Result<AgentState, Fault> {
        self.core
            .store
            .check()
            .await
            .map_err(|error| store_fault(&error))?;
        let health = tokio::time::timeout(PATIENCE, self.core.agent.health()).await;
        Ok(match health {
            Ok(Ok(health)) if health.ready => AgentState::Ready,
            Ok(Ok(_)) => AgentState::Recovering,
            Ok(Err(fault)) if fault.kind == ErrorKind::NotSupported => AgentState::Incompatible,
            Ok(Err(_)) | Err(_) => AgentState::Unreachable,
        })
    }

    /// What the agent counts and measures of itself, as OpenMetrics text without the line that ends it.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn host_metrics(&self) -> Result<String, Fault> {
        self.core.agent.host_metrics().await
    }

    /// Looks at what the agent has once, at once, instead of waiting for the next time.
    ///
    /// # Errors
    /// When the agent or the database does not answer; nothing has been changed by what was not seen.
    pub async fn reconcile(&self) -> Result<(), Fault> {
        reconcile::sweep(&self.core).await.map(drop)
    }

    /// Begins nothing new, gives what is under way ten seconds to end, and closes the database. Sandboxes run on.
    pub async fn close(&self) {
        self.core.closing.cancel();
        self.core.tasks.close();
        if tokio::time::timeout(GRACE, self.core.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.core.tasks.len(),
                "operations are cut off; the next start settles them"
            );
        }
        self.core.store.close().await;
    }
}

impl Core {
    /// The store, as the request that is being worked on uses it: what it writes is its doing.
    pub(crate) fn store(&self) -> Store {
        self.store.by(request::current())
    }

    /// Refuses what would begin while everything ends.
    pub(crate) fn open_for_work(&self) -> Result<(), Fault> {
        if self.closing.is_cancelled() {
            return Err(stopping());
        }
        Ok(())
    }
}
