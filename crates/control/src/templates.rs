//! What sandboxes are made from: the base templates that stand on the host.

use wrenn_model::{Fault, TemplateName};

use crate::agent::AgentClient;

/// A base template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Bytes that it takes on the disk, holes not counted.
    pub size_bytes: u64,
    /// When it was made, in milliseconds since the epoch.
    pub created_at_ms: i64,
}

/// The templates of this installation.
#[derive(Debug, Clone)]
pub struct Templates {
    agent: AgentClient,
}

impl Templates {
    pub(crate) fn new(agent: AgentClient) -> Self {
        Self { agent }
    }

    /// Every template, by name.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn list(&self) -> Result<Vec<Template>, Fault> {
        let mut templates: Vec<Template> = self
            .agent
            .templates()
            .await?
            .into_iter()
            .map(|template| Template {
                name: template.name,
                size_bytes: template.size_bytes,
                created_at_ms: template.created_at_unix_ms,
            })
            .collect();
        templates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(templates)
    }

    /// Removes a template's name. Sandboxes made from it go on.
    ///
    /// # Errors
    /// `not_found` when there is none; others when the agent does not do it.
    pub async fn delete(&self, name: &TemplateName) -> Result<(), Fault> {
        self.agent.delete_template(name).await
    }
}
