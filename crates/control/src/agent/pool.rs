//! What the host has stand ready for creations.

use wrenn_hostagent_api as rpc;
use wrenn_model::{ErrorKind, Fault, MiB, TemplateName};

use super::{AgentClient, CREATE, DESTROY, SHORT, from_agent, moving, options, within};

impl AgentClient {
    /// What stands ready.
    pub(crate) async fn pools(&self) -> Result<rpc::ListPoolsResponse, Fault> {
        let lease = self.connections.lease();
        let answer = within(
            SHORT,
            lease
                .client()
                .list_pools_with_options(rpc::ListPoolsRequest::default(), options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        Ok(answer)
    }

    /// Has so many sandboxes of a shape stand ready, and so many VMMs stand by behind them.
    pub(crate) async fn warm_pool(
        &self,
        template: &TemplateName,
        vcpus: u32,
        memory: MiB,
        count: u32,
        started: u32,
    ) -> Result<rpc::Pool, Fault> {
        let lease = self.connections.lease();
        let request = rpc::WarmPoolRequest {
            template: template.to_string(),
            vcpus,
            memory_mb: memory.0,
            count,
            started,
            ..Default::default()
        };
        // A boot for the image, and then as many restores.
        let starts = count.saturating_add(started).saturating_add(1);
        let limit = CREATE + moving(memory).saturating_mul(starts);
        let answer = within(
            limit,
            lease.client().warm_pool_with_options(request, options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        answer.pool.into_option().ok_or_else(|| {
            Fault::new(
                ErrorKind::AgentError,
                "the host agent warmed a pool and did not say which",
                "see that server and agent are of one version",
            )
        })
    }

    /// Gives back what stands ready: of a template or of all, of this many vCPUs and so much memory or of any. Answers how many.
    pub(crate) async fn drain_pools(
        &self,
        template: Option<&TemplateName>,
        vcpus: Option<u32>,
        memory: Option<MiB>,
    ) -> Result<u32, Fault> {
        let lease = self.connections.lease();
        let request = rpc::DrainPoolRequest {
            template: template.map(ToString::to_string).unwrap_or_default(),
            vcpus: vcpus.unwrap_or_default(),
            memory_mb: memory.map_or(0, |memory| memory.0),
            ..Default::default()
        };
        let answer = within(
            DESTROY,
            lease.client().drain_pool_with_options(request, options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        Ok(answer.drained)
    }
}
