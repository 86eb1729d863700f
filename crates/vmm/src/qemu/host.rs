//! The QEMU of this host: where it is, whether it will do, and all that it loads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wrenn_sys::program::Program;

use crate::builds::Files;
use crate::{Error, elf};

/// The program, in the build's folder.
pub(super) const PROGRAM: &str = "bin/qemu";
/// The libraries, in the build's folder.
pub(super) const LIBRARIES: &str = "lib";
/// The firmware, in the build's folder.
pub(super) const FIRMWARE_DIR: &str = "firmware";
/// The loader, in the build's folder.
pub(super) const LOADER: &str = "lib/ld.so";

/// The program that has both emulation and KVM.
const NAME: &str = "qemu-system-x86_64";
/// Where it is looked for.
const PLACES: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin"];
/// Before 10 a private mapping of a read-only file can't be a guest's memory.
const OLDEST: u32 = 10;
/// What the microvm machine loads: its BIOS, and the loaders of an uncompressed and of a compressed kernel.
const FIRMWARE: [&str; 3] = ["bios-microvm.bin", "pvh.bin", "linuxboot_dma.bin"];
/// QEMU answers these questions at once.
const LIMIT: Duration = Duration::from_secs(20);

/// Finds the host's QEMU, or takes the one named. The second value is where it wants its dynamic loader, if it has one.
pub(super) async fn files(named: Option<&Path>) -> Result<(Files, Option<PathBuf>), Error> {
    let program = find(named)?;
    check_version(&program).await?;
    let headers =
        elf::headers(&program).map_err(Error::io(format!("reading {}", program.display())))?;
    let loader = headers.interpreter;
    let mut files = BTreeMap::from([(PathBuf::from(PROGRAM), program.clone())]);
    if let Some(loader) = &loader {
        files.insert(LOADER.into(), loader.clone());
        for (name, path) in libraries(loader, &program).await? {
            files.insert(Path::new(LIBRARIES).join(name), path);
        }
    }
    for (name, path) in firmware(&program).await? {
        files.insert(Path::new(FIRMWARE_DIR).join(name), path);
    }
    Ok((files, loader))
}

fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    let missing = |name: &str| Error::Missing { name: name.into() };
    let candidate = match named {
        Some(path) if path.exists() => Some(path.to_owned()),
        Some(path) => return Err(missing(&path.to_string_lossy())),
        None => PLACES
            .iter()
            .map(|place| Path::new(place).join(NAME))
            .find(|path| path.exists()),
    };
    candidate.ok_or_else(|| missing(NAME))
}

/// The QEMU of this host and its version, if it will do.
///
/// # Errors
/// [`Error::Missing`], [`Error::TooOld`], [`Error::Unusable`].
pub(super) async fn installed() -> Result<(PathBuf, String), Error> {
    let program = find(None)?;
    let version = check_version(&program).await?;
    firmware(&program).await?;
    Ok((program, version))
}

async fn check_version(program: &Path) -> Result<String, Error> {
    let said = ask(program, &["--version"]).await?;
    let Some(version) = parse_version(&said) else {
        return Err(unusable(program, "it does not tell its version"));
    };
    let major = version.split('.').next().and_then(|n| n.parse().ok());
    if major.is_some_and(|major: u32| major >= OLDEST) {
        return Ok(version.to_owned());
    }
    Err(Error::TooOld {
        path: program.to_owned(),
        found: version.to_owned(),
        needed: OLDEST,
    })
}

fn parse_version(said: &str) -> Option<&str> {
    let rest = said.split_once("version ")?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    Some(&rest[..end.unwrap_or(rest.len())]).filter(|version| !version.is_empty())
}

/// Name and place of each shared object that the program needs, directly or not.
async fn libraries(loader: &Path, program: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let said = ask(loader, &["--list", &program.to_string_lossy()]).await?;
    let listed = parse_libraries(&said);
    listed.map_err(|missing| unusable(program, &format!("its library {missing} is missing")))
}

/// Lines are `name => path (address)`; the loader itself and the kernel's own object have no arrow.
fn parse_libraries(said: &str) -> Result<Vec<(String, PathBuf)>, String> {
    let mut found = Vec::new();
    for (name, rest) in said.lines().filter_map(|line| line.split_once(" => ")) {
        let name = name.trim();
        let path = rest.rsplit_once(" (").map_or(rest, |(path, _)| path);
        if !path.starts_with('/') {
            return Err(name.to_owned());
        }
        if !name.starts_with('/') {
            found.push((name.to_owned(), path.into()));
        }
    }
    Ok(found)
}

async fn firmware(program: &Path) -> Result<Vec<(&'static str, PathBuf)>, Error> {
    let dirs = ask(program, &["-L", "help"]).await?;
    let place = |name: &'static str| {
        let mut paths = dirs.lines().map(|dir| Path::new(dir.trim()).join(name));
        let found = paths.find(|path| path.exists());
        found
            .map(|path| (name, path))
            .ok_or_else(|| unusable(program, &format!("its firmware {name} is missing")))
    };
    FIRMWARE.into_iter().map(place).collect()
}

async fn ask(program: &Path, args: &[&str]) -> Result<String, Error> {
    let output = Program::new(program).args(args).limit(LIMIT).run().await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn unusable(program: &Path, why: &str) -> Error {
    Error::Unusable {
        path: program.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_version_is_found_whatever_surrounds_it() {
        let said = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright";
        assert_eq!(parse_version(said), Some("10.0.2"));
        assert_eq!(
            parse_version("QEMU emulator version 7.2.22\n"),
            Some("7.2.22")
        );
        assert_eq!(parse_version("version x"), None);
    }

    #[test]
    fn libraries_are_listed_and_a_missing_one_is_named() {
        let said = "\tlinux-vdso.so.1 (0x1)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x2)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let found = parse_libraries(said).unwrap();
        assert_eq!(
            found,
            [(
                "libz.so.1".to_owned(),
                "/lib/x86_64-linux-gnu/libz.so.1".into()
            )]
        );
        let missing = parse_libraries("\tlibgone.so => not found\n");
        assert_eq!(missing, Err("libgone.so".to_owned()));
    }

    #[tokio::test]
    async fn a_qemu_that_is_too_old_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("qemu");
        fs::write(&old, "#!/bin/sh\necho QEMU emulator version 7.2.22\n").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
        let error = files(Some(&old)).await.unwrap_err();
        assert!(error.to_string().contains("bookworm-backports"), "{error}");
        assert!(matches!(error, Error::TooOld { .. }), "{error}");
        let error = files(Some(Path::new("/absent"))).await.unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
    }
}
