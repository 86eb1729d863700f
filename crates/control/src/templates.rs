//! What sandboxes are made from: the base templates that stand on the host, which all teams share, and each team's snapshots.

use wrenn_hostagent_api as rpc;
use wrenn_model::{ErrorKind, Fault, MiB, Scope, TeamName, TemplateName};

use crate::agent::AgentClient;
use crate::{Caller, Need};

/// Where a template comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateKind {
    /// Built from a recipe.
    Base,
    /// Taken from a sandbox, with its memory.
    Snapshot,
}

/// Something that sandboxes are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub kind: TemplateKind,
    /// How many virtual CPUs its sandboxes have; `None` where each chooses.
    pub vcpus: Option<u32>,
    /// How much memory its sandboxes have; `None` where each chooses.
    pub memory: Option<MiB>,
    /// The team whose snapshot it is; empty for a base template.
    pub owner_id: String,
    /// Bytes that it takes on the disk, holes not counted.
    pub size_bytes: u64,
    /// When it was made, in milliseconds since the epoch.
    pub created_at_ms: i64,
}

impl Template {
    /// A template as the agent has it.
    pub(crate) fn read(told: rpc::Template) -> Self {
        let is_snapshot = told.r#type == "snapshot";
        Self {
            name: told.name,
            kind: if is_snapshot {
                TemplateKind::Snapshot
            } else {
                TemplateKind::Base
            },
            vcpus: Some(told.vcpus).filter(|_| is_snapshot),
            memory: Some(MiB(told.memory_mb)).filter(|_| is_snapshot),
            owner_id: told.owner_id,
            size_bytes: told.size_bytes,
            created_at_ms: told.created_at_unix_ms,
        }
    }

    /// Whether it is there for who is bound to this team, or to none.
    pub(crate) fn is_seen_by(&self, only: Option<&TeamName>) -> bool {
        self.kind == TemplateKind::Base || only.is_none_or(|team| team.as_str() == self.owner_id)
    }
}

/// The templates of this installation that one caller sees: other teams' snapshots are to them as if they were not.
#[derive(Debug, Clone)]
pub struct Templates {
    agent: AgentClient,
    caller: Caller,
}

impl Templates {
    pub(crate) fn of(agent: AgentClient, caller: &Caller) -> Self {
        Self {
            agent,
            caller: caller.clone(),
        }
    }

    /// Every template, by name.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn list(&self) -> Result<Vec<Template>, Fault> {
        let mut templates = all(&self.agent).await?;
        templates.retain(|template| template.is_seen_by(self.caller.bound_to()));
        templates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(templates)
    }

    /// One template; `None` where there is none.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn find(&self, name: &TemplateName) -> Result<Option<Template>, Fault> {
        let mut named = named(&self.agent, name).await?.into_iter();
        Ok(named.find(|template| template.is_seen_by(self.caller.bound_to())))
    }

    /// Removes a template's name. Sandboxes made from it go on.
    ///
    /// # Errors
    /// `not_found` when there is none; `forbidden` for a base template, unless the caller is of the team that runs the
    /// installation; others when the agent does not do it.
    pub async fn delete(&self, name: &TemplateName) -> Result<(), Fault> {
        let found = self.find(name).await?.ok_or_else(|| no_template(name))?;
        match found.kind {
            // Another team may have taken the name meanwhile.
            TemplateKind::Snapshot => self.agent.delete_snapshot(name, &found.owner_id).await,
            TemplateKind::Base => {
                // All teams share it.
                self.caller.may(Need::of_operator(Scope::Templates))?;
                self.agent.delete_template(name).await
            }
        }
    }
}

/// Every template of the host, whosever it is.
pub(crate) async fn all(agent: &AgentClient) -> Result<Vec<Template>, Fault> {
    let told = agent.templates(None).await?.into_iter();
    Ok(told.map(Template::read).collect())
}

/// Those of this name, whosever they are. An agent of a former release tells all.
pub(crate) async fn named(
    agent: &AgentClient,
    name: &TemplateName,
) -> Result<Vec<Template>, Fault> {
    let told = agent.templates(Some(name)).await?.into_iter();
    let of_name = told.filter(|told| told.name == name.as_str());
    Ok(of_name.map(Template::read).collect())
}

/// There is no template of this name, or it is another team's.
pub(crate) fn no_template(name: &TemplateName) -> Fault {
    Fault::new(
        ErrorKind::NotFound,
        format!("there is no template {name:?}"),
        "list the templates with GET /v1/snapshots, or build it with `wrenn template build`",
    )
}
