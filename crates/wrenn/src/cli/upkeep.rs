//! What can be said to look after an installation.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Take nothing away, only say what would be and why.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List what is kept as well, and why.
    #[arg(long)]
    pub(crate) all: bool,
}
