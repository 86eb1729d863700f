//! Pools: what the host has stand ready for creations. They are the whole installation's.

use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, MiB, TemplateName};

use crate::Limits;
use crate::agent::AgentClient;
use crate::shape;

/// What stands ready of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// What its sandboxes are made from.
    pub template: String,
    /// Virtual CPUs of each.
    pub vcpus: u32,
    /// Memory of each.
    pub memory: MiB,
    /// How many are to stand ready.
    pub wanted: u32,
    /// How many do.
    pub ready: u32,
    /// How many VMM processes are to wait for what to run.
    pub wanted_started: u32,
    /// How many do.
    pub started: u32,
    /// Bytes of its boot image; `None` while there is none.
    pub image_bytes: Option<u64>,
    /// Creations that found something ready, since the agent began.
    pub hits: u64,
    /// Those that did not.
    pub misses: u64,
    /// The host's configuration names it.
    pub configured: bool,
}

/// What stands ready on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// By shape.
    pub pools: Vec<Pool>,
    /// Network slots.
    pub slots: u32,
    /// Bytes that all boot images take.
    pub image_bytes: u64,
    /// Bytes that they may take.
    pub image_bytes_max: u64,
}

/// The pools of this installation.
#[derive(Debug, Clone)]
pub struct Pools {
    agent: AgentClient,
    limits: Limits,
}

impl Pools {
    pub(crate) fn new(agent: AgentClient, limits: Limits) -> Self {
        Self { agent, limits }
    }

    /// What stands ready.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn list(&self) -> Result<Ready, Fault> {
        let told = self.agent.pools().await?;
        Ok(Ready {
            pools: told.pools.into_iter().map(read).collect(),
            slots: told.slots,
            image_bytes: told.image_bytes,
            image_bytes_max: told.image_bytes_max,
        })
    }

    /// Has so many sandboxes of a shape stand ready, and so many VMMs stand by behind them, in the place of as many as did. What
    /// is `None` has a default in [`Limits`].
    ///
    /// # Errors
    /// `not_found` without the template; `invalid_request` beyond the host's size; or what the agent says.
    pub async fn warm(
        &self,
        template: &TemplateName,
        vcpus: Option<u32>,
        memory: Option<MiB>,
        count: u32,
        started: u32,
    ) -> Result<Pool, Fault> {
        let shape = shape::of(&self.agent, &self.limits, template, None, vcpus, memory);
        let (vcpus, memory) = shape.await?;
        let warmed = self
            .agent
            .warm_pool(template, vcpus, memory, count, started);
        let warmed = warmed.await?;
        tracing::info!(%template, vcpus, memory_mb = memory.0, count, started, "a pool stands ready");
        Ok(read(warmed))
    }

    /// Gives back what stands ready: of a template or of all, of this many vCPUs and so much memory or of any. Answers how
    /// many that were.
    ///
    /// # Errors
    /// When the agent does not do it.
    pub async fn drain(
        &self,
        template: Option<&TemplateName>,
        vcpus: Option<u32>,
        memory: Option<MiB>,
    ) -> Result<u32, Fault> {
        self.agent.drain_pools(template, vcpus, memory).await
    }
}

fn read(told: rpc::Pool) -> Pool {
    Pool {
        template: told.template,
        vcpus: told.vcpus,
        memory: MiB(told.memory_mb),
        wanted: told.wanted,
        ready: told.ready,
        wanted_started: told.wanted_started,
        started: told.started,
        image_bytes: told.image.then_some(told.image_bytes),
        hits: told.hits,
        misses: told.misses,
        configured: told.configured,
    }
}
