//! What can be said of measurements.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    pub(crate) what: Measured,
    /// How often each is done.
    #[arg(short, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) n: u32,
    /// The template of the sandboxes that are measured.
    #[arg(long, default_value = "minimal")]
    pub(crate) template: String,
    /// How many sandboxes `api` makes.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) sandboxes: u32,
    /// Measure through the API alone: no root is needed, and nothing stands beside the figures.
    #[arg(long)]
    pub(crate) api_only: bool,
    /// Exit with 1 when a goal is missed.
    #[arg(long)]
    pub(crate) check: bool,
}

/// What `wrenn bench` can measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Measured {
    /// From the request for a sandbox to the first exit code out of it.
    Create,
    /// One short command.
    Exec,
    /// 256 MiB up and down.
    Transfer,
    /// Until nothing of a sandbox exists.
    Delete,
    /// Memory and disk put aside, and until the first exit code after that.
    Pause,
    /// The jail, and what of a create is no step of it.
    Overhead,
    /// 50 sandboxes that come and go, 10 at a time, and what is left of them; agent and server when idle.
    Churn,
    /// What the control plane itself does and takes: thousands of sandboxes, over an agent that has no machines.
    Api,
    /// All of them but `api`.
    All,
}
