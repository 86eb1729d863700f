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
    /// How many sandboxes there are: 10000 for `api`, 100 for `burst`, 20 for `density`, 10 children for `fork`, unless this
    /// says otherwise.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) sandboxes: Option<u32>,
    /// How long `sustained` takes.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
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
    /// From the request for a sandbox to the first exit code out of it: from the pool, with an empty one, and booting.
    Create,
    /// One short command.
    Exec,
    /// 256 MiB up and down.
    Transfer,
    /// Until nothing of a sandbox exists.
    Delete,
    /// Memory and disk put aside, and until the first exit code after that.
    Pause,
    /// A guest that becomes many: how long it stands still, and when all children run commands.
    Fork,
    /// The jail, and what of a create is no step of it.
    Overhead,
    /// 50 sandboxes that come and go, 10 at a time, and what is left of them; agent and server when idle.
    Churn,
    /// Many creates at once. The host needs room for as many, such as by `--memory-overcommit`.
    Burst,
    /// The unshared memory of idle sandboxes.
    Density,
    /// Sandboxes that come and go one by one for minutes, and what grows by it.
    Sustained,
    /// What the control plane itself does and takes: thousands of sandboxes, over an agent that has no machines.
    Api,
    /// All of them but `burst`, `density`, `sustained` and `api`.
    All,
}
