//! What can be said of the guests' kernel.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// Make the kernel of a Debian package ready for guests. One with the source is built, small and with all that a microVM
    /// has: it boots twice as fast, and takes some minutes to build. Needs root.
    Build(BuildKernelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BuildKernelArgs {
    /// The package, such as linux-source, linux-source-6.12, or linux-image-cloud-amd64, which is built already.
    #[arg(default_value = "linux-source")]
    pub(crate) package: String,
    /// Make it anew, of today's package, even when it has been made before.
    #[arg(long)]
    pub(crate) refresh: bool,
}
