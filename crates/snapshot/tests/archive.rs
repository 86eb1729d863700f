//! Archives: out, in, and what hostile ones do.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod lab;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use lab::{MIB, Sandbox};
use wrenn_model::{MiB, SandboxId, SandboxSpec};
use wrenn_snapshot::{Error, Generation, Generations, Manifest};
use wrenn_testkit::xfs::on_xfs;

const SECRET: &[u8] = b"what only the agent knows";

fn exported(generation: &Generation) -> Vec<u8> {
    let mut archive = Vec::new();
    let whole = generation.export(SECRET, &|| false, &mut archive);
    whole.unwrap();
    archive
}

/// A generation that came from one that came from a cold boot.
fn second(disk: &Path, memory: MiB) -> Generation {
    let mut sandbox = Sandbox::new(disk, "origin", memory);
    let vm = sandbox.boot_filled();
    let first = sandbox.pause(&vm).unwrap();
    let mut vm = sandbox.resume(&first);
    vm.fill(10..30, 0);
    vm.fill(100..120, 8);
    vm.write_disk(2 * MIB, 70_000, 6);
    sandbox.pause(&vm).unwrap()
}

fn import(
    disk: &Path,
    name: &str,
    mut archive: &[u8],
    spec: impl FnOnce(SandboxSpec) -> SandboxSpec,
) -> (Generations, Result<(Generation, Vec<u8>), Error>) {
    let folder = disk.join(name);
    if !folder.exists() {
        fs::create_dir(&folder).unwrap();
    }
    let generations = Generations::of(&folder);
    let imported = generations.import(&mut archive, |_, facts| {
        facts.spec = spec(facts.spec.clone());
    });
    (generations, imported)
}

#[test]
fn what_comes_in_is_what_went_out_under_its_new_name() {
    on_xfs(512 * MIB, |disk| {
        let origin = second(disk, MiB(5));
        let id = SandboxId::random();
        let rename = |spec| SandboxSpec {
            id: id.clone(),
            ..spec
        };
        let archive = exported(&origin);
        let (generations, imported) = import(disk, "copy", &archive, rename);
        let (copy, secret) = imported.unwrap();
        assert_eq!(secret, SECRET);
        assert_eq!(copy.id().to_string(), "g-00000001");
        copy.verify(&|| false).unwrap();
        let current = generations.current().unwrap().unwrap();
        assert_eq!(current.manifest(), copy.manifest());
        for path in [
            Generation::state,
            Generation::memory,
            Generation::layer,
            Generation::base,
        ] {
            assert!(fs::read(path(&origin)).unwrap() == fs::read(path(&copy)).unwrap());
        }
        let (was, is) = (origin.manifest(), copy.manifest());
        assert_eq!(is.spec.id, id);
        let renamed = SandboxSpec {
            id,
            ..was.spec.clone()
        };
        assert_eq!(is.spec, renamed);
        assert_eq!(
            (is.memory.root, &is.layer.image.root),
            (was.memory.root, &was.layer.image.root)
        );
        assert_eq!(
            (&is.platform, is.created_ms),
            (&was.platform, was.created_ms)
        );
        assert_ne!(is.build, was.build);
        assert_eq!(is.parent, None);
    });
}

/// The archive with the names of its generation made those of another one.
fn renamed(archive: &[u8], from: &Manifest, to: &Manifest) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    let raw = |build: &str| u128::from_str_radix(build, 16).unwrap().to_be_bytes();
    let (from, to) = (raw(&from.build), raw(&to.build));
    for at in 0..bytes.len() - 16 {
        if bytes[at..at + 16] == from {
            bytes[at..at + 16].copy_from_slice(&to);
        }
    }
    bytes
}

/// Where the images begin: behind the head, the manifest, the secret and the state.
fn images_at(archive: &[u8]) -> usize {
    let len = |at: usize| u64::from_le_bytes(archive[at..at + 8].try_into().unwrap());
    usize::try_from(36 + len(12) + len(20) + len(28)).unwrap()
}

