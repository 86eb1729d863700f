//! Generations on a real XFS: what they hold, over any history, and what a crash or a full disk leaves.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test stops at the first surprise"
)]

mod lab;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use lab::{MIB, Sandbox, Vm, names};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wrenn_model::MiB;
use wrenn_snapshot::{Error, Generation, base_root};
use wrenn_testkit::xfs::on_xfs;

const MEMORY: MiB = MiB(5);
const PAGES: u64 = 5 * 256;

/// What happens between two pauses.
#[derive(Debug, Clone)]
enum Act {
    Fill { page: u64, count: u64, byte: u8 },
    Disk { at: u64, len: usize, byte: u8 },
    Resize { len: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let byte = prop_oneof![Just(0_u8), 1..4_u8];
    prop_oneof![
        4 => (0..PAGES, 1..200_u64, byte.clone())
            .prop_map(|(page, count, byte)| Act::Fill { page, count, byte }),
        4 => (0..(6 * MIB), 1..300_000_usize, byte)
            .prop_map(|(at, len, byte)| Act::Disk { at, len, byte }),
        1 => (256 * 1024..8 * MIB).prop_map(|len| Act::Resize { len }),
    ]
}

/// A generation that was published, with what it held then.
struct Kept {
    generation: Generation,
    memory: Vec<u8>,
    layer: Vec<u8>,
}

fn apply(vm: &mut Vm, memory: &mut [u8], act: &Act) {
    match *act {
        Act::Fill { page, count, byte } => {
            let end = (page + count).min(PAGES);
            vm.fill(page..end, byte);
            memory[page as usize * 4096..end as usize * 4096].fill(byte);
        }
        Act::Disk { at, len, byte } => vm.write_disk(at, len, byte),
        Act::Resize { len } => vm.resize_disk(len),
    }
}

/// Whether a generation is what it was, its sums too.
fn assert_kept(kept: &Kept) {
    let generation = &kept.generation;
    assert!(
        fs::read(generation.memory()).unwrap() == kept.memory,
        "memory"
    );
    assert!(fs::read(generation.layer()).unwrap() == kept.layer, "layer");
    generation.verify(&|| false).unwrap();
    let manifest = generation.manifest();
    let root = |path| base_root(&File::open(path).unwrap()).unwrap();
    assert_eq!(manifest.memory.root, root(generation.memory()));
    assert_eq!(manifest.layer.image.root, root(generation.layer()));
}

#[test]
fn any_history_reads_back_as_a_flat_model() {
    on_xfs(1024 * MIB, |disk| {
        let disk = disk.to_owned();
        let mut runner = TestRunner::new(Config {
            cases: 16,
            failure_persistence: None,
            ..Config::default()
        });
        let round = (
            any::<prop::sample::Index>(),
            prop::collection::vec(act(), 0..12),
        );
        let history = prop::collection::vec(round, 1..7);
        runner
            .run(&history, |history| {
                let mut sandbox = Sandbox::new(&disk, "box", MEMORY);
                let mut all: Vec<Kept> = Vec::new();
                for (from, acts) in history {
                    let (mut vm, mut memory) = if all.is_empty() {
                        (sandbox.boot(), vec![0; MEMORY.bytes() as usize])
                    } else {
                        let from = from.get(&all);
                        (sandbox.resume(&from.generation), from.memory.clone())
                    };
                    for act in &acts {
                        apply(&mut vm, &mut memory, act);
                    }
                    let generation = sandbox.pause(&vm).unwrap();
                    let layer = fs::read(&vm.layer.overlay).unwrap();
                    all.push(Kept {
                        generation,
                        memory,
                        layer,
                    });
                }
                all.iter().for_each(assert_kept);
                fs::remove_dir_all(&sandbox.folder).unwrap();
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn published_files_are_root_s_and_read_only_and_the_newest_is_current() {
    on_xfs(512 * MIB, |disk| {
        let mut sandbox = Sandbox::new(disk, "box", MEMORY);
        assert!(sandbox.generations.current().unwrap().is_none());
        let mut vm = sandbox.boot();
        vm.fill(0..10, 1);
        let first = sandbox.pause(&vm).unwrap();
        assert_eq!(first.id().to_string(), "g-00000001");
        let dir = sandbox.folder.join("generations/g-00000001");
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        for name in names(&dir).iter().filter(|name| *name != "base") {
            let meta = dir.join(name).metadata().unwrap();
            assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o444), "{name}");
        }
        assert!(!sandbox.folder.join("next").exists());
        let second = {
            let vm = sandbox_resumed(&mut sandbox, &first);
            sandbox.pause(&vm).unwrap()
        };
        let current = sandbox.generations.current().unwrap().unwrap();
        assert_eq!(current.manifest(), second.manifest());
        assert_eq!(current.manifest().parent, Some(first.id()));
        assert_eq!(current.manifest().base.root, first.manifest().base.root);
    });
}

fn sandbox_resumed(sandbox: &mut Sandbox, from: &Generation) -> Vm {
    let mut vm = sandbox.resume(from);
    vm.fill(3..7, 9);
    vm.write_disk(MIB, 10_000, 5);
    vm
}

#[test]
fn a_generation_costs_what_was_written() {
    on_xfs(1024 * MIB, |disk| {
        let mut sandbox = Sandbox::new(disk, "box", MiB(256));
        let mut vm = sandbox.boot();
        vm.fill(0..256 * 128, 1);
        let first = sandbox.pause(&vm).unwrap();
        assert_eq!(first.manifest().memory.written, 128 * MIB);
        let mut vm = sandbox.resume(&first);
        vm.fill(1000..1256, 2);
        vm.fill(5000..5256, 0);
        let used = || {
            let stat = rustix::fs::statvfs(disk).unwrap();
            (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        };
        let before = used();
        let second = sandbox.pause(&vm).unwrap();
        let cost = used().saturating_sub(before);
        assert_eq!(second.manifest().memory.written, MIB);
        assert!(cost < 2 * MIB, "{cost}");
    });
}

#[test]
fn a_crash_at_any_point_leaves_the_old_one_and_the_next_can_begin() {
    on_xfs(512 * MIB, |disk| {
        let mut sandbox = Sandbox::new(disk, "box", MEMORY);
        let vm = sandbox.boot_filled();
        let old = sandbox.pause(&vm).unwrap();
        let vm = sandbox_resumed(&mut sandbox, &old);
        let count = sandbox.steps(&vm).len();
        for until in 0..=count {
            let mut next = sandbox.generations.begin().unwrap();
            for (_, step) in sandbox.steps(&vm).into_iter().take(until) {
                step(&mut next).unwrap();
            }
            drop(next);
            let current = sandbox.generations.current().unwrap().unwrap();
            assert_eq!(current.id(), old.id(), "after {until} steps");
            current.verify(&|| false).unwrap();
        }
        assert!(sandbox.folder.join("next").exists());
        sandbox.generations.abandon().unwrap();
        sandbox.generations.abandon().unwrap();
        assert!(!sandbox.folder.join("next").exists());
        let new = sandbox.pause(&vm).unwrap();
        assert_eq!(new.id().to_string(), "g-00000002");
        new.verify(&|| false).unwrap();
    });
}

#[test]
fn a_generation_without_a_part_is_not_published() {
    on_xfs(512 * MIB, |disk| {
        let mut sandbox = Sandbox::new(disk, "box", MEMORY);
        let vm = sandbox.boot();
        for missing in ["state", "memory", "disk", "base"] {
            let mut next = sandbox.generations.begin().unwrap();
            for (name, step) in sandbox.steps(&vm) {
                if name != missing {
                    step(&mut next).unwrap();
                }
            }
            let refused = next.publish(sandbox.facts()).unwrap_err();
            assert!(
                matches!(refused, Error::Incomplete(_)),
                "{missing}: {refused}"
            );
            assert!(sandbox.generations.current().unwrap().is_none());
        }
    });
}

#[test]
fn memory_of_another_origin_is_refused() {
    on_xfs(512 * MIB, |disk| {
        let mut sandbox = Sandbox::new(disk, "box", MEMORY);
        let vm = sandbox.boot_filled();
        let first = sandbox.pause(&vm).unwrap();
        let second = sandbox.pause(&vm).unwrap();
        let source = tempfile::tempfile().unwrap();
        for parent in [None, Some(&first)] {
            let mut next = sandbox.generations.begin().unwrap();
            let refused = next
                .capture_memory(&second.memory(), parent, &source, &[])
                .unwrap_err();
            assert!(matches!(refused, Error::Unrelated { .. }), "{refused}");
        }
    });
}

#[test]
fn older_ones_go_with_their_marks_and_newer_ones_stay() {
    on_xfs(512 * MIB, |disk| {
        let mut sandbox = Sandbox::new(disk, "box", MEMORY);
        let vm = sandbox.boot_filled();
        let all: Vec<_> = (0..4).map(|_| sandbox.pause(&vm).unwrap()).collect();
        for generation in &all {
            let found = sandbox
                .generations
                .examine(generation.id(), |_| Err::<(), _>(Error::State));
            assert!(matches!(found, Err(Error::State)));
        }
        let dir = sandbox.folder.join("generations");
        // What a removal that was broken off leaves.
        fs::create_dir(dir.join(".dying-g-00000001")).unwrap();
        fs::rename(dir.join("g-00000002"), dir.join(".dying-g-00000002")).unwrap();
        // Of the newest nobody can say what it is.
        let manifest = dir.join("g-00000004/manifest");
        let aside = sandbox.folder.join("manifest");
        fs::rename(&manifest, &aside).unwrap();
        sandbox.generations.remove_older(all[2].id()).unwrap();
        let newest = ["g-00000004", "g-00000004.damaged"];
        let both = [&["g-00000003", "g-00000003.damaged"], &newest[..]].concat();
        assert_eq!(names(&dir), both);
        fs::rename(&aside, &manifest).unwrap();
        sandbox.generations.remove_older(all[3].id()).unwrap();
        assert_eq!(names(&dir), newest);
        sandbox.generations.remove_older(all[3].id()).unwrap();
        let found = sandbox.generations.current().unwrap().unwrap();
        assert!(
            matches!(found.check(), Err(Error::Damaged(why)) if why == Error::State.to_string())
        );
    });
}

#[test]
fn a_full_disk_is_said_and_leaves_the_old_generation() {
    on_xfs(320 * MIB, |disk| {
        let mut sandbox = Sandbox::new(disk, "box", MiB(64));
        let vm = sandbox.boot_filled();
        let old = sandbox.pause(&vm).unwrap();
        let mut vm = sandbox.resume(&old);
        vm.fill(0..24 * 256, 3);
        vm.write_disk(MIB, 8 << 20, 3);
        let filler = disk.join("filler");
        let mut file = File::create(&filler).unwrap();
        let full = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
        file.flush().unwrap();
        let len = file.metadata().unwrap().len();
        let mut failed = 0;
        for free in [0, 4, 16, 64, 256, 1024, 8192, 20_000, 24_500, 60_000] {
            file.set_len(len - free * 1024).unwrap();
            file.sync_all().unwrap();
            match sandbox.pause(&vm) {
                Err(error) => {
                    assert!(error.no_space(), "{free} KiB: {error:?}");
                    assert!(!error.is_damage(), "{error}");
                    failed += 1;
                    sandbox.generations.abandon().unwrap();
                    let current = sandbox.generations.current().unwrap().unwrap();
                    assert_eq!(current.id(), old.id());
                    current.check().unwrap();
                }
                Ok(new) => {
                    new.verify(&|| false).unwrap();
                    sandbox.generations.remove_older(new.id()).unwrap();
                    assert!(failed >= 5, "{free} KiB were enough");
                    return;
                }
            }
        }
        panic!("60 MB were not enough");
    });
}

#[test]
fn a_verification_stops_when_it_is_told() {
    on_xfs(512 * MIB, |disk| {
        let mut sandbox = Sandbox::new(disk, "box", MEMORY);
        let vm = sandbox.boot_filled();
        let generation = sandbox.pause(&vm).unwrap();
        let stopped = generation.verify(&|| true).unwrap_err();
        assert!(matches!(stopped, Error::Stopped), "{stopped}");
        assert_eq!(generation.damage().unwrap(), None);
        assert!(generation.verify(&|| false).unwrap().bytes > 0);
    });
}
