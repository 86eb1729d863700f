//! Forks: one call for all children of a sandbox.

use std::collections::HashMap;

use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, MiB, SandboxId};

use super::fault::from_detail;
use super::{AgentClient, CREATE, from_agent, moving, options, unnamed, within};

/// What came of each child, by its id.
pub(crate) type Children = HashMap<String, Result<rpc::Sandbox, Fault>>;

impl AgentClient {
    /// Makes children of a sandbox with so much memory, which goes on as it was.
    pub(crate) async fn fork(
        &self,
        id: &SandboxId,
        memory: MiB,
        children: Vec<rpc::ForkChild>,
    ) -> Result<(Children, rpc::ForkResponse), Fault> {
        let lease = self.connections.lease();
        // They wait for their turns, and at the worst come up one after the other.
        let starts = u32::try_from(children.len()).unwrap_or(u32::MAX);
        let limit = CREATE + moving(memory).saturating_mul(starts.saturating_add(1));
        let request = rpc::ForkRequest {
            sandbox_id: id.to_string(),
            children,
            ..Default::default()
        };
        let answer = within(limit, lease.client().fork_with_options(request, options())).await;
        let mut answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        let results = std::mem::take(&mut answer.results).into_iter();
        let children = results.map(|result| (result.sandbox_id.clone(), came_to(result)));
        Ok((children.collect(), answer))
    }
}

/// What came of one child.
fn came_to(result: rpc::ForkResult) -> Result<rpc::Sandbox, Fault> {
    if let Some(sandbox) = result.sandbox.into_option() {
        return Ok(sandbox);
    }
    let failure = result.failure.into_option();
    let Some(failure) = failure else {
        return Err(unnamed("made"));
    };
    let detail = failure.detail.into_option().unwrap_or_default();
    Err(from_detail(detail, Some(failure.message)))
}

#[cfg(test)]
mod tests {
    use wrenn_model::ErrorKind;

    use super::*;

    #[test]
    fn a_child_that_came_to_nothing_says_why() {
        let failure = rpc::ForkFailure {
            detail: rpc::ErrorDetail {
                code: "host_busy".into(),
                remedy: "wait".into(),
                retry_after_sec: Some(7),
                ..Default::default()
            }
            .into(),
            message: "no place".into(),
            ..Default::default()
        };
        let result = rpc::ForkResult {
            failure: failure.into(),
            ..Default::default()
        };
        let fault = Fault::new(ErrorKind::HostBusy, "no place", "wait").retry_after(7);
        assert_eq!(came_to(result).unwrap_err(), fault);
        let neither = came_to(rpc::ForkResult::default()).unwrap_err();
        assert_eq!(neither.kind, ErrorKind::AgentError);
    }
}
