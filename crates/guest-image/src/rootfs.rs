//! A recipe's directory tree, made by mmdebstrap out of Debian packages.
//!
//! It runs in mount and process namespaces of its own: whenever this program or mmdebstrap is killed, every process and
//! mount of the build goes with it, and what is left is files below the build's folder.

mod script;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wrenn_sys::program::{self, Program};

use crate::apt::{Apt, DEBIAN_KEYS, Source};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::recipe::Recipe;
use watch::Watch;

/// Hundreds of packages on a slow machine take their time.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Paths of packages that guests do without, and what of them is kept: licences must be.
const EXCLUDED: [&str; 6] = [
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-include=/usr/share/doc/*/copyright",
];

/// Variables of ours that programs of the build see: how to reach the network.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// A finished tree.
#[derive(Debug)]
pub(crate) struct Rootfs {
    /// Where it is.
    pub tree: PathBuf,
    /// Its packages with their versions, one a line.
    pub packages: Vec<u8>,
}

/// Makes a recipe's tree below `dir`, which must be empty.
pub(crate) async fn build(dir: &Path, recipe: &Recipe, progress: &dyn Progress) -> Result<Rootfs> {
    let apt = Apt::update(&dir.join("apt"), progress).await?;
    let sources = apt.sources(&recipe.suite).await?;
    let tree = dir.join("tree");
    let temp = dir.join("tmp");
    fs::create_dir(&temp).map_err(Error::io("make", &temp))?;
    let script = dir.join("customize.sh");
    fs::write(&script, script::customize(recipe, &sources)).map_err(Error::io("write", &script))?;
    let mut watch = Watch::new(progress);
    bootstrap(recipe, &sources, &apt, &tree, &script)
        .env("TMPDIR", &temp)
        .run_with(|line| watch.line(line))
        .await
        .map_err(|error| explain(error, recipe, dir))?;
    let packages = packages(&tree).await?;
    Ok(Rootfs { tree, packages })
}

/// The command that makes the tree.
fn bootstrap(
    recipe: &Recipe,
    sources: &[Source],
    apt: &Apt,
    tree: &Path,
    script: &Path,
) -> Program {
    // The chain of ends: this process (or its thread that started it), unshare, mmdebstrap and all that it runs.
    let mut program = Program::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(["--mount", "--pid", "--ipc", "--uts", "--fork"])
        .args(["--kill-child", "--mount-proc", "mmdebstrap"])
        .args(["--verbose", "--mode=root", "--format=directory"])
        .args(["--variant=minbase", "--architectures=amd64"])
        .arg("--skip=cleanup/apt")
        .arg(format!("--keyring={DEBIAN_KEYS}"))
        .arg(format!("--aptopt={}", apt.transport().display()))
        .args(EXCLUDED.map(|rule| format!("--dpkgopt={rule}")))
        .arg(format!("--customize-hook={}", script::hook(script)))
        .limit(LIMIT);
    if !recipe.packages.is_empty() {
        program = program.arg(format!("--include={}", recipe.packages.join(",")));
    }
    for name in PROXIES {
        if let Some(value) = std::env::var_os(name) {
            program = program.env(name, value);
        }
    }
    program
        .arg(&recipe.suite)
        .arg(tree)
        .args(sources.iter().map(Source::line))
}

/// Tells a failure of the recipe from one of Debian's packages or of the host.
fn explain(error: program::Error, recipe: &Recipe, dir: &Path) -> Error {
    let explained = Error::program(dir)(error);
    match &explained {
        Error::Program(program::Error::Failed { said, .. }) => script::failure(said)
            .map(|(command, said)| Error::RecipeCommand {
                recipe: recipe.name.to_string(),
                command,
                said,
            })
            .unwrap_or(explained),
        _ => explained,
    }
}

async fn packages(tree: &Path) -> Result<Vec<u8>> {
    let listed = Program::new("dpkg-query")
        .arg(format!("--admindir={}/var/lib/dpkg", tree.display()))
        .args(["--show", "--showformat=${Package} ${Version}\\n"])
        .run()
        .await
        .map_err(Error::program(tree))?;
    Ok(listed.stdout)
}
