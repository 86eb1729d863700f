//! A guest kernel out of Debian's source package, with what a microVM has and what runs in one uses: without modules, and with
//! nothing to look for that is not there, it boots twice as fast as the distribution's, emulated.
//!
//! The host's own compiler builds it. What it needs beside that is a few packages, which are named when they are missing.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wrenn_sys::program::Program;

use super::write;
use crate::apt::Apt;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::vmlinux;

/// The options; whatever is not named is off.
const CONFIG: &str = include_str!("../../../../images/kernel.config");

/// How the names of Debian's source packages begin.
const PACKAGES: &str = "linux-source";

/// What the build runs or includes, and the package that has it.
const TOOLS: [(&str, &str); 8] = [
    ("bin/bc", "bc"),
    ("bin/bison", "bison"),
    ("bin/flex", "flex"),
    ("bin/gcc", "gcc"),
    ("bin/make", "make"),
    ("bin/xz", "xz-utils"),
    ("include/gelf.h", "libelf-dev"),
    ("include/stdio.h", "libc6-dev"),
];
/// Where they may be.
const PLACES: [&str; 3] = ["/usr/local", "/usr", "/"];

/// Two slow cores take a quarter of an hour.
const LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

/// What the kernel would tell of who built it, and where and when: the same source gives the same kernel.
const NOBODY: [(&str, &str); 3] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan 1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "wrenn"),
    ("KBUILD_BUILD_HOST", "wrenn"),
];

/// Whether a package has a kernel's source.
pub(super) fn is_source(package: &str) -> bool {
    package.starts_with(PACKAGES)
}

/// Builds the kernel of a source package in `dir`. What is made on the way is in `dir/scratch`, the caller's to remove.
pub(super) async fn build(dir: &Path, package: &str, progress: &dyn Progress) -> Result<()> {
    let missing = missing(&PLACES.map(Path::new));
    if !missing.is_empty() {
        return Err(Error::NoTools { packages: missing });
    }
    let scratch = dir.join("scratch");
    let source = fetch(&scratch, package, progress).await?;
    configure(&source, progress).await?;
    progress.step("building the kernel");
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    make(&source)
        .args([format!("--jobs={processors}").as_str(), "vmlinux"])
        .run_with(|line| progress.detail(line))
        .await
        .map_err(Error::program(dir))?;
    let told = make(&source)
        .args(["--silent", "kernelrelease"])
        .run()
        .await;
    let told = told.map_err(Error::program(dir))?;
    let release = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    let (dir, package) = (dir.to_owned(), package.to_owned());
    tokio::task::spawn_blocking(move || {
        let path = source.join("vmlinux");
        let kernel = fs::read(&path).map_err(Error::io("read", &path))?;
        vmlinux::check(&kernel).map_err(|reason| Error::BadKernel {
            package: package.clone(),
            reason,
        })?;
        write(&dir, &package, release, &kernel, &[])
    })
    .await?
}

/// Downloads a package's source and unpacks it.
async fn fetch(scratch: &Path, package: &str, progress: &dyn Progress) -> Result<PathBuf> {
    let (tree, source) = (scratch.join("tree"), scratch.join("source"));
    for dir in [&tree, &source] {
        fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
    }
    let apt = Apt::update(&scratch.join("apt"), progress).await?;
    let real = apt.real_package(package, PACKAGES).await?;
    progress.step(&format!("downloading {real}"));
    let deb = apt.download(&real, scratch, progress).await?;
    progress.step("unpacking the kernel's source");
    let unpack = Program::new("dpkg-deb").arg("-x").args([&deb, &tree]);
    unpack.run().await.map_err(Error::program(scratch))?;
    let archive = find_archive(&tree.join("usr/src")).ok_or_else(|| Error::BadKernel {
        package: package.to_owned(),
        reason: "the package has no usr/src/linux-source-*.tar.xz".to_owned(),
    })?;
    let unpack = Program::new("tar")
        .args(["--extract", "--strip-components=1", "--no-same-owner"])
        .arg("--directory")
        .arg(&source)
        .arg("--file")
        .arg(&archive)
        .limit(LIMIT);
    unpack.run().await.map_err(Error::program(scratch))?;
    Ok(source)
}

