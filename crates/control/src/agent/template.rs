//! Templates of the host, and snapshots, which are templates that are taken from sandboxes.

use wrenn_hostagent_api as rpc;
use wrenn_model::{ErrorKind, Fault, MiB, SandboxId, TemplateName};

use super::{AgentClient, CREATE, DESTROY, SHORT, from_agent, moving, options, within};

impl AgentClient {
    /// The base templates of the host, and its snapshots; of a name, those of this name.
    pub(crate) async fn templates(
        &self,
        only: Option<&TemplateName>,
    ) -> Result<Vec<rpc::Template>, Fault> {
        let lease = self.connections.lease();
        let request = rpc::ListTemplatesRequest {
            name: only.map(ToString::to_string).unwrap_or_default(),
            ..Default::default()
        };
        let answer = within(
            SHORT,
            lease
                .client()
                .list_templates_with_options(request, options()),
        )
        .await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        Ok(answer.templates)
    }

    /// Removes the name of a template of any kind.
    pub(crate) async fn delete_template(&self, name: &TemplateName) -> Result<(), Fault> {
        let lease = self.connections.lease();
        let request = rpc::DeleteTemplateRequest {
            name: name.to_string(),
            ..Default::default()
        };
        within(
            DESTROY,
            lease
                .client()
                .delete_template_with_options(request, options()),
        )
        .await
        .map_err(from_agent)?;
        lease.give_back();
        Ok(())
    }

    /// Removes the name of this owner's snapshot, and of nothing else.
    pub(crate) async fn delete_snapshot(
        &self,
        name: &TemplateName,
        owner: &str,
    ) -> Result<(), Fault> {
        let lease = self.connections.lease();
        let request = rpc::DeleteSnapshotRequest {
            name: name.to_string(),
            owner_id: owner.to_owned(),
            ..Default::default()
        };
        within(
            DESTROY,
            lease
                .client()
                .delete_snapshot_with_options(request, options()),
        )
        .await
        .map_err(from_agent)?;
        lease.give_back();
        Ok(())
    }

    /// Makes a snapshot of a sandbox with so much memory, which goes on as it was.
    pub(crate) async fn snapshot(
        &self,
        id: &SandboxId,
        memory: MiB,
        name: &TemplateName,
        overwrite: bool,
    ) -> Result<(rpc::Template, rpc::CreateSnapshotResponse), Fault> {
        let lease = self.connections.lease();
        let request = rpc::CreateSnapshotRequest {
            sandbox_id: id.to_string(),
            name: name.to_string(),
            overwrite,
            ..Default::default()
        };
        // Its disk is copied, too, where the host cannot share it.
        let answer = within(
            CREATE + moving(memory),
            lease
                .client()
                .create_snapshot_with_options(request, options()),
        )
        .await;
        let mut answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        let template = std::mem::take(&mut answer.template).into_option();
        let template = template.ok_or_else(|| {
            Fault::new(
                ErrorKind::AgentError,
                "the host agent made a snapshot and did not say which",
                "see that server and agent are of one version",
            )
        })?;
        Ok((template, answer))
    }
}
