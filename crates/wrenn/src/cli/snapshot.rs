//! What can be said of snapshots, and of the pauses of sandboxes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Make a template of what a sandbox is now, with its memory and processes; prints its name. The sandbox goes on.
    Create(CreateSnapshotArgs),
    /// List snapshots.
    Ls(ListSnapshotsArgs),
    /// Remove the names of snapshots. Sandboxes made from them go on.
    Rm {
        /// The snapshots.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Read all data of last pauses and compare it with the sums; fails where something is not as it was written. Needs root.
    Verify(VerifyArgs),
    /// Write the last pause of a sandbox as one packed file. Needs root.
    Export(ExportArgs),
    /// Make a new, paused sandbox from such a file; prints its id, which the server knows within seconds. Needs root.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateSnapshotArgs {
    /// The sandbox, running or paused.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// What to call it; without it a name is made up.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Take the place of a snapshot of this name. Sandboxes made from that one go on.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Leave the sandbox paused.
    #[arg(long)]
    pub(crate) pause: bool,
    /// Say how long each step took, and for how long the sandbox stood still.
    #[arg(long, short = 'v')]
    pub(crate) timings: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListSnapshotsArgs {
    /// Which templates to list.
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = KindArg::Snapshot)]
    pub(crate) kind: KindArg,
}

/// Kinds of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// Built from recipes.
    Base,
    /// Made of sandboxes.
    Snapshot,
    /// Both.
    All,
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
