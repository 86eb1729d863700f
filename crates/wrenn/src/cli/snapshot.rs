//! What can be said of the pauses of sandboxes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Read all data of last pauses and compare it with the sums; fails where something is not as it was written.
    Verify(VerifyArgs),
    /// Write the last pause of a sandbox as one packed file.
    Export(ExportArgs),
    /// Make a new, paused sandbox from such a file; prints its id, which the server knows within seconds.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The sandbox.
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) id: Option<String>,
    /// Every sandbox that has a pause.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Where to write it, or - for standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What was exported, or - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
}
