//! Damage to each file of a generation, one at a time: a typed error before a VMM starts, or at a verification.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod lab;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use lab::{MIB, Sandbox, names};
use wrenn_model::MiB;
use wrenn_snapshot::{Error, Generation, Generations};
use wrenn_testkit::xfs::on_xfs;

const MEMORY: MiB = MiB(5);

/// When damage is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Opening,
    Check,
    Verify,
}

/// Where there is data in each file, and what damage is found there, when, and as what.
struct Case {
    file: &'static str,
    data_at: u64,
    flipped: (Found, fn(&Error) -> bool),
    replaced: (Found, fn(&Error) -> bool),
}

const CASES: [Case; 7] = [
    Case {
        file: "manifest",
        data_at: 100,
        flipped: (Found::Opening, |error| matches!(error, Error::Manifest(_))),
        replaced: (Found::Opening, |error| matches!(error, Error::Manifest(_))),
    },
    Case {
        file: "state",
        data_at: 100,
        flipped: (Found::Check, |error| matches!(error, Error::State)),
        replaced: (Found::Check, |error| matches!(error, Error::State)),
    },
    Case {
        file: "memory",
        data_at: 40_000,
        flipped: (Found::Verify, |error| {
            matches!(
                error,
                Error::Data {
                    file: "memory",
                    offset: 36_864
                }
            )
        }),
        replaced: (Found::Check, |error| {
            matches!(error, Error::Extents { file: "memory" })
        }),
    },
    Case {
        file: "memory.sums",
        data_at: 80,
        flipped: (Found::Verify, |error| {
            matches!(error, Error::Sums { file: "memory" })
        }),
        replaced: (Found::Verify, |error| {
            matches!(error, Error::Sums { file: "memory" })
        }),
    },
    Case {
        file: "layer",
        data_at: MIB + 5000,
        flipped: (
            Found::Verify,
            |error| matches!(error, Error::Data { file: "layer", offset } if *offset == MIB + 4096),
        ),
        // The other one has data in the same places.
        replaced: (Found::Verify, |error| {
            matches!(error, Error::Data { file: "layer", .. })
        }),
    },
    Case {
        file: "layer.sums",
        data_at: 256 * 8,
        flipped: (Found::Verify, |error| {
            matches!(error, Error::Sums { file: "layer" })
        }),
        replaced: (Found::Verify, |error| {
            matches!(error, Error::Sums { file: "layer" })
        }),
    },
    Case {
        file: "base",
        data_at: MIB + 1,
        flipped: (Found::Verify, |error| {
            matches!(error, Error::Root { file: "base" })
        }),
        replaced: (Found::Verify, |error| {
            matches!(error, Error::Root { file: "base" })
        }),
    },
];

/// When damage is found, and what is said.
fn find(sandbox: &Sandbox, before: &Generation) -> (Found, Error) {
    let opened = match sandbox.generations.current() {
        Ok(found) => found.unwrap(),
        Err(error) => return (Found::Opening, error),
    };
    // Whoever read the manifest before the damage must not fare worse.
    if let Err(error) = opened.check() {
        assert_eq!(before.check().unwrap_err().to_string(), error.to_string());
        return (Found::Check, error);
    }
    let error = before.verify(&|| false).unwrap_err();
    let again = opened.check().unwrap_err();
    assert!(matches!(again, Error::Damaged(_)), "not marked: {again}");
    (Found::Verify, error)
}

/// Two generations with other memory, disk, state and base.
fn two(disk: &Path) -> (Sandbox, Generation, Generation) {
    let mut sandbox = Sandbox::new(disk, "box", MEMORY);
    let mut other = sandbox.boot_filled();
    other.fill(900..910, 4);
    other.state = vec![8; 5000];
    other.write_disk(MIB, 300_000, 4);
    let other = sandbox.pause(&other).unwrap();
    let vm = sandbox.boot_filled();
    let generation = sandbox.pause(&vm).unwrap();
    (sandbox, generation, other)
}

