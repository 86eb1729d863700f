//! `cargo run -p xtask -- proto` writes the code generated from `proto/` into the contract crates;
//! `cargo run -p xtask -- proto --check` fails when what is checked in differs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// A contract: its crate and the files below `proto/` that it is generated from.
struct Contract {
    krate: &'static str,
    files: &'static [&'static str],
}

const CONTRACTS: &[Contract] = &[
    Contract {
        krate: "envd-api",
        files: &["process/process.proto", "filesystem/filesystem.proto"],
    },
    Contract {
        krate: "hostagent-api",
        files: &["hostagent/hostagent.proto"],
    },
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["proto"] => CONTRACTS.iter().try_for_each(write),
        ["proto", "--check"] => CONTRACTS.iter().try_for_each(check),
        _ => bail!("usage: xtask proto [--check]"),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn generated(contract: &Contract) -> PathBuf {
    root()
        .join("crates")
        .join(contract.krate)
        .join("src/generated")
}

fn generate(contract: &Contract, out: &Path) -> Result<()> {
    let mut compiler = protox::Compiler::new([root().join("proto")])?;
    compiler.include_imports(true).include_source_info(true);
    for file in contract.files {
        compiler.open_file(file)?;
    }
    let set = tempfile::NamedTempFile::new()?;
    fs::write(set.path(), compiler.encode_file_descriptor_set())?;
    connectrpc_build::Config::new()
        .descriptor_set(set.path())
        .files(contract.files)
        .out_dir(out)
        .include_file("mod.rs")
        .emit_rerun_directives(false)
        .compile()
        .with_context(|| format!("generating {}", contract.krate))
}

fn write(contract: &Contract) -> Result<()> {
    let out = generated(contract);
    fs::create_dir_all(&out)?;
    generate(contract, &out)
}

fn check(contract: &Contract) -> Result<()> {
    let fresh = tempfile::tempdir()?;
    generate(contract, fresh.path())?;
    let kept = generated(contract);
    ensure!(
        contents(fresh.path())? == contents(&kept)?,
        "{} differs from proto/: run `cargo run -p xtask -- proto`",
        kept.display()
    );
    Ok(())
}

fn contents(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        files.push((
            entry.file_name().to_string_lossy().into_owned(),
            fs::read(entry.path())?,
        ));
    }
    files.sort();
    Ok(files)
}
