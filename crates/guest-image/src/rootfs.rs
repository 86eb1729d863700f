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
    let Error::Program(program::Error::Failed { said, status, .. }) = explained else {
        return explained;
    };
    let name = recipe.name.to_string();
    if let Some((command, said)) = script::failure(&said) {
        return Error::RecipeCommand {
            recipe: name,
            command,
            said,
        };
    }
    if let Some((_, package)) = said.split_once("E: Unable to locate package ") {
        let package = package.lines().next().unwrap_or(package);
        return Error::BadRecipe {
            recipe: name,
            reason: format!("{} has no package {package}", recipe.suite),
        };
    }
    Error::Program(program::Error::Failed {
        program: "mmdebstrap".to_owned(),
        status,
        said: complaints(said),
    })
}

/// The lines in which apt, dpkg and mmdebstrap complain; all that was said where there are none.
fn complaints(said: String) -> String {
    let complains = |line: &&str| line.starts_with("E: ") || line.starts_with("dpkg: error");
    let lines: Vec<_> = said.lines().filter(complains).collect();
    if lines.is_empty() {
        said
    } else {
        lines.join("\n")
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn explained(said: &str) -> Error {
        let error = program::Error::Failed {
            program: "setpriv".to_owned(),
            status: ExitStatus::from_raw(25 << 8),
            said: said.to_owned(),
        };
        let recipe = Recipe::parse("mine", "").unwrap();
        explain(error, &recipe, Path::new("/cache"))
    }

    #[test]
    fn a_package_that_is_not_there_is_the_recipes_mistake() {
        let error =
            explained("Setting up x\nE: Unable to locate package tre\nE: run_chroot failed\n");
        assert!(matches!(error, Error::BadRecipe { .. }));
        assert!(error.to_string().contains("no package tre"), "{error}");
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let error = explained("wrenn: command 1 of 1\nno such file\nE: setup failed: x\n");
        assert!(matches!(error, Error::RecipeCommand { .. }), "{error}");
    }

    #[test]
    fn of_any_other_failure_the_complaints_are_told() {
        let error = explained("Setting up x\nE: Sub-process failed\nI: main() received signal\n");
        let Error::Program(error) = error else {
            panic!("{error}");
        };
        let text = error.to_string();
        assert!(text.starts_with("mmdebstrap failed"), "{text}");
        assert!(text.ends_with(": E: Sub-process failed"), "{text}");
        assert_eq!(complaints("killed".to_owned()), "killed");
    }
}