fn assert_found(
    disk: &Path,
    case: &Case,
    expected: (Found, fn(&Error) -> bool),
    damage: impl FnOnce(&Path, &Path),
) {
    let (sandbox, generation, other) = two(disk);
    let folder = |generation: &Generation| generation.memory().parent().unwrap().to_owned();
    let (path, of_other) = (
        folder(&generation).join(case.file),
        folder(&other).join(case.file),
    );
    generation.check().unwrap();
    // The link's other names must not be damaged.
    let copy = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    if case.file == "base" {
        fs::write(&path, copy).unwrap();
        fs::remove_file(&of_other).unwrap();
        fs::write(&of_other, vec![9; 4 << 20]).unwrap();
    } else {
        restore(&path, &copy);
    }
    damage(&path, &of_other);
    let (found, error) = find(&sandbox, &generation);
    assert_eq!(found, expected.0, "{}: {error:?}", case.file);
    assert!(
        expected.1(&error) && error.is_damage(),
        "{}: {error:?}",
        case.file
    );
    fs::remove_dir_all(&sandbox.folder).unwrap();
}

/// A file with these contents and holes where there are zeros, as it was.
fn restore(path: &Path, contents: &[u8]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(contents.len() as u64).unwrap();
    for (index, block) in contents.chunks(4096).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, index as u64 * 4096).unwrap();
        }
    }
}

#[test]
fn a_flipped_bit_is_found() {
    on_xfs(512 * MIB, |disk| {
        for case in &CASES {
            assert_found(disk, case, case.flipped, |path, _| flip(path, case.data_at));
        }
    });
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_truncated_file_is_found_at_once() {
    on_xfs(512 * MIB, |disk| {
        for case in &CASES {
            let expected: (Found, fn(&Error) -> bool) = match case.file {
                "manifest" => case.flipped,
                _ => (Found::Check, |error| matches!(error, Error::Size { .. })),
            };
            assert_found(disk, case, expected, |path, _| {
                let file = OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() - 1).unwrap();
            });
        }
    });
}

#[test]
fn a_file_that_is_gone_is_found_at_once() {
    on_xfs(512 * MIB, |disk| {
        for case in &CASES {
            let found = match case.file {
                "manifest" => Found::Opening,
                _ => Found::Check,
            };
            let missing: fn(&Error) -> bool = |error| matches!(error, Error::Missing { .. });
            assert_found(disk, case, (found, missing), |path, _| {
                fs::remove_file(path).unwrap();
            });
        }
    });
}

#[test]
fn a_file_of_another_generation_is_found() {
    on_xfs(512 * MIB, |disk| {
        for case in &CASES {
            assert_found(disk, case, case.replaced, |path, other| {
                fs::remove_file(path).unwrap();
                fs::hard_link(other, path).unwrap();
            });
        }
    });
}

#[test]
fn an_image_that_is_exchanged_with_its_sums_is_found() {
    on_xfs(512 * MIB, |disk| {
        let (_sandbox, generation, other) = two(disk);
        for name in ["layer", "layer.sums"] {
            let path = generation.layer().with_file_name(name);
            fs::remove_file(&path).unwrap();
            fs::hard_link(other.layer().with_file_name(name), &path).unwrap();
        }
        generation.check().unwrap();
        let error = generation.verify(&|| false).unwrap_err();
        assert!(matches!(error, Error::Root { file: "layer" }), "{error:?}");
        other.verify(&|| false).unwrap();
    });
}

#[test]
fn blocks_that_became_a_hole_or_data_are_found_at_once() {
    on_xfs(512 * MIB, |disk| {
        for (at, byte) in [(8192, 0), (2 * MIB, 1)] {
            let (sandbox, generation, _) = two(disk);
            let file = OpenOptions::new()
                .write(true)
                .open(generation.memory())
                .unwrap();
            if byte == 0 {
                let punch =
                    rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&file, punch, at, 4096).unwrap();
            } else {
                file.write_all_at(&[byte], at).unwrap();
            }
            let error = generation.check().unwrap_err();
            assert!(
                matches!(error, Error::Extents { file: "memory" }),
                "{error:?}"
            );
            fs::remove_dir_all(&sandbox.folder).unwrap();
        }
    });
}

