//! `wrenn kernel`: the kernel that guests boot, built on this machine.

use anyhow::Result;
use serde_json::json;
use wrenn_guest_image::Reuse;

use crate::cli::{BuildKernelArgs, Globals, KernelCommand};
use crate::install;
use crate::progress::Told;
use crate::report::Advised;
use crate::terminal::{print_json, print_line};

/// Runs one of them.
pub(crate) async fn run(globals: &Globals, command: KernelCommand) -> Result<()> {
    match command {
        KernelCommand::Build(args) => build(globals, &args).await,
    }
}

async fn build(globals: &Globals, args: &BuildKernelArgs) -> Result<()> {
    install::require_root("wrenn kernel build")?;
    let BuildKernelArgs { package, refresh } = args;
    let reuse = if *refresh {
        Reuse::Nothing
    } else {
        Reuse::Present
    };
    let kernel = install::with_images(globals, async |images| {
        let progress = Told::new();
        let built = images.ensure_kernel(package, reuse, &progress).await;
        progress.done();
        built.map_err(|error| {
            let remedy = error.remedy();
            let advised = Advised::new("the kernel cannot be made", remedy);
            advised.because(error).into()
        })
    })
    .await?;
    if globals.json {
        return print_json(&json!({ "package": package, "release": kernel.release }));
    }
    print_line(&format!("{} is ready", kernel.release))?;
    if globals.kernel == *package {
        return print_line("guests boot it from the agent's next start on");
    }
    print_line(&format!(
        "to have guests boot it, write `kernel = \"{package}\"` into wrenn.toml, and start the agent anew"
    ))
}
