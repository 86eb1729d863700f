//! What a sandbox gets when its creator says nothing, what it may get at most, and the pace of the house-keeping.

use std::time::Duration;

use wrenn_model::{MiB, TemplateName};

/// Defaults, bounds and paces. The most vCPUs and memory a sandbox may have are the host's.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What a sandbox is made from; `None` means `minimal`.
    pub template: Option<TemplateName>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory.
    pub memory: MiB,
    /// The least memory that a guest boots in.
    pub min_memory: MiB,
    /// Seconds without activity after which what a sandbox's `on_timeout` says happens.
    pub timeout_sec: u32,
    /// The most seconds that may be asked for.
    pub max_timeout_sec: u32,
    /// Between two looks of the reconciler at everything, while the agent does not tell what changes; else at what is under way.
    pub sweep_every: Duration,
    /// Where servers share a database: how long one may take from writing what it is about to ask the agent for until the
    /// agent shows it. After that it is held for dead.
    pub others_take: Duration,
    /// How long a sandbox that stopped, or that failed and of which nothing is left, stays in lists.
    pub keep_stopped: Duration,
    /// How long events may be asked for.
    pub keep_events: Duration,
    /// How long the record of calls is kept.
    pub keep_audit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            template: None,
            vcpus: 1,
            memory: MiB(512),
            min_memory: MiB(64),
            timeout_sec: 300,
            max_timeout_sec: 30 * 24 * 3600,
            sweep_every: Duration::from_secs(5),
            others_take: Duration::from_secs(15),
            keep_stopped: Duration::from_secs(7 * 24 * 3600),
            keep_events: Duration::from_secs(30 * 24 * 3600),
            keep_audit: Duration::from_secs(365 * 24 * 3600),
        }
    }
}

impl Limits {
    /// The template of a sandbox whose creator names none.
    pub(crate) fn default_template(&self) -> TemplateName {
        #[expect(clippy::expect_used, reason = "a valid name, by a test")]
        self.template
            .clone()
            .unwrap_or_else(|| "minimal".parse().expect("a valid name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimal_is_the_default() {
        assert_eq!(Limits::default().default_template().as_str(), "minimal");
    }
}
