//! Trees of files into a backup and out of it, on a file system whose files can share blocks; and what damage does.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Cursor};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use wrenn_backup::{Error, Reader, Unpacked, Writer};
use wrenn_sys::extents::Extent;
use wrenn_sys::{fiemap, reflink};
use wrenn_testkit::xfs::on_xfs;

const MIB: u64 = 1 << 20;
const HEAD: &[u8] = b"what this is";

/// The files of a small tree, in the order in which they go into a backup.
const FILES: [&str; 6] = ["memory", "next", "link", "odd", "empty", "sub/last"];

/// Makes the tree: holes, blocks shared with holes and changes between, two names of one file, odd ends.
fn plant(root: &Path) {
    fs::create_dir_all(root.join("sub")).unwrap();
    let memory = File::create(root.join("memory")).unwrap();
    memory.set_len(64 * MIB).unwrap();
    memory.write_all_at(&[1; 40_960], 4096).unwrap();
    memory.write_all_at(&[2; 8192], 32 * MIB).unwrap();
    memory.write_all_at(&[0; 4096], 48 * MIB).unwrap();
    let next = File::create(root.join("next")).unwrap();
    reflink::clone(&File::open(root.join("memory")).unwrap(), &next).unwrap();
    next.write_all_at(&[3; 4096], 12_288).unwrap();
    next.write_all_at(&[4; 100], 20 * MIB).unwrap();
    let odd = File::create(root.join("odd")).unwrap();
    odd.write_all_at(&[5; 10_001], 0).unwrap();
    File::create(root.join("empty")).unwrap();
    let last = File::create(root.join("sub/last")).unwrap();
    reflink::clone(&File::open(root.join("odd")).unwrap(), &last).unwrap();
    fs::hard_link(root.join("memory"), root.join("link")).unwrap();
    let past = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 77);
    for (mode, name) in (0o444..).zip(FILES) {
        let file = File::open(root.join(name)).unwrap();
        file.set_modified(past).unwrap();
        file.set_permissions(Permissions::from_mode(mode)).unwrap();
    }
    let sub = File::open(root.join("sub")).unwrap();
    sub.set_modified(past).unwrap();
    sub.set_permissions(Permissions::from_mode(0o711)).unwrap();
}

fn backup(root: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut writer = Writer::new(&mut archive, HEAD).unwrap();
    writer
        .folder("data/sub", &fs::metadata(root.join("sub")).unwrap())
        .unwrap();
    for name in FILES {
        let file = File::open(root.join(name)).unwrap();
        writer.file(&format!("data/{name}"), file).unwrap();
    }
    writer.contents("state/note", 0o600, b"said").unwrap();
    assert_eq!(writer.finish().unwrap(), archive.len() as u64);
    archive
}

fn restore(archive: &[u8], into: &Path) -> Result<Unpacked, Error> {
    let tree = |tree: &str| ["data", "state"].contains(&tree).then(|| into.join(tree));
    let reader = Reader::open(Cursor::new(archive))?;
    assert_eq!(reader.head(), HEAD);
    reader.unpack(&tree, &mut |_| Ok(()))
}

/// Where a file has data, merged.
fn extents(path: &Path) -> Vec<Extent> {
    let mut merged: Vec<Extent> = Vec::new();
    for mapping in fiemap::mappings(&File::open(path).unwrap()).unwrap() {
        match merged.last_mut() {
            Some(last) if last.end() == mapping.extent.start => last.len += mapping.extent.len,
            _ => merged.push(mapping.extent),
        }
    }
    merged
}

/// The places of a file's blocks on its file system, by their offsets.
fn places(path: &Path) -> BTreeMap<u64, u64> {
    let mappings = fiemap::mappings(&File::open(path).unwrap()).unwrap();
    let blocks = mappings.into_iter().flat_map(|mapping| {
        let physical = mapping.physical.unwrap();
        let offsets = (0..mapping.extent.len).step_by(4096);
        offsets.map(move |offset| (mapping.extent.start + offset, physical + offset))
    });
    blocks.collect()
}

/// How many blocks two files share at the same offsets.
fn shared(a: &Path, b: &Path) -> usize {
    let (a, b) = (places(a), places(b));
    a.iter()
        .filter(|(at, place)| b.get(at) == Some(place))
        .count()
}

