//! `wrenn team`: whose sandboxes are, and what each team may have.

use anyhow::Result;
use wrenn_client::api::TeamLimits;

use crate::cli::{Globals, SetTeamArgs, TeamCommand};
use crate::server;
use crate::terminal::{Table, print_json, print_line};

/// Runs one of them.
pub(crate) async fn run(globals: &Globals, command: TeamCommand) -> Result<()> {
    match command {
        TeamCommand::Set(args) => set(globals, &args).await,
        TeamCommand::Ls => ls(globals).await,
    }
}

async fn set(globals: &Globals, args: &SetTeamArgs) -> Result<()> {
    let limits = TeamLimits {
        max_sandboxes: args.sandboxes.map(i64::from),
        max_vcpus: args.vcpus.map(i64::from),
        max_memory_mb: args.memory_mb.map(i64::from),
        max_storage_mb: args.storage_mb.map(i64::from),
        creates_per_min: args.creates_per_min.map(i64::from),
    };
    let client = server::client(globals)?;
    let team = client.put_team(&args.name, &limits).await?;
    if globals.json {
        print_json(&team)
    } else {
        print_line(&team.name)
    }
}

async fn ls(globals: &Globals) -> Result<()> {
    let teams = server::client(globals)?.teams().await?;
    if globals.json {
        return print_json(&teams);
    }
    let limit = |limit: Option<i64>| limit.map_or("-".to_owned(), |limit| limit.to_string());
    let mut table = Table::new([
        "NAME",
        "SANDBOXES",
        "VCPUS",
        "MEMORY MB",
        "STORAGE MB",
        "CREATES A MINUTE",
    ]);
    for team in &teams {
        let limits = &team.limits;
        table.row([
            &team.name,
            &limit(limits.max_sandboxes),
            &limit(limits.max_vcpus),
            &limit(limits.max_memory_mb),
            &limit(limits.max_storage_mb),
            &limit(limits.creates_per_min),
        ]);
    }
    print_line(&table.to_string())
}
