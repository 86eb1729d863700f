//! This machine's installation: its data directory and what must stand in it.

use anyhow::Result;
use wrenn_agent::{Config, DataDir, DataDirError, GuestNetwork, Limits, Store, VmmChoice, Warm};
use wrenn_guest_image::{Cache, Error, Images, Recipe, Reuse};
use wrenn_model::TemplateName;
use wrenn_sys::oom;

use crate::cli::Globals;
use crate::guest_agent;
use crate::progress::Told;
use crate::report::Advised;

/// The program that runs, whatever has its name by now: a newer one, installed while this runs, must not become its helper.
pub(crate) const SELF: &str = "/proc/self/exe";
/// The template that a sandbox is made from when nobody names one.
const DEFAULT_TEMPLATE: &str = "minimal";

/// Refuses to go on as anyone but root.
pub(crate) fn require_root(command: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Advised::new(
        format!("{command} needs root: it makes network namespaces, cgroups and mounts"),
        format!("run it as `sudo {command}`"),
    )
    .into())
}

/// Locks the data directory.
pub(crate) fn data_dir(globals: &Globals) -> Result<DataDir> {
    DataDir::open(&globals.dir).map_err(|error| {
        let (message, remedy) = match &error {
            DataDirError::Locked { path } => (
                format!("another Wrenn works on {}", path.display()),
                "stop it, or choose another data directory with --dir or WRENN_DIR",
            ),
            DataDirError::Instance { .. } => (
                error.to_string(),
                "choose an empty directory with --dir or WRENN_DIR, or bring the file `instance` back",
            ),
            DataDirError::Nameless { .. } => (
                error.to_string(),
                "bring the file `instance` back: its text follows `wrenn-` in the names of cgroups and network namespaces that stand",
            ),
            DataDirError::Io { .. } => return anyhow::Error::from(error),
        };
        Advised::new(message, remedy).into()
    })
}

/// How the agent of this installation is set up.
pub(crate) fn agent_config(globals: &Globals) -> Config {
    Config {
        helper: SELF.into(),
        envd: guest_agent::BINARY,
        cache: globals.cache.clone(),
        kernel: globals.kernel.clone(),
        network: GuestNetwork::default(),
        limits: Limits::default(),
        warm: Warm::default(),
        vmm: VmmChoice::Auto,
        firecracker: None,
    }
}

/// The agent's score: what else runs on the host is ended before it, and its sandboxes long before that.
const AGENT_SCORE: oom::Score = -900;

/// Has the kernel spare this process when the host has no memory left: without it nobody would look after what runs.
pub(crate) fn spare_agent() {
    if let Err(error) = oom::set_score(std::process::id(), AGENT_SCORE) {
        tracing::warn!(%error, "when the host runs out of memory, the agent is ended like any other program");
    }
}

/// Works on the images of this installation, whether a Wrenn has it or not.
pub(crate) async fn with_images<T>(
    globals: &Globals,
    work: impl AsyncFnOnce(&Images) -> Result<T>,
) -> Result<T> {
    match DataDir::open(&globals.dir) {
        Ok(data) => {
            let store = Store::open(data, &globals.cache).await?;
            let done = work(store.images()).await;
            // Sandboxes of a Wrenn that was killed may still run on it: it stays mounted for them.
            if let Err(error) = store.close().await {
                tracing::debug!(%error, "the store stays mounted");
            }
            done
        }
        // The Wrenn that has the directory keeps the store mounted; an image appears in it whole.
        Err(DataDirError::Locked { path }) => {
            let cache = Cache::new(&globals.cache);
            let images = Images::open(path.join("store"), cache).map_err(advise)?;
            work(&images).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Builds the default template where it is missing.
pub(crate) async fn ensure_template(images: &Images, progress: &Told) -> Result<()> {
    let name: TemplateName = DEFAULT_TEMPLATE.parse()?;
    match images.template(&name) {
        Ok(_) => return Ok(()),
        Err(Error::NoTemplate(_)) => {}
        Err(error) => return Err(advise(error)),
    }
    let recipe = Recipe::find(DEFAULT_TEMPLATE).map_err(advise)?;
    images
        .build_template(&recipe, Reuse::Present, progress)
        .await
        .map_err(advise)?;
    progress.done();
    Ok(())
}

/// An image error with its remedy.
pub(crate) fn advise(error: Error) -> anyhow::Error {
    let remedy = error.remedy();
    Advised::new("the template cannot be made", remedy)
        .because(error)
        .into()
}