#[test]
fn an_import_goes_out_as_it_came_but_for_its_names() {
    on_xfs(512 * MIB, |disk| {
        let (_, first) = import(disk, "first", &exported(&second(disk, MiB(5))), |spec| spec);
        let first = first.unwrap().0;
        let archive = exported(&first);
        let (_, again) = import(disk, "second", &archive, |spec| spec);
        let again = again.unwrap().0;
        let other = exported(&again);
        assert_eq!(archive.len(), other.len());
        // All that does not follow from the names: header and mapping of a pack have a sum of their own.
        let expected = renamed(&archive, first.manifest(), again.manifest());
        let from = images_at(&archive);
        let different: Vec<usize> = (from..archive.len() - 32)
            .filter(|at| expected[*at] != other[*at])
            .collect();
        assert!(
            different.len() <= 3 * 2 * 32,
            "{} bytes differ",
            different.len()
        );
        let mut manifest = again.manifest().clone();
        manifest.build.clone_from(&first.manifest().build);
        assert_eq!(&manifest, first.manifest());
    });
}

/// Imports what has to be refused, and sees that nothing of it stays.
fn assert_refused(disk: &Path, archive: &[u8], what: &str) -> Error {
    let (generations, imported) = import(disk, "refused", archive, |spec| spec);
    let error = match imported {
        Ok(_) => panic!("{what} was taken"),
        Err(error) => error,
    };
    assert!(
        matches!(error, Error::Archive(_)) && !error.is_damage(),
        "{what}: {error:?}"
    );
    assert!(generations.current().unwrap().is_none(), "{what}");
    assert!(!disk.join("refused/next").exists(), "{what}");
    error
}

/// Every place that is near a border between parts, and a sample of the others.
fn places(archive: &[u8]) -> Vec<usize> {
    let images = images_at(archive);
    let near = |at: &usize| *at < 700 || (images..images + 400).contains(at);
    let last = archive.len() - 40;
    (0..archive.len())
        .filter(|at| near(at) || at % 4093 == 0 || *at > last)
        .collect()
}

#[test]
fn a_truncated_archive_is_refused_wherever_it_ends() {
    on_xfs(512 * MIB, |disk| {
        let archive = exported(&second(disk, MiB(3)));
        for end in places(&archive) {
            let error = assert_refused(disk, &archive[..end], &format!("{end} bytes"));
            assert!(error.to_string().contains("archive"), "{end}: {error}");
        }
    });
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    on_xfs(512 * MIB, |disk| {
        let archive = exported(&second(disk, MiB(3)));
        for at in places(&archive) {
            let mut flipped = archive.clone();
            flipped[at] ^= 1 << (at % 8);
            assert_refused(disk, &flipped, &format!("a flip at {at}"));
        }
    });
}

#[test]
fn something_behind_the_end_is_refused() {
    on_xfs(512 * MIB, |disk| {
        let mut archive = exported(&second(disk, MiB(3)));
        archive.push(0);
        assert_refused(disk, &archive, "a byte more");
    });
}

/// An archive whose manifest was changed by somebody who makes the sums anew.
fn forged(archive: &[u8], from: &str, to: &str) -> Vec<u8> {
    let len = u64::from_le_bytes(archive[12..20].try_into().unwrap());
    let head = 36..36 + usize::try_from(len).unwrap();
    let text = std::str::from_utf8(&archive[head.clone()]).unwrap();
    let body = text.lines().next().unwrap();
    assert!(body.contains(from), "{body}");
    let body = body.replacen(from, to, 1) + "\n";
    let manifest = format!("{body}{}\n", blake3::hash(body.as_bytes()));
    let mut bytes = archive[..12].to_vec();
    bytes.extend((manifest.len() as u64).to_le_bytes());
    bytes.extend(&archive[20..36]);
    bytes.extend(manifest.as_bytes());
    bytes.extend(&archive[head.end..archive.len() - 32]);
    let sum = blake3::hash(&bytes);
    bytes.extend(sum.as_bytes());
    bytes
}

