//! What can be said to look after an installation.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::commands::doctor::checklist;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Check the hardening checklist for production instead, line by line. Fails when a line is not met, or can't be seen.
    #[arg(long)]
    pub(crate) production: bool,
    /// A line that need not be met, since somebody answers for it; may be given again.
    #[arg(
        long,
        value_name = "LINE",
        requires = "production",
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(checklist::LINES)
    )]
    pub(crate) accept: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Take nothing away, only say what would be and why.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List what is kept as well, and why.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where to write it, or - for standard output. Nobody but root may read it: keys and guests' memory are in it.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The folder of a `wrenn server` on this machine; without it the one of the configuration, or /var/lib/wrenn-server.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// What was backed up, or - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The folder for a `wrenn server`, where the backup has one; without it the one of the configuration, or
    /// /var/lib/wrenn-server.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Make another installation of it, which may live beside the one that was backed up on one machine.
    #[arg(long)]
    pub(crate) new_instance: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CopyDatabaseArgs {
    /// The control plane's folder.
    pub(crate) folder: PathBuf,
    /// What the copy is called there.
    pub(crate) name: PathBuf,
}
