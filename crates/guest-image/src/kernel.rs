//! The guest kernel: Debian's cloud kernel, unpacked to what a VMM starts, and the modules that a guest needs to boot; or one
//! that is built from Debian's source package, and has no modules.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wrenn_sys::program::Program;
use wrenn_sys::reflink;

use crate::apt::Apt;
use crate::error::{Error, Result};
use crate::folder::Pinned;
use crate::hash;
use crate::modules::{Catalog, Module};
use crate::progress::Progress;
use crate::vmlinux;

/// The package that guests' kernel is taken from when nobody names another: Debian 12's. The later ones boot slower.
pub const DEFAULT_KERNEL: &str = "linux-image-cloud-amd64";

/// What a guest needs before it sees its disk and its network.
const BOOT_MODULES: [&str; 4] = ["virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng"];

/// Raised when a kernel is made differently from the same package.
const FORMAT: u32 = 1;

/// The file that describes a kernel, beside it.
const ABOUT: &str = "kernel.json";

/// A kernel that guests boot, in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The hash of kernel and modules; the name of its folder.
    pub id: String,
    /// Its version, as `uname -r` gives it.
    pub release: String,
    /// The kernel as an ELF file with an entry point for direct start.
    pub vmlinux: PathBuf,
    /// The modules to load at boot, uncompressed, in the order of loading.
    pub modules: Vec<PathBuf>,
}

/// What is written beside a kernel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct About {
    pub id: String,
    /// What it was made from: the package asked for, and this crate's way of making it.
    pub key: String,
    pub release: String,
    /// File names in `modules/`, in the order of loading.
    modules: Vec<String>,
}

/// The cache key of the kernel of a package. What a source package is built with is not in it: a host goes on with the kernel
/// that it has until somebody asks for another.
pub(crate) fn key(package: &str) -> String {
    hash::bytes(format!("kernel {FORMAT} {package}").as_bytes())
}

/// Makes the kernel of a package in `dir`: `vmlinux`, `modules/` and a description.
pub(crate) async fn build(dir: &Path, package: &str, progress: &dyn Progress) -> Result<()> {
    if source::is_source(package) {
        source::build(dir, package, progress).await?;
    } else {
        unpack(dir, package, progress).await?;
    }
    let scratch = dir.join("scratch");
    let remove = move || fs::remove_dir_all(&scratch).map_err(Error::io("remove", &scratch));
    tokio::task::spawn_blocking(remove).await?
}

/// Makes the kernel out of a package that has it built.
async fn unpack(dir: &Path, package: &str, progress: &dyn Progress) -> Result<()> {
    let scratch = dir.join("scratch");
    let tree = scratch.join("tree");
    fs::create_dir_all(&tree).map_err(Error::io("make", &tree))?;
    let apt = Apt::update(&scratch.join("apt"), progress).await?;
    let real = apt.real_package(package, "linux-image-").await?;
    progress.step(&format!("downloading {real}"));
    let deb = apt.download(&real, &scratch, progress).await?;
    progress.step("unpacking the kernel");
    Program::new("dpkg-deb")
        .arg("-x")
        .args([&deb, &tree])
        .run()
        .await
        .map_err(Error::program(dir))?;
    let (dir, package) = (dir.to_owned(), package.to_owned());
    tokio::task::spawn_blocking(move || convert(&tree, &dir, &package)).await?
}

/// From a package's files to ours.
fn convert(tree: &Path, dir: &Path, package: &str) -> Result<()> {
    let bad = |reason| Error::BadKernel {
        package: package.to_owned(),
        reason,
    };
    let (release, image) = find_image(&tree.join("boot"))
        .ok_or_else(|| bad("the package has no boot/vmlinuz".to_owned()))?;
    let image = fs::read(&image).map_err(Error::io("read", &image))?;
    let vmlinux = vmlinux::extract(&image).map_err(bad)?;
    let modules_dir = [tree.join("lib/modules"), tree.join("usr/lib/modules")]
        .map(|dir| dir.join(&release))
        .into_iter()
        .find(|dir| dir.is_dir())
        .ok_or_else(|| bad("the package has no modules".to_owned()))?;
    let catalog = Catalog::read(&modules_dir).map_err(Error::io("read", &modules_dir))?;
    let modules = catalog.load_order(&BOOT_MODULES).map_err(bad)?;
    write(dir, package, release, &vmlinux, &modules)
}

fn write(
    dir: &Path,
    package: &str,
    release: String,
    vmlinux: &[u8],
    modules: &[Module],
) -> Result<()> {
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(Error::io("write", &path))
    };
    fs::create_dir(dir.join("modules")).map_err(Error::io("make a folder in", dir))?;
    put("vmlinux", vmlinux)?;
    let mut hashes = hash::bytes(vmlinux);
    let mut names = Vec::new();
    for module in modules {
        let name = format!("{}.ko", module.name);
        put(&format!("modules/{name}"), &module.bytes)?;
        hashes += &format!(" {name} {}", hash::bytes(&module.bytes));
        names.push(name);
    }
    let about = About {
        id: hash::bytes(hashes.as_bytes()),
        key: key(package),
        release,
        modules: names,
    };
    let about = serde_json::to_vec_pretty(&about)
        .map_err(|error| Error::io("describe", dir)(error.into()))?;
    put(ABOUT, &about)
}

