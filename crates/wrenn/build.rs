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
        Some(given) => PathBuf::from(given),
        None => build()?,
    };
    if !binary.is_file() {
        return Err(format!(
            "WRENN_ENVD: there is no guest agent at {}",
            binary.display()
        )
        .into());
    }
    println!("cargo:rerun-if-changed={}", binary.display());
    println!("cargo:rustc-env=WRENN_ENVD={}", binary.display());
    Ok(())
}

fn build() -> Result<PathBuf, Box<dyn Error>> {
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR")?)
        .join("../..")
        .canonicalize()?;
    for source in SOURCES {
        println!(
            "cargo:rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    let target = workspace.join("target/guest");
    let status = cargo()?
        .current_dir(&workspace)
        .args([
            "build",
            "--locked",
            "--package=wrenn-envd",
            "--profile=guest",
        ])
        .arg(format!("--target={TARGET}"))
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .status()?;
    if !status.success() {
        return Err(
            format!("the guest agent did not build ({status}); its messages are above").into(),
        );
    }
    Ok(target.join(TARGET).join("guest/wrenn-envd"))
}

/// The cargo that runs us, without what it set for this crate alone.
#[expect(clippy::disallowed_methods, reason = "a build script has no other way")]
fn cargo() -> Result<Command, env::VarError> {
    let mut cargo = Command::new(env::var("CARGO")?);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let inherited = [
            "CARGO_PKG_",
            "CARGO_CFG_",
            "CARGO_FEATURE_",
            "CARGO_MANIFEST_",
            "RUSTC_",
            "DEP_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
            || [
                "CARGO_ENCODED_RUSTFLAGS",
                "RUSTC",
                "RUSTDOC",
                "OUT_DIR",
                "TARGET",
                "HOST",
                "PROFILE",
            ]
            .contains(&&*name);
        if inherited {
            cargo.env_remove(&*name);
        }
    }
    Ok(cargo)
}
