//! `wrenn events`: what became of sandboxes, one line each.

use std::time::Duration;

use anyhow::Result;
use wrenn_client::api::Event;
use wrenn_client::{Client, Error, Told};

use crate::cli::{EventsArgs, Globals};
use crate::server;
use crate::terminal::{escaped_cell, print_line};

/// Between two tries to reach a server that had been there.
const AGAIN: Duration = Duration::from_secs(1);

/// Prints what happened, and with `--follow` what happens.
pub(crate) async fn run(globals: &Globals, args: &EventsArgs) -> Result<()> {
    let client = server::client(globals)?;
    if args.follow {
        return follow(&client, args, globals.json).await;
    }
    let after = args.after.unwrap_or_default();
    for event in client.events(args.sandbox.as_deref(), after).await? {
        print(&event, globals.json)?;
    }
    Ok(())
}

/// Goes on over restarts of the server; only the first try may fail.
async fn follow(client: &Client, args: &EventsArgs, json: bool) -> Result<()> {
    let sandbox = args.sandbox.as_deref();
    let mut place = args.after;
    let mut events = client.follow_events(sandbox, place).await?;
    loop {
        match events.next().await {
            Ok(Some(Told::Ready(after))) => place = Some(after),
            Ok(Some(Told::Gap)) => eprintln!("some events are no longer known"),
            Ok(Some(Told::Event(event))) => {
                print(&event, json)?;
                place = Some(event.id);
                continue;
            }
            Ok(None) | Err(Error::Broken { .. }) => events = rejoin(client, sandbox, place).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn rejoin(
    client: &Client,
    sandbox: Option<&str>,
    place: Option<i64>,
) -> Result<wrenn_client::EventStream> {
    loop {
        tokio::time::sleep(AGAIN).await;
        match client.follow_events(sandbox, place).await {
            Err(Error::Unreachable { .. } | Error::Broken { .. }) => {}
            Err(Error::Api(refusal)) if refusal.retryable => {}
            other => return Ok(other?),
        }
    }
}

fn print(event: &Event, json: bool) -> Result<()> {
    if json {
        return print_line(&serde_json::to_string(event)?);
    }
    let under_way = event
        .transition
        .as_ref()
        .map_or(String::new(), |name| format!(", {name}"));
    let why = event
        .status_reason
        .as_ref()
        .map_or(String::new(), |why| format!(": {why}"));
    let line = format!(
        "{} {}  {}  {}  {}{under_way}{why}",
        event.id, event.at, event.sandbox_id, event.kind, event.status
    );
    print_line(&escaped_cell(&line))
}
