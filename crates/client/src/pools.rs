//! What the host has stand ready for creations.

use http::Method;
use wrenn_api::{Drained, Pool, Pools, WarmPool};

use crate::transport::escape;
use crate::{Client, Result};

const POOLS: &str = "/v1/pools";

impl Client {
    /// What stands ready now.
    pub async fn pools(&self) -> Result<Pools> {
        let answer = self.call(Method::GET, POOLS).await?;
        self.json(answer).await
    }

    /// Has so many sandboxes of a shape stand ready, and waits until they do.
    pub async fn warm_pool(&self, request: &WarmPool) -> Result<Pool> {
        let call = self.once(Method::POST, POOLS).with(request)?;
        call.send().await?.json()
    }

    /// Gives back what stands ready: of a template or of all, of this many vCPUs and so much memory in MiB or of any.
    pub async fn drain_pools(
        &self,
        template: Option<&str>,
        vcpus: Option<u32>,
        memory_mb: Option<u32>,
    ) -> Result<Drained> {
        let shape = [
            template.map(|name| format!("template={}", escape(name))),
            vcpus.map(|vcpus| format!("vcpus={vcpus}")),
            memory_mb.map(|memory_mb| format!("memory_mb={memory_mb}")),
        ];
        let shape: Vec<_> = shape.into_iter().flatten().collect();
        let path = match shape.as_slice() {
            [] => POOLS.to_owned(),
            shape => format!("{POOLS}?{}", shape.join("&")),
        };
        self.once(Method::DELETE, path).send().await?.json()
    }
}