fn everything(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn what_comes_out_is_what_went_in_links_holes_and_shared_blocks_too() {
    on_xfs(512 * MIB, |disk| {
        let (from, into) = (disk.join("from"), disk.join("into"));
        plant(&from);
        let archive = backup(&from);
        // 13 blocks of the first, 2 that its clone changed, and the odd one: what is shared stands there once.
        let data = 15 * 4096 + 10_001;
        assert!(
            (data..data + 1000).contains(&archive.len()),
            "{}",
            archive.len()
        );
        let unpacked = restore(&archive, &into).unwrap();
        assert_eq!((unpacked.files, unpacked.bytes), (7, archive.len() as u64));

        let at = |name: &str| (from.join(name), into.join("data").join(name));
        for name in FILES.into_iter().chain(["sub"]) {
            let (before, after) = at(name);
            let meta = [&before, &after].map(|path| {
                let meta = fs::metadata(path).unwrap();
                (
                    meta.len().min(if meta.is_dir() { 0 } else { u64::MAX }),
                    meta.mode(),
                    meta.mtime(),
                    meta.mtime_nsec(),
                )
            });
            assert_eq!(meta[0], meta[1], "{name}");
        }
        for name in FILES {
            let (before, after) = at(name);
            assert_eq!(extents(&before), extents(&after), "{name}");
            assert!(
                fs::read(&before).unwrap() == fs::read(&after).unwrap(),
                "{name}"
            );
        }
        let inode = |name: &str| fs::metadata(at(name).1).unwrap().ino();
        assert_eq!(inode("memory"), inode("link"));
        for (a, b) in [("memory", "next"), ("odd", "sub/last")] {
            let [before, after] = [shared(&at(a).0, &at(b).0), shared(&at(a).1, &at(b).1)];
            assert!(before > 0);
            assert_eq!(before, after, "{a} and {b}");
        }
        assert_eq!(fs::read(into.join("state/note")).unwrap(), b"said");
    });
}

#[test]
fn where_files_share_no_blocks_they_have_their_bytes_all_the_same() {
    on_xfs(512 * MIB, |disk| {
        let from = disk.join("from");
        plant(&from);
        let archive = backup(&from);
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        restore(&archive, elsewhere.path()).unwrap();
        for name in FILES {
            let after = elsewhere.path().join("data").join(name);
            assert!(
                fs::read(from.join(name)).unwrap() == fs::read(after).unwrap(),
                "{name}"
            );
        }
    });
}

/// A backup without much data, so that damage falls on what says what it is.
fn small() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(dir.path().join(name), [7; 50]).unwrap();
    }
    let mut archive = Vec::new();
    let mut writer = Writer::new(&mut archive, HEAD).unwrap();
    let folder = fs::metadata(dir.path()).unwrap();
    writer.folder("data/sub", &folder).unwrap();
    for (name, file) in [("data/a", "a"), ("data/sub/b", "b"), ("data/sub/c", "a")] {
        let file = File::open(dir.path().join(file)).unwrap();
        writer.file(name, file).unwrap();
    }
    writer.contents("state/note", 0o600, b"said").unwrap();
    writer.finish().unwrap();
    archive
}

/// That a backup is refused, and has written nothing but where it may.
fn refused(archive: &[u8]) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("into");
    let tree = |tree: &str| ["data", "state"].contains(&tree).then(|| into.join(tree));
    let outcome =
        Reader::open(Cursor::new(archive)).and_then(|reader| reader.unpack(&tree, &mut |_| Ok(())));
    let error = outcome.expect_err("it is damaged");
    for path in everything(dir.path()) {
        assert!(path.starts_with(&into), "{path:?}");
    }
    error
}

#[test]
fn what_is_cut_off_or_goes_on_is_refused() {
    let archive = small();
    for length in 0..archive.len() {
        let error = refused(&archive[..length]);
        assert!(
            matches!(error, Error::Foreign | Error::Truncated),
            "{length}: {error}"
        );
    }
    let more = [&archive[..], &[0]].concat();
    assert!(matches!(refused(&more), Error::Trailing));
    assert!(matches!(refused(b"a tar, perhaps"), Error::Foreign));
    let mut newer = archive;
    newer[8] = 2;
    assert!(matches!(refused(&newer), Error::Version(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever byte is changed, in whatever way.
    #[test]
    fn what_is_changed_is_refused(at: prop::sample::Index, change in 1_u8..) {
        let mut archive = small();
        let at = at.index(archive.len());
        archive[at] ^= change;
        refused(&archive);
    }
}

#[test]
fn without_room_nothing_is_written() {
    let archive = small();
    let dir = tempfile::tempdir().unwrap();
    let mut asked = Vec::new();
    let full = Reader::open(Cursor::new(&archive)).unwrap().unpack(
        &|_| Some(dir.path().to_owned()),
        &mut |bytes| {
            asked.push(bytes);
            Err(io::ErrorKind::StorageFull.into())
        },
    );
    assert!(matches!(full, Err(Error::File { .. })), "{full:?}");
    assert_eq!(asked, [50]);
    assert!(!dir.path().join("a").exists());
}
