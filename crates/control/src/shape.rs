//! How many virtual CPUs and how much memory a sandbox has: what its creator says, or the default, or what its snapshot has.

use wrenn_hostagent_api as rpc;
use wrenn_model::{ErrorKind, Fault, MiB, TeamName, TemplateName};

use crate::Limits;
use crate::agent::AgentClient;
use crate::templates::{self, Template, no_template};

/// What a host has to make sandboxes from, and of which size.
pub(crate) struct Shapes<'a> {
    limits: &'a Limits,
    health: rpc::HealthResponse,
    templates: Vec<Template>,
}

impl<'a> Shapes<'a> {
    /// Asks the host.
    ///
    /// # Errors
    /// `unavailable` while its agent is not ready, and when it does not answer.
    pub(crate) async fn of(agent: &AgentClient, limits: &'a Limits) -> Result<Self, Fault> {
        let (health, templates) = tokio::join!(agent.health(), templates::all(agent));
        let health = health?;
        if !health.ready {
            return Err(Fault::new(
                ErrorKind::Unavailable,
                "the host agent is starting or ending",
                "ask again shortly",
            ));
        }
        Ok(Self {
            limits,
            health,
            templates: templates?,
        })
    }

    /// What a sandbox from this template has, for who is bound to this team or to none.
    ///
    /// # Errors
    /// `not_found` without the template; `invalid_request` beyond what the host has.
    pub(crate) fn find(
        &self,
        template: &TemplateName,
        only: Option<&TeamName>,
        vcpus: Option<u32>,
        memory: Option<MiB>,
    ) -> Result<(u32, MiB), Fault> {
        let named = |known: &&Template| known.name == template.as_str() && known.is_seen_by(only);
        let known = self.templates.iter().find(named);
        let known = known.ok_or_else(|| no_template(template))?;
        let vcpus = known.vcpus.or(vcpus).unwrap_or(self.limits.vcpus);
        let memory = known.memory.or(memory).unwrap_or(self.limits.memory);
        let host_memory = u32::try_from(self.health.memory_mb).unwrap_or(u32::MAX);
        within("vcpus", vcpus, 1, self.health.cpus.max(1))?;
        within("memory_mb", memory.0, self.limits.min_memory.0, host_memory)?;
        Ok((vcpus, memory))
    }
}

/// Refuses a number that is out of these bounds.
pub(crate) fn within(field: &str, given: u32, min: u32, max: u32) -> Result<(), Fault> {
    if (min..=max).contains(&given) {
        return Ok(());
    }
    Err(Fault::new(
        ErrorKind::InvalidRequest,
        format!("{field} is {given}"),
        format!("give {min} to {max}, which is what this host allows"),
    ))
}
