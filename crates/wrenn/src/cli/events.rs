//! What can be said of events.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only those of this sandbox.
    #[arg(value_name = "ID")]
    pub(crate) sandbox: Option<String>,
    /// Only those after this number; without it, all that are kept.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) after: Option<i64>,
    /// Go on with what happens; without a number, begin with it.
    #[arg(long, short)]
    pub(crate) follow: bool,
}
