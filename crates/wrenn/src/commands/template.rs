//! `wrenn template`: built here, listed and removed through the API.

use anyhow::Result;
use serde_json::json;
use wrenn_agent::{DataDir, DataDirError, Store};
use wrenn_guest_image::{Cache, Images, Recipe, Reuse, Template};

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
    let template = match DataDir::open(&globals.dir) {
        Ok(data) => {
            let store = Store::open(data, &globals.cache).await?;
            let built = build_in(store.images(), &recipe, reuse).await;
            // Sandboxes of a Wrenn that was killed may still run on it: it stays mounted for them.
            if let Err(error) = store.close().await {
                tracing::debug!(%error, "the store stays mounted");
            }
            built?
        }
        // The Wrenn that has the directory keeps the store mounted; a template appears in it whole.
        Err(DataDirError::Locked { path }) => {
            let cache = Cache::new(&globals.cache);
            let images = Images::open(path.join("store"), cache).map_err(install::advise)?;
            build_in(&images, &recipe, reuse).await?
        }
        Err(error) => return Err(error.into()),
    };
    if globals.json {
        return print_json(&json!({ "name": template.name, "size_bytes": template.allocated }));
    }
    print_line(&format!(
        "{} is ready, {}",
        template.name,
        size(template.allocated)
    ))
}

async fn build_in(images: &Images, recipe: &Recipe, reuse: Reuse) -> Result<Template> {
    let progress = Told::new();
    let built = images.build_template(recipe, reuse, &progress).await;
    progress.done();
    built.map_err(install::advise)
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