/// The kernel image in a package's `boot`, and its release: what follows `vmlinuz-`.
fn find_image(boot: &Path) -> Option<(String, PathBuf)> {
    fs::read_dir(boot).ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let release = name.strip_prefix("vmlinuz-")?;
        Some((release.to_owned(), entry.path()))
    })
}

/// Copies a finished folder.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let pinned = Pinned::open(from).map_err(Error::io("read", from))?;
    let from = pinned.path();
    let modules = to.join("modules");
    fs::create_dir(&modules).map_err(Error::io("make", &modules))?;
    let mut names = vec!["vmlinux".to_owned(), ABOUT.to_owned()];
    names.extend(
        about(&from)?
            .modules
            .iter()
            .map(|name| format!("modules/{name}")),
    );
    for name in names {
        let path = to.join(&name);
        reflink::clone_or_copy(&from.join(&name), &path, 0o444)
            .map_err(Error::io("copy to", &path))?;
    }
    Ok(())
}

/// Reads what stands beside a kernel.
pub(crate) fn about(dir: &Path) -> Result<About> {
    let path = dir.join(ABOUT);
    let text = fs::read(&path).map_err(Error::io("read", &path))?;
    serde_json::from_slice(&text).map_err(|error| Error::io("understand", &path)(error.into()))
}

/// The kernel in a finished folder.
pub(crate) fn open(dir: &Path) -> Result<Kernel> {
    let about = about(dir)?;
    Ok(Kernel {
        id: about.id,
        release: about.release,
        vmlinux: dir.join("vmlinux"),
        modules: about
            .modules
            .iter()
            .map(|name| dir.join("modules").join(name))
            .collect(),
    })
}

impl Kernel {
    /// Its modules with their contents, in the order of loading.
    pub(crate) fn read_modules(&self) -> Result<Vec<Module>> {
        self.modules
            .iter()
            .map(|path| {
                let bytes = fs::read(path).map_err(Error::io("read", path))?;
                let name = path.file_stem().unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                Ok(Module { name, bytes })
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::elf::tests::{with_note, with_section};
    use crate::vmlinux::tests::{image, lz4};

    /// The folder of a kernel of this release, made from the files of a package as Debian has them.
    pub(crate) fn made(dir: &Path, release: &str) {
        let tree = dir.with_extension("package");
        let drivers = tree.join(format!("lib/modules/{release}/kernel/drivers"));
        fs::create_dir_all(&drivers).unwrap();
        fs::create_dir(tree.join("boot")).unwrap();
        let vmlinux = [with_note("Xen", 18), release.as_bytes().to_vec()].concat();
        let boot = tree.join(format!("boot/vmlinuz-{release}"));
        fs::write(boot, image(&lz4(&vmlinux))).unwrap();
        let builtin = drivers.join("../../modules.builtin");
        fs::write(builtin, "kernel/drivers/virtio_rng.ko\n").unwrap();
        for (name, depends) in [
            ("virtio_blk", "virtio"),
            ("virtio_mmio", "virtio"),
            ("virtio_net", "virtio"),
            ("virtio", ""),
        ] {
            let info = format!("depends={depends}\0");
            let module = with_section(".modinfo", info.as_bytes());
            fs::write(drivers.join(format!("{name}.ko")), module).unwrap();
        }
        convert(&tree, dir, DEFAULT_KERNEL).unwrap();
    }

    #[test]
    fn a_package_becomes_a_kernel_and_its_modules_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        fs::create_dir(&first).unwrap();
        made(&first, "6.1.0-test");
        let kernel = open(&first).unwrap();
        assert_eq!(kernel.release, "6.1.0-test");
        assert!(fs::read(&kernel.vmlinux).unwrap().ends_with(b"6.1.0-test"));
        let modules = kernel.read_modules().unwrap();
        let names: Vec<_> = modules.iter().map(|module| &module.name).collect();
        assert_eq!(names, ["virtio", "virtio_mmio", "virtio_blk", "virtio_net"]);
        fs::create_dir(&second).unwrap();
        copy(&first, &second).unwrap();
        let copied = open(&second).unwrap();
        assert_eq!(copied.id, kernel.id);
        assert_eq!(copied.read_modules().unwrap(), modules);
    }

    #[test]
    fn a_package_without_a_kernel_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = convert(dir.path(), dir.path(), "linux-doc").unwrap_err();
        assert!(error.to_string().contains("linux-doc"), "{error}");
    }
}
