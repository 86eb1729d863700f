//! Builds the guest agent, which this crate carries inside it: a static program of its own profile, in a target directory
//! of its own, so that the two builds do not wait for each other. `WRENN_ENVD` names one that was built elsewhere.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What goes into the guest agent: its own sources, its contract's, and the versions and the profile of it all.
const SOURCES: [&str; 4] = ["crates/envd", "crates/envd-api", "Cargo.toml", "Cargo.lock"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=WRENN_ENVD");
    let binary = match env::var_os("WRENN_ENVD") {
        Some(given) => {
            let given = PathBuf::from(given);
            println!("cargo:rerun-if-changed={}", given.display());
            given
        }
        // To be watched are its sources: a file that is newer than the beginning of this would make each build the first.
        None => build()?,
    };
    if !binary.is_file() {
        let absent = format!("there is no guest agent at {}", binary.display());
        return Err(absent.into());
    }
    println!("cargo:rustc-env=WRENN_ENVD={}", binary.display());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a build script has no other way")]
fn build() -> Result<PathBuf, Box<dyn Error>> {
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR")?)
        .join("../..")
        .canonicalize()?;
    for source in SOURCES {
        let source = workspace.join(source);
        println!("cargo:rerun-if-changed={}", source.display());
    }
    let target = workspace.join("target/guest");
    let status = Command::new(env::var("CARGO")?)
        .current_dir(&workspace)
        .args(["build", "--locked", "--package=wrenn-envd"])
        .arg(format!("--target={TARGET}"))
        .arg("--profile=guest")
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // What cargo set for the build of this crate would win over the flags, and lint instead of compile.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()?;
    if !status.success() {
        return Err("the guest agent did not build; its messages are above".into());
    }
    Ok(target.join(TARGET).join("guest/wrenn-envd"))
}
