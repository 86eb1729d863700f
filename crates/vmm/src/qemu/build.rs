//! A VMM build: the QEMU of this host with everything that it loads, copied aside and named by its content.
//!
//! Jails see the copy, never the host's folders. So an upgrade of the host's packages changes nothing under a VM that
//! runs, and a state that one build saved can be loaded by the same.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wrenn_sys::durable;
use wrenn_sys::program::Program;

use crate::Error;

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

/// A build, whole and on disk.
#[derive(Debug, Clone)]
pub(super) struct Build {
    /// Its folder: `bin/qemu`, `lib`, `firmware`.
    pub(super) dir: PathBuf,
    /// SHA-256 of its files and their names, in hexadecimal.
    pub(super) hash: String,
    /// Where the dynamic loader has to be found, if the program wants one.
    pub(super) loader: Option<PathBuf>,
}

/// The program, in the build's folder.
pub(super) const PROGRAM: &str = "bin/qemu";
/// The libraries, in the build's folder.
pub(super) const LIBRARIES: &str = "lib";
/// The firmware, in the build's folder.
pub(super) const FIRMWARE_DIR: &str = "firmware";
/// The loader, in the build's folder.
pub(super) const LOADER: &str = "lib/ld.so";

/// Finds the host's QEMU, or takes the one named, and copies it under `builds` unless the same one is there.
pub(super) async fn ensure(named: Option<&Path>, builds: &Path) -> Result<Build, Error> {
    let program = find(named)?;
    check_version(&program).await?;
    let loader = interpreter(&program)
        .map_err(Error::io(format!("reading {}", program.display())))?
        .map(PathBuf::from);
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
    let builds = builds.to_owned();
    let copied = tokio::task::spawn_blocking(move || {
        let (dir, hash) = copy(&files, &builds)?;
        Ok(Build { dir, hash, loader })
    });
    let copied = copied.await.map_err(io::Error::other).flatten();
    copied.map_err(Error::io("copying QEMU aside"))
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

async fn check_version(program: &Path) -> Result<(), Error> {
    let said = ask(program, &["--version"]).await?;
    let Some(version) = parse_version(&said) else {
        return Err(unusable(program, "it does not tell its version"));
    };
    let major = version.split('.').next().and_then(|n| n.parse().ok());
    if major.is_some_and(|major: u32| major >= OLDEST) {
        return Ok(());
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

/// The dynamic loader that a 64-bit ELF program names, if it names one.
fn interpreter(program: &Path) -> io::Result<Option<String>> {
    /// `PT_INTERP` of the ELF specification.
    const INTERPRETER: u64 = 3;
    /// Longer than any path.
    const LONGEST: u64 = 4096;

    let mut file = File::open(program)?;
    let mut read = |at: u64, length: u64| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        (&mut file).take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let number = |bytes: &[u8], at: usize, length: usize| -> io::Result<u64> {
        let field = bytes
            .get(at..at + length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(field
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | u64::from(*byte)))
    };
    let header = read(0, 64)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(io::Error::other("no 64-bit ELF file"));
    }
    let (table, entry, count) = (
        number(&header, 32, 8)?,
        number(&header, 54, 2)?,
        number(&header, 56, 2)?,
    );
    for index in 0..count {
        let segment = read(table + index * entry, 56)?;
        if number(&segment, 0, 4)? == INTERPRETER {
            let (at, length) = (number(&segment, 8, 8)?, number(&segment, 32, 8)?);
            let path = read(at, length.min(LONGEST))?;
            let path = String::from_utf8_lossy(&path);
            return Ok(Some(path.trim_end_matches('\0').to_owned()));
        }
    }
    Ok(None)
}

/// Copies the files to a folder named by their content. Only a whole one ever has that name.
fn copy(files: &BTreeMap<PathBuf, PathBuf>, builds: &Path) -> io::Result<(PathBuf, String)> {
    let hash = hash(files)?;
    let dir = builds.join(&hash);
    if dir.exists() {
        return Ok((dir, hash));
    }
    let aside = builds.join(format!(".{hash}.new"));
    durable::remove(&aside)?;
    for sub in [PROGRAM, LOADER, FIRMWARE_DIR] {
        let sub = aside.join(sub);
        fs::create_dir_all(if sub.ends_with(FIRMWARE_DIR) {
            &sub
        } else {
            parent(&sub)
        })?;
    }
    for (to, from) in files {
        let to = aside.join(to);
        fs::copy(from, &to)?;
        fs::set_permissions(&to, Permissions::from_mode(0o555))?;
        File::open(&to)?.sync_all()?;
    }
    for sub in [PROGRAM, LOADER] {
        durable::sync_dir(parent(&aside.join(sub)))?;
    }
    durable::sync_dir(&aside.join(FIRMWARE_DIR))?;
    durable::sync_dir(&aside)?;
    durable::publish(&aside, &dir)?;
    Ok((dir, hash))
}

fn hash(files: &BTreeMap<PathBuf, PathBuf>) -> io::Result<String> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for (name, path) in files {
        let mut file = File::open(path)?;
        sum.update(name.as_os_str().as_encoded_bytes());
        sum.update([0]);
        sum.update(file.metadata()?.len().to_le_bytes());
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => sum.update(&buffer[..read]),
            }
        }
    }
    Ok(sum.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_dynamic_program_names_its_loader() {
        let own = interpreter(&std::env::current_exe().unwrap())
            .unwrap()
            .unwrap();
        assert!(Path::new(&own).exists(), "{own}");
        let text = tempfile::NamedTempFile::new().unwrap();
        assert!(interpreter(text.path()).is_err());
    }

    #[tokio::test]
    async fn a_qemu_that_is_too_old_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("qemu");
        fs::write(&old, "#!/bin/sh\necho QEMU emulator version 7.2.22\n").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
        let error = ensure(Some(&old), dir.path()).await.unwrap_err();
        assert!(error.to_string().contains("bookworm-backports"), "{error}");
        assert!(matches!(error, Error::TooOld { .. }), "{error}");
        let error = ensure(Some(Path::new("/absent")), dir.path())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
    }

    #[test]
    fn a_build_is_copied_once_and_known_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let files = BTreeMap::from([(PathBuf::from(PROGRAM), std::env::current_exe().unwrap())]);
        let (first, _) = copy(&files, dir.path()).unwrap();
        let (again, _) = copy(&files, dir.path()).unwrap();
        assert_eq!(first, again);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