#[test]
fn whoever_examines_one_leaves_its_mark_also_where_its_manifest_is_damaged() {
    on_xfs(512 * MIB, |disk| {
        let (sandbox, generation, _) = two(disk);
        let manifest = generation.state().with_file_name("manifest");
        flip(&manifest, 50);
        let examined = sandbox.generations.examine(generation.id(), |_| Ok(()));
        assert!(matches!(examined, Err(Error::Manifest(_))), "{examined:?}");
        flip(&manifest, 50);
        let examined = sandbox
            .generations
            .examine(generation.id(), Generation::check);
        assert!(matches!(examined, Err(Error::Damaged(_))), "{examined:?}");
    });
}

#[test]
fn damage_of_the_newest_hides_no_older_one_behind_it() {
    on_xfs(512 * MIB, |disk| {
        let (sandbox, generation, other) = two(disk);
        assert!(generation.id() > other.id());
        flip(&generation.state().with_file_name("manifest"), 50);
        let error = sandbox.generations.current().unwrap_err();
        assert!(error.is_damage(), "{error}");
        // The next one does not take its place.
        let next = sandbox.generations.begin().unwrap();
        assert!(next.id() > generation.id());
        assert_eq!(names(&sandbox.folder.join("generations")).len(), 2);
    });
}

#[test]
fn the_name_that_a_vm_is_given_is_that_of_the_image_that_was_checked() {
    on_xfs(512 * MIB, |disk| {
        let (_sandbox, generation, _) = two(disk);
        let name = disk.join("box/base.ext4");
        assert!(!generation.name_base(&name).unwrap());
        let own = fs::metadata(generation.base()).unwrap().ino();
        // Of the same length, so that nothing shows without reading.
        fs::remove_file(&name).unwrap();
        fs::write(&name, vec![9; 4 << 20]).unwrap();
        assert!(generation.name_base(&name).unwrap());
        assert_eq!(fs::metadata(&name).unwrap().ino(), own);
        fs::remove_file(&name).unwrap();
        assert!(generation.name_base(&name).unwrap());
        assert_eq!(fs::metadata(&name).unwrap().ino(), own);
    });
}

#[test]
fn one_that_a_newer_one_replaced_is_not_damaged() {
    on_xfs(512 * MIB, |disk| {
        let (sandbox, generation, older) = two(disk);
        sandbox.generations.remove_older(generation.id()).unwrap();
        let error = older.verify(&|| false).unwrap_err();
        assert!(matches!(error, Error::Removed(id) if id == older.id()));
        assert!(!error.is_damage());
        assert_eq!(older.damage().unwrap(), None);
        let error = sandbox.generations.open(older.id()).unwrap_err();
        assert!(matches!(error, Error::Removed(_)), "{error:?}");
    });
}

#[test]
fn the_disk_alone_can_be_used_as_long_as_it_is_whole() {
    on_xfs(512 * MIB, |disk| {
        let (_sandbox, generation, _) = two(disk);
        flip(&generation.memory(), 100);
        generation.verify(&|| false).unwrap_err();
        generation.check_disk().unwrap();
        fs::remove_file(generation.state()).unwrap();
        generation.check_disk().unwrap();
        flip(&generation.layer(), MIB + 100);
        let error = generation.check_disk().unwrap_err();
        assert!(
            matches!(error, Error::Data { file: "layer", .. }),
            "{error:?}"
        );
        fs::remove_file(generation.layer()).unwrap();
        let error = generation.check_disk().unwrap_err();
        assert!(
            matches!(error, Error::Missing { file: "layer" }),
            "{error:?}"
        );
    });
}

#[test]
fn a_second_name_of_what_is_damaged_says_so_too() {
    on_xfs(512 * MIB, |disk| {
        let (_sandbox, generation, _) = two(disk);
        let lend = |name: &str| {
            let folder = disk.join(name);
            fs::create_dir(&folder).unwrap();
            generation.link_into(&Generations::of(&folder)).unwrap()
        };
        lend("whole").check().unwrap();
        flip(&generation.memory(), 100);
        generation.verify(&|| false).unwrap_err();
        let lent = lend("damaged");
        assert!(matches!(lent.check(), Err(Error::Damaged(_))));
        assert_eq!(lent.damage().unwrap(), generation.damage().unwrap());
        lent.check_disk().unwrap();
    });
}