/// Turns everything off but what our list names and what that needs.
async fn configure(source: &Path, progress: &dyn Progress) -> Result<()> {
    let wanted = source.join("wanted.config");
    fs::write(&wanted, CONFIG).map_err(Error::io("write", &wanted))?;
    make(source)
        .arg("allnoconfig")
        .env("KCONFIG_ALLCONFIG", &wanted)
        .run()
        .await
        .map_err(Error::program(source))?;
    let path = source.join(".config");
    let taken = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    for option in not_taken(CONFIG, &taken) {
        progress.detail(&format!("this source has no {option}"));
    }
    Ok(())
}

/// What runs in guests goes before.
fn make(source: &Path) -> Program {
    let make = Program::new("nice")
        .args(["-n", "10", "make"])
        .current_dir(source)
        .limit(LIMIT);
    NOBODY
        .iter()
        .fold(make, |make, (name, value)| make.env(name, value))
}

fn find_archive(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(PACKAGES) && name.ends_with(".tar.xz")
    })
}

/// The packages that have what is not there.
fn missing(places: &[&Path]) -> Vec<&'static str> {
    let there = |name: &str| places.iter().any(|place| place.join(name).exists());
    let missing = TOOLS.iter().filter(|(name, _)| !there(name));
    missing.map(|(_, package)| *package).collect()
}

/// The options that were wanted and are not in the configuration that came of it: another version calls them otherwise.
fn not_taken<'a>(wanted: &'a str, taken: &str) -> Vec<&'a str> {
    let set = |line: &&str| line.starts_with("CONFIG_");
    let taken: Vec<_> = taken.lines().filter(set).collect();
    let wanted = wanted.lines().filter(set);
    wanted.filter(|option| !taken.contains(option)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_by_its_package() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(missing(&[dir.path()]).len(), TOOLS.len());
        for folder in ["bin", "include"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for (name, _) in TOOLS {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::remove_file(dir.path().join("include/gelf.h")).unwrap();
        assert_eq!(missing(&[Path::new("/absent"), dir.path()]), ["libelf-dev"]);
        let packages = vec!["flex", "libelf-dev"];
        let error = Error::NoTools { packages };
        assert!(error.remedy().contains("apt-get install flex libelf-dev"));
    }

    #[test]
    fn options_that_came_to_nothing_are_named() {
        let wanted =
            "# A remark.\nCONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=\"-x\"\n";
        let taken = "CONFIG_A=y\nCONFIG_B=m\nCONFIG_D=\"-x\"\n";
        assert_eq!(not_taken(wanted, taken), ["CONFIG_B=y"]);
        assert_eq!(not_taken(wanted, wanted), [""; 0]);
    }

    /// Without these no guest of ours comes up.
    #[test]
    fn the_list_has_what_a_guest_boots_by() {
        let needed = [
            "PVH",
            "ACPI",
            "PCI",
            "VIRTIO_MMIO",
            "VIRTIO_BLK",
            "VIRTIO_NET",
            "HW_RANDOM_VIRTIO",
            "EXT4_FS",
            "SERIAL_8250_CONSOLE",
            "BLK_DEV_INITRD",
            "KVM_GUEST",
            "DEVTMPFS",
            "64BIT",
        ];
        for name in needed {
            let option = format!("CONFIG_{name}=y");
            assert!(CONFIG.lines().any(|line| line == option), "{option}");
        }
        let options = CONFIG.lines().filter(|line| line.starts_with("CONFIG_"));
        let mut names: Vec<_> = options.map(|line| line.split('=').next()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "an option is named twice");
    }

    #[test]
    fn a_package_without_an_archive_is_no_source() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find_archive(dir.path()), None);
        let archive = dir.path().join("linux-source-6.1.tar.xz");
        fs::write(dir.path().join("linux-patch-6.1-rt.patch.xz"), "").unwrap();
        fs::write(&archive, "").unwrap();
        assert_eq!(find_archive(dir.path()), Some(archive));
        assert!(is_source("linux-source-6.12") && !is_source("linux-image-cloud-amd64"));
    }
}
