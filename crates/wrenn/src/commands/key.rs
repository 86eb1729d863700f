//! `wrenn key`: who may call, and what for.

use anyhow::Result;
use serde_json::json;
use wrenn_client::api::{CreateKey, Key, KeyScope, Timestamp};

use crate::cli::{CreateKeyArgs, Globals, KeyCommand};
use crate::server;
use crate::terminal::{Table, print_json, print_line};

/// Runs one of them.
pub(crate) async fn run(globals: &Globals, command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Create(args) => create(globals, args).await,
        KeyCommand::Ls => ls(globals).await,
        KeyCommand::Revoke { ids } => revoke(globals, &ids).await,
    }
}

/// The key stands alone on standard output, so that it can be handed on; what names it goes to a person.
async fn create(globals: &Globals, args: CreateKeyArgs) -> Result<()> {
    let scopes: Vec<KeyScope> = args.scopes.into_iter().map(KeyScope::from).collect();
    let request = CreateKey {
        name: args.name,
        team: args.team,
        scopes: (!scopes.is_empty()).then_some(scopes),
        expires_in_sec: args.ttl_sec.map(i64::from),
    };
    let made = server::client(globals)?.create_key(&request).await?;
    if globals.json {
        return print_json(&made);
    }
    let key = &made.described;
    let until = match &key.expires_at {
        Some(time) => format!(", until {time}"),
        None => String::new(),
    };
    eprintln!(
        "{} of team {}, for {}{until}. It is shown this once.",
        key.id,
        key.team,
        scopes_of(key)?
    );
    print_line(&made.key)
}

async fn ls(globals: &Globals) -> Result<()> {
    let keys = server::client(globals)?.keys().await?;
    if globals.json {
        return print_json(&keys);
    }
    let time = |time: &Option<Timestamp>| time.as_ref().map_or("-".to_owned(), ToString::to_string);
    let mut table = Table::new([
        "ID",
        "TEAM",
        "SCOPES",
        "CREATED",
        "LAST USED",
        "EXPIRES",
        "REVOKED",
        "NAME",
    ]);
    for key in &keys {
        table.row([
            &key.id,
            &key.team,
            &scopes_of(key)?,
            &key.created_at.to_string(),
            &time(&key.last_used_at),
            &time(&key.expires_at),
            &time(&key.revoked_at),
            &key.name,
        ]);
    }
    print_line(&table.to_string())
}

async fn revoke(globals: &Globals, ids: &[String]) -> Result<()> {
    let client = server::client(globals)?;
    for id in ids {
        client.revoke_key(id).await?;
        if !globals.json {
            print_line(id)?;
        }
    }
    if globals.json {
        print_json(&json!({ "revoked": ids }))?;
    }
    Ok(())
}

/// As the contract names them.
fn scopes_of(key: &Key) -> Result<String> {
    let names = serde_json::to_value(&key.scopes)?;
    let names = names.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(serde_json::Value::as_str).collect();
    Ok(names.join(","))
}
