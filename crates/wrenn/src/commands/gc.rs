//! `wrenn gc`: what this installation has left and nobody owns any more goes, one line a resource. With a running agent it
//! is the agent's work, so that it is safe beside everything else; without one this process does it, under the data
//! directory's lock.

use anyhow::Result;
use wrenn_agent::{DataDir, DataDirError, Outcome, Swept};

use crate::agent_rpc::AgentRpc;
use crate::cli::{GcArgs, Globals};
use crate::install;
use crate::report::Advised;
use crate::terminal::{print_json, print_line};

/// Sweeps, and says what was found. What would not go is told and no failure: it is tried again the next time.
pub(crate) async fn run(globals: &Globals, args: &GcArgs) -> Result<()> {
    install::require_root("wrenn gc")?;
    let mut found = if globals.dir.join("instance").exists() {
        sweep(globals, args.dry_run).await?
    } else {
        Vec::new()
    };
    found.retain(|swept| args.all || swept.outcome != Outcome::Kept);
    if globals.json {
        return print_json(&found);
    }
    for swept in &found {
        print_line(&line(swept))?;
    }
    if found.is_empty() {
        print_line("Nothing is left over.")?;
    }
    Ok(())
}

async fn sweep(globals: &Globals, dry_run: bool) -> Result<Vec<Swept>> {
    match DataDir::open(&globals.dir) {
        Ok(data) => Ok(wrenn_agent::sweep_dead(&data, dry_run).await?),
        Err(DataDirError::Locked { .. }) => {
            let swept = AgentRpc::new(&globals.dir).sweep(dry_run).await;
            swept.map_err(|error| {
                Advised::new(
                    format!(
                        "the Wrenn that works on {} does not sweep",
                        globals.dir.display()
                    ),
                    "when it is starting or ending, try again in a moment; else look at its log",
                )
                .because(error)
                .into()
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// `removed  cgroup  /wrenn-abc123/vm-…: no record knows its virtual machine`.
fn line(swept: &Swept) -> String {
    let Swept {
        kind,
        name,
        why,
        outcome,
    } = swept;
    let told = outcome.as_str();
    match outcome {
        Outcome::Failed(failure) => format!("{told:8} {kind:15} {name}: {why}; {failure}"),
        _ => format!("{told:8} {kind:15} {name}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_why_and_what_came_of_it() {
        let swept = |outcome| Swept {
            kind: "cgroup".to_owned(),
            name: "/wrenn-abc123/vm-1".to_owned(),
            why: "no record knows its virtual machine".to_owned(),
            outcome,
        };
        assert_eq!(
            line(&swept(Outcome::Garbage)),
            "garbage  cgroup          /wrenn-abc123/vm-1: no record knows its virtual machine"
        );
        assert!(line(&swept(Outcome::Failed("busy".to_owned()))).ends_with("; busy"));
    }
}
