//! How many virtual CPUs and how much memory a sandbox has: what its creator says, or the default, or what its snapshot has.

use wrenn_model::{ErrorKind, Fault, MiB, TeamName, TemplateName};

use crate::Limits;
use crate::agent::AgentClient;
use crate::templates::{self, no_template};

/// How many virtual CPUs and how much memory a sandbox from this template has, for who is bound to this team or to none. The
/// host is asked what it has, and of its templates for this one alone.
///
/// # Errors
/// `unavailable` while the host's agent is not ready, and when it does not answer; `not_found` without the template;
/// `invalid_request` beyond what the host has.
pub(crate) async fn of(
    agent: &AgentClient,
    limits: &Limits,
    template: &TemplateName,
    only: Option<&TeamName>,
    vcpus: Option<u32>,
    memory: Option<MiB>,
) -> Result<(u32, MiB), Fault> {
    let (health, known) = tokio::join!(agent.health(), templates::named(agent, template));
    let health = health?;
    if !health.ready {
        return Err(Fault::new(
            ErrorKind::Unavailable,
            "the host agent is starting or ending",
            "ask again shortly",
        ));
    }
    let mut known = known?.into_iter();
    let known = known.find(|known| known.is_seen_by(only));
    let known = known.ok_or_else(|| no_template(template))?;
    let vcpus = known.vcpus.or(vcpus).unwrap_or(limits.vcpus);
    let memory = known.memory.or(memory).unwrap_or(limits.memory);
    let host_memory = u32::try_from(health.memory_mb).unwrap_or(u32::MAX);
    within("vcpus", vcpus, 1, health.cpus.max(1))?;
    within("memory_mb", memory.0, limits.min_memory.0, host_memory)?;
    Ok((vcpus, memory))
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
