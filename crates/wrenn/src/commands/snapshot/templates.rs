//! Snapshots of sandboxes as templates.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use wrenn_client::Client;
use wrenn_client::api::{CreateSnapshot, TemplateType};

use crate::cli::{CreateSnapshotArgs, KindArg};
use crate::commands::{template, timings};
use crate::report;
use crate::terminal::{print_json, print_line};

pub(super) async fn create(client: &Client, args: CreateSnapshotArgs, json: bool) -> Result<()> {
    let request = CreateSnapshot {
        sandbox_id: args.id,
        name: args.name,
    };
    let made = client
        .create_snapshot(&request, args.overwrite, args.pause)
        .await?;
    if json {
        return print_json(&made);
    }
    print_line(&made.template.name)?;
    if args.timings {
        timings::print(&made.timings)?;
        timings::print_frozen(made.frozen_ms)?;
    }
    eprintln!("wrenn: {}", made.notice);
    Ok(())
}

pub(super) async fn ls(client: &Client, kind: KindArg, json: bool) -> Result<()> {
    let templates = match kind.only() {
        Some(kind) => client.templates_of(kind).await?,
        None => client.templates().await?,
    };
    template::show(&templates, json)
}

/// Removes names, each for itself: one that is not there keeps no other.
pub(super) async fn rm(client: &Client, names: &[String], json: bool) -> Result<ExitCode> {
    let mut gone = Vec::new();
    let mut failed = false;
    for name in names {
        match client.delete_template(name).await {
            Ok(()) if json => gone.push(name),
            Ok(()) => print_line(name)?,
            Err(error) => {
                report::failure(&error.into(), json);
                failed = true;
            }
        }
    }
    if json {
        print_json(&json!({ "deleted": gone }))?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

impl KindArg {
    fn only(self) -> Option<TemplateType> {
        match self {
            Self::Base => Some(TemplateType::Base),
            Self::Snapshot => Some(TemplateType::Snapshot),
            Self::All => None,
        }
    }
}
