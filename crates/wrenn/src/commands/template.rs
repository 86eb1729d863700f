//! `wrenn template`: built here, listed and removed through the API.

use anyhow::Result;
use serde_json::json;
use wrenn_guest_image::{Recipe, Reuse};

use crate::cli::{BuildArgs, Globals, TemplateCommand};
use crate::progress::Told;
use crate::terminal::{Table, print_json, print_line, size};
use crate::{install, server};

/// Runs one of them.
pub(crate) async fn run(globals: &Globals, command: TemplateCommand) -> Result<()> {
    match command {
        TemplateCommand::Build(args) => build(globals, &args).await,
        TemplateCommand::Ls => ls(globals).await,
        TemplateCommand::Rm { name } => rm(globals, &name).await,
    }
}

async fn build(globals: &Globals, args: &BuildArgs) -> Result<()> {
    install::require_root("wrenn template build")?;
    let recipe = Recipe::find(&args.recipe).map_err(install::advise)?;
    let reuse = if args.refresh {
        Reuse::Nothing
    } else {
        Reuse::Present
    };
    let template = install::with_images(globals, async |images| {
        let progress = Told::new();
        let built = images.build_template(&recipe, reuse, &progress).await;
        progress.done();
        built.map_err(install::advise)
    })
    .await?;
    if globals.json {
        return print_json(&json!({ "name": template.name, "size_bytes": template.allocated }));
    }
    print_line(&format!(
        "{} is ready, {}",
        template.name,
        size(template.allocated)
    ))
}

async fn ls(globals: &Globals) -> Result<()> {
    show(&server::client(globals)?.templates().await?, globals.json)
}

/// Shows templates of either kind.
pub(crate) fn show(templates: &[wrenn_client::api::Template], json: bool) -> Result<()> {
    if json {
        return print_json(&templates);
    }
    let mut table = Table::new(["NAME", "TYPE", "VCPUS", "MEMORY", "SIZE", "CREATED"]);
    for template in templates {
        let kind = serde_json::to_value(template.kind)?;
        let or_any = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        table.row([
            &template.name,
            kind.as_str().unwrap_or("-"),
            &or_any(template.vcpus.map(|vcpus| vcpus.to_string())),
            &or_any(template.memory_mb.map(|mb| format!("{mb} MiB"))),
            &size(template.size_bytes),
            &template.created_at.to_string(),
        ]);
    }
    print_line(&table.to_string())
}

async fn rm(globals: &Globals, name: &str) -> Result<()> {
    server::client(globals)?.delete_template(name).await?;
    if globals.json {
        print_json(&json!({ "deleted": [name] }))
    } else {
        print_line(name)
    }
}
