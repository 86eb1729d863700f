//! A file system with reflinks, and on it a sandbox whose guest is a model.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use wrenn_disk::{Disk, Layer, Qcow2};
use wrenn_model::{
    Isolation, MiB, NetworkPolicy, OnTimeout, Platform, SandboxId, SandboxSpec, TemplateName,
    VmmKind,
};
use wrenn_snapshot::{Error, Facts, Generation, Generations, Next, base_root};
use wrenn_sys::extents::Piece;

pub(crate) const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// A sandbox in a folder of its own, and its VM as a model.
pub(crate) struct Sandbox {
    pub(crate) folder: PathBuf,
    pub(crate) generations: Generations,
    memory: MiB,
    base: PathBuf,
    empty: PathBuf,
    vms: u32,
}

/// What runs: where it came from, and what it wrote since.
pub(crate) struct Vm {
    pub(crate) parent: Option<Generation>,
    pub(crate) layer: Layer,
    /// Each page that was written, as the byte that it is full of.
    dirty: BTreeMap<u64, u8>,
    pub(crate) state: Vec<u8>,
}

impl Sandbox {
    pub(crate) fn new(root: &Path, name: &str, memory: MiB) -> Self {
        let folder = root.join(name);
        fs::create_dir(&folder).unwrap();
        let base = folder.join("base.ext4");
        let file = File::create(&base).unwrap();
        file.set_len(4 * MIB).unwrap();
        file.write_all_at(&[0x42; 10_000], MIB).unwrap();
        let empty = folder.join("empty");
        File::create(&empty)
            .unwrap()
            .set_len(memory.bytes())
            .unwrap();
        Self {
            generations: Generations::of(&folder),
            folder,
            memory,
            base,
            empty,
            vms: 0,
        }
    }

    fn layer(&mut self) -> Layer {
        self.vms += 1;
        Layer {
            overlay: self.folder.join(format!("disk-{}.qcow2", self.vms)),
            base: self.base.clone(),
            virtual_size: 64 * MIB,
        }
    }

    pub(crate) fn boot(&mut self) -> Vm {
        let layer = self.layer();
        Qcow2.create(&layer, 0).unwrap();
        Vm::new(None, layer)
    }

    /// A VM that has written some of its memory and disk.
    pub(crate) fn boot_filled(&mut self) -> Vm {
        let mut vm = self.boot();
        vm.fill(0..300, 1);
        vm.fill(700..702, 2);
        vm.write_disk(MIB, 300_000, 3);
        vm
    }

    pub(crate) fn resume(&mut self, generation: &Generation) -> Vm {
        generation.check().unwrap();
        let layer = self.layer();
        Qcow2.branch(&generation.layer(), &layer, 0).unwrap();
        Vm::new(Some(generation.clone()), layer)
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            spec: spec(self.memory),
            platform: platform(),
            kernel: "6.12".into(),
            envd: "0.1".into(),
            created_ms: 1_700_000_000_000,
        }
    }

    /// The steps of a pause but the last, in their order.
    pub(crate) fn steps<'a>(&'a self, vm: &'a Vm) -> Vec<(&'static str, Step<'a>)> {
        vec![
            ("state", Box::new(|next| next.put_state(&vm.state))),
            ("memory", Box::new(|next| self.capture_memory(next, vm))),
            (
                "disk",
                Box::new(|next| {
                    next.capture_disk(&Qcow2, &vm.layer, vm.parent.as_ref())
                        .map(drop)
                }),
            ),
            (
                "base",
                Box::new(|next| {
                    let root = base_root(&File::open(&self.base).unwrap()).unwrap();
                    next.link_base(&self.base, root)
                }),
            ),
            ("sync", Box::new(|next| next.sync())),
        ]
    }

    fn capture_memory(&self, next: &mut Next, vm: &Vm) -> Result<(), Error> {
        let (source, pieces) = vm.pages();
        let parent = vm.parent.as_ref();
        let mapped = parent.map_or(self.empty.clone(), Generation::memory);
        next.capture_memory(&mapped, parent, &source, &pieces)
            .map(drop)
    }

    pub(crate) fn pause(&self, vm: &Vm) -> Result<Generation, Error> {
        let mut next = self.generations.begin()?;
        for (_, step) in self.steps(vm) {
            step(&mut next)?;
        }
        next.publish(self.facts())
    }
}

pub(crate) type Step<'a> = Box<dyn Fn(&mut Next) -> Result<(), Error> + 'a>;

impl Vm {
    fn new(parent: Option<Generation>, layer: Layer) -> Self {
        Self {
            parent,
            layer,
            dirty: BTreeMap::new(),
            state: vec![7; 5000],
        }
    }

    /// Fills pages with a byte; 0 makes them zeros.
    pub(crate) fn fill(&mut self, pages: std::ops::Range<u64>, byte: u8) {
        self.dirty.extend(pages.map(|page| (page, byte)));
    }

    /// Writes a piece of the disk's layer; 0 punches it.
    pub(crate) fn write_disk(&self, at: u64, len: usize, byte: u8) {
        let file = OpenOptions::new()
            .write(true)
            .open(&self.layer.overlay)
            .unwrap();
        if byte == 0 {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, flags, at, len as u64).unwrap();
        } else {
            file.write_all_at(&vec![byte; len], at).unwrap();
        }
    }

    /// Makes the layer's file shorter or longer.
    pub(crate) fn resize_disk(&self, len: u64) {
        let file = OpenOptions::new()
            .write(true)
            .open(&self.layer.overlay)
            .unwrap();
        file.set_len(len).unwrap();
    }

    /// The process's memory, and which of it was written.
    fn pages(&self) -> (File, Vec<Piece>) {
        let source = tempfile::tempfile().unwrap();
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, (page, byte)) in self.dirty.iter().enumerate() {
            let (from, to) = (at as u64 * PAGE, page * PAGE);
            source
                .write_all_at(&vec![*byte; usize::try_from(PAGE).unwrap()], from)
                .unwrap();
            match pieces.last_mut() {
                Some(last) if last.to + last.len == to => last.len += PAGE,
                _ => pieces.push(Piece {
                    from,
                    to,
                    len: PAGE,
                }),
            }
        }
        (source, pieces)
    }
}

fn spec(memory: MiB) -> SandboxSpec {
    SandboxSpec {
        id: SandboxId::random(),
        template: "minimal".parse::<TemplateName>().unwrap(),
        vcpus: 1,
        memory,
        timeout_sec: 300,
        on_timeout: OnTimeout::Pause,
        auto_resume: true,
        hostname: "sandbox".into(),
        metadata: [("a".to_owned(), "b\n\u{202e}".to_owned())].into(),
        envs: BTreeMap::new(),
        owner_id: String::new(),
        network: NetworkPolicy::default(),
        parent: None,
    }
}

fn platform() -> Platform {
    Platform {
        vmm: VmmKind::Qemu,
        build: "00".into(),
        isolation: Isolation::Emulated,
        machine: "microvm".into(),
        cpu_model: "max".into(),
        host_cpu: "some CPU".into(),
        cpu_features: BTreeSet::new(),
        tsc_khz: 2_600_000,
    }
}

/// The names in a folder.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