#[test]
fn a_manifest_that_lies_with_right_sums_is_refused() {
    on_xfs(512 * MIB, |disk| {
        let generation = second(disk, MiB(3));
        let archive = exported(&generation);
        let manifest = generation.manifest();
        let root = manifest.memory.root.to_string();
        let build = &manifest.build;
        let layer = |len: u64| format!(r#""layer":{{"image":{{"layout":{{"len":{len}"#);
        let true_layer = layer(manifest.layer.image.layout.len);
        let lies = [
            (
                true_layer.as_str(),
                layer(manifest.layer.image.layout.len + 4096),
            ),
            (
                r#""base":{"len":4194304"#,
                r#""base":{"len":4194305"#.to_owned(),
            ),
            (r#""memory":3"#, r#""memory":1000000"#.to_owned()),
            (r#""len":3145728"#, r#""len":1099511627776"#.to_owned()),
            (
                r#""virtual_size":67108864"#,
                r#""virtual_size":18446744073709551615"#.to_owned(),
            ),
            (
                r#""virtual_size":67108864"#,
                r#""virtual_size":4096"#.to_owned(),
            ),
            (root.as_str(), "0123456789abcdef".to_owned()),
            (build.as_str(), "0".repeat(31) + "1"),
            (r#""version":1"#, r#""version":2"#.to_owned()),
            (r#""version":1"#, r#""version":1,"more":1"#.to_owned()),
            (r#""kernel":"#, r#""no_kernel":"#.to_owned()),
            (r#""len":5000"#, r#""len":4999"#.to_owned()),
        ];
        for (from, to) in lies {
            assert_refused(disk, &forged(&archive, from, &to), &to);
        }
        let honest = forged(&archive, r#""kernel":"#, r#""kernel":"#);
        import(disk, "honest", &honest, |spec| spec).1.unwrap();
    });
}

#[test]
fn announced_lengths_cost_nothing() {
    on_xfs(512 * MIB, |disk| {
        let archive = exported(&second(disk, MiB(3)));
        for at in [12, 20, 28] {
            for len in [u64::MAX, 1 << 40, 17 << 20] {
                let mut long = archive.clone();
                long[at..at + 8].copy_from_slice(&len.to_le_bytes());
                assert_refused(disk, &long, &format!("{len} at {at}"));
            }
        }
    });
}

#[test]
fn a_damaged_generation_does_not_go_out() {
    on_xfs(512 * MIB, |disk| {
        let generation = second(disk, MiB(3));
        let path = generation.memory();
        let mut memory = fs::read(&path).unwrap();
        memory[5] ^= 1;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &memory[..4096], 0).unwrap();
        let mut out = Vec::new();
        let refused = generation.export(SECRET, &|| false, &mut out);
        let refused = refused.unwrap_err();
        assert!(
            matches!(
                refused,
                Error::Data {
                    file: "memory",
                    offset: 0
                }
            ),
            "{refused:?}"
        );
        assert!(out.is_empty());
        assert!(generation.damage().unwrap().is_some());
    });
}

#[test]
fn an_export_that_has_begun_is_whole_whatever_becomes_of_its_generation() {
    /// Removes the generation with the first bytes that it is given.
    struct Remover<'a>(&'a Generations, Vec<u8>);
    impl Write for Remover<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1.is_empty() {
                let newer = "g-00000009".parse().unwrap();
                self.0.remove_older(newer).map_err(io::Error::other)?;
                // Twice, so that its files go with its name.
                self.0.remove_older(newer).map_err(io::Error::other)?;
            }
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    on_xfs(512 * MIB, |disk| {
        let generation = second(disk, MiB(3));
        let expected = exported(&generation);
        let generations = Generations::of(&disk.join("origin"));
        let mut out = Remover(&generations, Vec::new());
        generation.export(SECRET, &|| false, &mut out).unwrap();
        assert!(out.1 == expected);
        let gone = generation.export(SECRET, &|| false, &mut io::sink());
        assert!(matches!(gone, Err(Error::Removed(_))), "{gone:?}");
        assert_eq!(generation.damage().unwrap(), None);
    });
}

#[test]
fn an_export_stops_when_it_is_told() {
    on_xfs(512 * MIB, |disk| {
        let generation = second(disk, MiB(3));
        let stopped = generation.export(SECRET, &|| true, &mut io::sink());
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    });
}

#[test]
fn a_full_target_and_a_long_secret_are_said() {
    /// Takes so many bytes and no more.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            match taken {
                0 => Err(io::ErrorKind::StorageFull.into()),
                taken => Ok(taken),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    on_xfs(512 * MIB, |disk| {
        let generation = second(disk, MiB(3));
        let len = exported(&generation).len();
        for room in [0, 50, 5000, len / 2, len - 1] {
            let full = generation.export(SECRET, &|| false, &mut Full(room));
            let full = full.unwrap_err();
            assert!(full.no_space() && !full.is_damage(), "{room}: {full:?}");
        }
        let whole = generation.export(SECRET, &|| false, &mut Full(len));
        whole.unwrap();
        let long = vec![0; (64 << 10) + 1];
        let refused = generation.export(&long, &|| false, &mut io::sink());
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Archive(_)), "{refused:?}");
    });
}
