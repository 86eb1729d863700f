//! Forks: sandboxes that begin as what another is at one instant, with its memory, its disk and its processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wrenn_model::lifecycle::Copying;
use wrenn_model::{Fault, SandboxId, SandboxSpec};
use wrenn_snapshot::Generations;
use wrenn_sys::durable;

use crate::Agent;
use crate::handle::Handle;
use crate::sandbox::Copied;
use crate::steps::{Timings, blocking};

/// A child to come.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) id: SandboxId,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) timeout_sec: u32,
}

/// What came of a fork.
#[derive(Debug)]
pub(crate) struct Forked {
    /// One for each child, in their order.
    pub(crate) children: Vec<Result<Arc<Handle>, Fault>>,
    pub(crate) timings: Timings,
    pub(crate) frozen: Duration,
}

impl Agent {
    /// Makes children of a sandbox, which goes on as it was whatever becomes of them.
    pub(crate) async fn fork(&self, id: &str, children: Vec<Child>) -> Result<Forked, Fault> {
        let handle = self.find(id)?;
        // What has been done already takes no second capture.
        if children
            .iter()
            .all(|child| self.table.get(&child.id).is_some())
        {
            return Ok(self.forked_before(&children).await);
        }
        let parent = handle.spec.clone();
        let specs = children
            .iter()
            .cloned()
            .map(|child| spec_of(&parent, child));
        let _coming: Vec<_> = specs.map(|spec| self.expect(&spec)).collect();
        let folder = self.host.lent();
        let made = folder.clone();
        blocking(move || std::fs::create_dir_all(made))
            .await
            .map_err(|error| crate::failure::Failed::from(error).fault())?;
        let copied = handle.copy(Copying::Fork, Generations::of(&folder)).await;
        let forked = match copied {
            Ok(copied) => Ok(self.beget(&copied, &folder, children).await),
            Err(fault) => Err(fault),
        };
        // Whoever came to be has links of their own.
        if let Err(error) = blocking(move || durable::remove(&folder)).await {
            tracing::warn!(%error, "what children were begun from stays until the next start");
        }
        forked
    }

    async fn beget(
        &self,
        copied: &Copied,
        folder: &std::path::Path,
        children: Vec<Child>,
    ) -> Forked {
        let begun = children.into_iter().map(|child| {
            let spec = spec_of(&copied.spec, child);
            let generations = Generations::of(folder);
            async move {
                let lent = self.host.lend(generations).await?;
                let lent = lent.ok_or_else(|| crate::failure::internal("nothing was captured"))?;
                self.begin_from(spec, lent).await
            }
        });
        Forked {
            children: futures::future::join_all(begun).await,
            timings: copied.report.timings.clone(),
            frozen: copied.report.frozen,
        }
    }

    async fn forked_before(&self, children: &[Child]) -> Forked {
        let waited = children.iter().map(|child| async {
            let there = self.find(child.id.as_str())?;
            there.started().await?;
            Ok(there)
        });
        Forked {
            children: futures::future::join_all(waited).await,
            timings: Timings::new(),
            frozen: Duration::ZERO,
        }
    }
}

/// A child is what its parent is, under another id.
fn spec_of(parent: &SandboxSpec, child: Child) -> SandboxSpec {
    SandboxSpec {
        id: child.id,
        metadata: child.metadata,
        timeout_sec: child.timeout_sec,
        parent: Some(parent.id.clone()),
        ..parent.clone()
    }
}
