//! Kernel modules: what a module needs, by its own `.modinfo`, and the order in which to load them. The packages come
//! without `modules.dep`, which is made at installation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::elf::Elf;

/// No module is larger, unpacked.
const MAX_MODULE: usize = 64 << 20;

/// A module as the kernel takes it: uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its name as the kernel lists it, with underscores.
    pub name: String,
    /// The ELF file.
    pub bytes: Vec<u8>,
}

/// The modules of one kernel, as files by name, and the names of those built into it.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Catalog {
    /// Reads the names below `lib/modules/<release>`.
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let mut catalog = Self::default();
        catalog.add(&dir.join("kernel"))?;
        let builtin = fs::read_to_string(dir.join("modules.builtin"))?;
        catalog.builtin = builtin
            .lines()
            .filter_map(|line| module_name(Path::new(line)))
            .collect();
        Ok(catalog)
    }

    fn add(&mut self, dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.add(&path)?;
            } else if let Some(name) = module_name(&path) {
                self.files.insert(name, path);
            }
        }
        Ok(())
    }

    /// The wanted modules and all that they need, each after what it needs. What is built in is left out.
    pub(crate) fn load_order(&self, wanted: &[&str]) -> Result<Vec<Module>, String> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in wanted {
            self.visit(name, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<Module>,
    ) -> Result<(), String> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self
            .files
            .get(name)
            .ok_or_else(|| format!("it has no module {name}"))?;
        let bytes = unpacked(path).map_err(|error| format!("its module {name}: {error}"))?;
        let needs = depends(&bytes).ok_or_else(|| format!("its module {name} is no module"))?;
        for need in needs {
            self.visit(&need, seen, order)?;
        }
        order.push(Module {
            name: name.to_owned(),
            bytes,
        });
        Ok(())
    }
}

/// The module's name by its file's: `virtio-rng.ko.xz` is `virtio_rng`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = file
        .strip_suffix(".ko")
        .or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(stem.replace('-', "_"))
}

/// What a module needs, by the `depends=` of its `.modinfo`.
fn depends(module: &[u8]) -> Option<Vec<String>> {
    let info = Elf::parse(module)?.section(".modinfo")?;
    let list = info
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"depends="))?;
    let names = String::from_utf8_lossy(list)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect();
    Some(names)
}

fn unpacked(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::read(path)?;
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(file);
    }
    let mut module = Bounded(Vec::new());
    lzma_rs::xz_decompress(&mut file.as_slice(), &mut module)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(module.0)
}

/// A buffer that takes no more than a module can have.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_MODULE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::tests::with_section;

    fn module(depends: &str) -> Vec<u8> {
        let info = format!("license=GPL\0depends={depends}\0intree=Y\0");
        with_section(".modinfo", info.as_bytes())
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        lzma_rs::xz_compress(&mut &*data, &mut packed).unwrap();
        packed
    }

    /// A kernel's modules, one of them compressed, and one built in.
    fn catalog(dir: &Path) -> Catalog {
        let drivers = dir.join("kernel/drivers/virtio");
        fs::create_dir_all(&drivers).unwrap();
        fs::write(dir.join("modules.builtin"), "kernel/drivers/rng-core.ko\n").unwrap();
        let net = module("net-failover,virtio_ring,rng-core");
        fs::write(drivers.join("virtio_net.ko.xz"), xz(&net)).unwrap();
        fs::write(drivers.join("net_failover.ko"), module("failover")).unwrap();
        fs::write(drivers.join("failover.ko"), module("")).unwrap();
        fs::write(drivers.join("virtio_ring.ko"), module("")).unwrap();
        fs::write(drivers.join("text.ko"), "text").unwrap();
        fs::write(drivers.join("orphan.ko"), module("absent")).unwrap();
        Catalog::read(dir).unwrap()
    }

    #[test]
    fn each_module_comes_once_and_after_what_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let order = catalog(dir.path())
            .load_order(&["virtio_ring", "virtio_net", "failover"])
            .unwrap();
        let names: Vec<_> = order.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(
            names,
            ["virtio_ring", "failover", "net_failover", "virtio_net"]
        );
        assert!(Elf::parse(&order[3].bytes).is_some(), "it is unpacked");
    }

    #[test]
    fn what_is_missing_or_no_module_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(dir.path());
        let reason = |name| catalog.load_order(&[name]).unwrap_err();
        assert!(reason("virtio_blk").contains("virtio_blk"));
        assert!(reason("orphan").contains("absent"));
        assert!(reason("text").contains("no module"));
    }

    #[test]
    fn a_compressed_module_cannot_fill_memory() {
        let mut bounded = Bounded(vec![0; MAX_MODULE]);
        bounded.write_all(b"x").unwrap_err();
    }
}
