//! What can be said of pools.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// List what stands ready, by shape.
    Ls,
    /// Have so many sandboxes of a shape stand ready, whatever the configuration says, until the host's agent ends or the pool is
    /// drained; waits until they do.
    Warm(WarmArgs),
    /// Give back what stands ready, and have nothing more of it made until it is warmed again; prints how many went.
    Drain(DrainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct WarmArgs {
    /// The template of its sandboxes.
    #[arg(default_value = "minimal")]
    pub(crate) template: String,
    /// How many are to stand ready.
    #[arg(long, short, default_value_t = 4)]
    pub(crate) count: u32,
    /// How many VMMs are to stand by behind them, which have only to load a boot image.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) started: u32,
    /// Virtual CPUs of each.
    #[arg(long, value_name = "COUNT")]
    pub(crate) vcpus: Option<u32>,
    /// Memory of each in MiB.
    #[arg(long = "memory", value_name = "MIB")]
    pub(crate) memory_mb: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The template of its sandboxes; without it all pools are drained.
    pub(crate) template: Option<String>,
    /// Only of so many virtual CPUs.
    #[arg(long, value_name = "COUNT", requires = "template")]
    pub(crate) vcpus: Option<u32>,
    /// Only of so much memory, in MiB.
    #[arg(long = "memory", value_name = "MIB", requires = "template")]
    pub(crate) memory_mb: Option<u32>,
}
