//! `wrenn down`: ends every sandbox of the data directory that lives, and gives the machine back what Wrenn took. What is
//! paused lies on disk and stays.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use wrenn_agent::{Agent, DataDir, DataDirError, Host, Store, TakenDown};

use crate::agent_rpc::AgentRpc;
use crate::cli::Globals;
use crate::install;
use crate::progress::Told;
use crate::report::Advised;
use crate::terminal::{print_json, print_line};

/// How long the Wrenn that was asked may take to end itself afterwards.
const LEAVE: Duration = Duration::from_secs(20);

/// Asks the Wrenn that has the data directory, or does it in this process when there is none.
pub(crate) async fn run(globals: &Globals) -> Result<()> {
    install::require_root("wrenn down")?;
    if !globals.dir.join("instance").exists() {
        let nothing = TakenDown {
            destroyed: 0,
            kept: 0,
        };
        return tell(
            globals,
            nothing,
            "there is no Wrenn in this directory; nothing was done",
        );
    }
    let taken = match DataDir::open(&globals.dir) {
        Ok(data) => here(data, globals).await?,
        Err(DataDirError::Locked { .. }) => there(&globals.dir).await?,
        Err(error) => return Err(error.into()),
    };
    tell(globals, taken, "the host is as it was before Wrenn")
}

/// Nobody serves: this process takes what stands up, and down.
async fn here(data: DataDir, globals: &Globals) -> Result<TakenDown> {
    let progress = Told::new();
    let store = Store::open(data, &globals.cache).await?;
    let host = Host::open(store, &install::agent_config(globals), &progress).await?;
    progress.done();
    Ok(Agent::start(host)?.take_down().await?)
}

/// The agent that serves does it and ends.
async fn there(dir: &Path) -> Result<TakenDown> {
    let taken = AgentRpc::new(dir).shutdown().await.map_err(|error| {
        Advised::new(
            format!(
                "the Wrenn that works on {} does not end its sandboxes",
                dir.display()
            ),
            "look at its log; when it hangs, end it and run `wrenn down` again",
        )
        .because(error)
    })?;
    unlocked(dir)
        .await
        .context("the sandboxes are gone, but the Wrenn that served them does not end")?;
    Ok(taken)
}

/// Waits until the other Wrenn has let go of the data directory.
async fn unlocked(dir: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        match DataDir::open(dir) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > LEAVE => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn tell(globals: &Globals, taken: TakenDown, state: &str) -> Result<()> {
    let TakenDown { destroyed, kept } = taken;
    if globals.json {
        return print_json(&json!({ "destroyed": destroyed, "kept": kept }));
    }
    let sandboxes = |count| {
        if count == 1 { "sandbox" } else { "sandboxes" }
    };
    let paused = match kept {
        0 => String::new(),
        kept => format!(
            "{kept} paused {} kept for the next start; ",
            sandboxes(kept)
        ),
    };
    print_line(&format!(
        "{destroyed} {} ended; {paused}{state}.",
        sandboxes(destroyed)
    ))
}
