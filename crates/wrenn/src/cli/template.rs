//! What can be said of templates.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// Build a template from a recipe, on this machine. Needs root.
    Build(BuildArgs),
    /// List templates.
    Ls,
    /// Remove a template's name. Sandboxes made from it go on.
    Rm {
        /// The template.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// A recipe that comes with Wrenn (minimal, python, node), or the path of a recipe file.
    pub(crate) recipe: String,
    /// Build it anew even when the same recipe has been built before.
    #[arg(long)]
    pub(crate) refresh: bool,
}
