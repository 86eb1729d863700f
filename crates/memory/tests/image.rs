//! Memory images on a real file system, filled from real memory.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test runs programs plainly and stops at the first surprise"
)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::fs::{FallocateFlags, fallocate};
use wrenn_memory::{Error, Overlaid, PAGE, branch, overlay};
use wrenn_sys::extents::Piece;
use wrenn_sys::fiemap;
use wrenn_testkit::xfs::on_xfs;

#[path = "image/process.rs"]
mod process;

const BLOCK: usize = 4096;
/// The smallest that XFS can be.
const SIZE: u64 = 320 << 20;

/// This process's memory, of which buffers are the pieces.
fn memory() -> File {
    File::open("/proc/self/mem").unwrap()
}

/// The piece of this process's memory that `bytes` are, bound for an offset.
fn piece(bytes: &[u8], to: u64) -> Piece {
    let from = bytes.as_ptr().expose_provenance() as u64;
    let len = bytes.len() as u64;
    Piece { from, to, len }
}

/// A file of whole pages with these contents, the zeros among them as holes.
fn sparse(path: &Path, contents: &[u8]) {
    let file = File::create(path).unwrap();
    file.set_len(contents.len() as u64).unwrap();
    for (at, page) in (0..).step_by(BLOCK).zip(contents.chunks(BLOCK)) {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, at).unwrap();
        }
    }
    file.sync_all().unwrap();
}

/// Overlays without looking at what is taken over.
fn overlay_only(image: &File, pieces: &[Piece]) -> Result<Overlaid, Error> {
    overlay(image, &memory(), pieces, &mut |_, _| {})
}

/// Where the file's pages that have data stand on the file system.
fn blocks(path: &Path) -> Vec<(u64, u64)> {
    let mappings = fiemap::mappings(&File::open(path).unwrap()).unwrap();
    let pages = |mapping: &fiemap::Mapping| {
        let (start, physical) = (mapping.extent.start, mapping.physical.unwrap());
        let offsets = (0..mapping.extent.len).step_by(BLOCK);
        offsets.map(move |offset| (start + offset, physical + offset))
    };
    mappings.iter().flat_map(pages).collect()
}

/// How many bytes the file has for itself: pages that do not stand where its parent's do.
fn own_blocks(path: &Path, parent: &Path) -> u64 {
    let shared = blocks(parent);
    let own = blocks(path)
        .into_iter()
        .filter(|block| !shared.contains(block));
    own.count() as u64 * PAGE
}

#[test]
fn a_branch_is_its_parent_until_it_is_written_and_the_parent_stays() {
    on_xfs(SIZE, |dir| {
        let (parent, path) = (dir.join("parent"), dir.join("image"));
        sparse(
            &parent,
            &[vec![1; 20 * BLOCK], vec![0; 20 * BLOCK]].concat(),
        );
        let image = branch(&parent, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&parent).unwrap());
        assert_eq!(own_blocks(&path, &parent), 0);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o444);
        image.write_all_at(&[2; BLOCK], 3 * PAGE).unwrap();
        assert_eq!(fs::read(&path).unwrap()[3 * BLOCK], 2);
        assert_eq!(fs::read(&parent).unwrap()[3 * BLOCK], 1);
        assert_eq!(own_blocks(&path, &parent), PAGE);
    });
}

#[test]
fn a_branch_that_fails_leaves_nothing_and_takes_nothing() {
    on_xfs(SIZE, |dir| {
        let (parent, path) = (dir.join("parent"), dir.join("image"));
        branch(&parent, &path).unwrap_err();
        assert!(!path.exists());
        sparse(&parent, &[1; BLOCK]);
        fs::write(&path, "somebody's").unwrap();
        branch(&parent, &path).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"somebody's");
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        branch(&parent, &elsewhere.path().join("image")).unwrap_err();
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    });
}

#[test]
fn what_was_dirtied_is_what_is_written_and_zeros_give_blocks_back() {
    on_xfs(SIZE, |dir| {
        let (parent, path) = (dir.join("parent"), dir.join("image"));
        // 512 pages of data, and as many of nothing.
        sparse(
            &parent,
            &[vec![1; 512 * BLOCK], vec![0; 512 * BLOCK]].concat(),
        );
        let image = branch(&parent, &path).unwrap();
        let dirty = [vec![2; 100 * BLOCK], vec![0; 50 * BLOCK], vec![3; BLOCK]].concat();
        let zeros = vec![0; 64 * BLOCK];
        let pieces = [
            piece(&dirty, 10 * PAGE),
            piece(&zeros, 300 * PAGE),
            piece(&zeros, 600 * PAGE),
            piece(&dirty[..BLOCK], 1023 * PAGE),
        ];
        let overlaid = overlay_only(&image, &pieces).unwrap();
        let (written, punched) = (102 * PAGE, 114 * PAGE);
        assert_eq!(overlaid, Overlaid { written, punched });
        image.sync_all().unwrap();
        let mut expected = fs::read(&parent).unwrap();
        for (piece, bytes) in pieces
            .iter()
            .zip([&dirty, &zeros, &zeros, &dirty[..BLOCK].to_vec()])
        {
            expected[usize::try_from(piece.to).unwrap()..][..bytes.len()].copy_from_slice(bytes);
        }
        assert!(fs::read(&path).unwrap() == expected);
        assert_eq!(own_blocks(&path, &parent), written);
        let zeros = blocks(&path)
            .into_iter()
            .filter(|(at, _)| (110 * PAGE..160 * PAGE).contains(at));
        assert_eq!(zeros.count(), 0);
    });
}

/// Pieces of an image of 64 pages: which pages are taken over, and whether each is zero.
fn dirtied() -> impl Strategy<Value = Vec<Option<u8>>> {
    vec(
        prop_oneof![Just(None), Just(Some(0)), (1..=255_u8).prop_map(Some)],
        64,
    )
}

#[test]
fn generations_of_any_pages_are_what_a_flat_model_is() {
    on_xfs(SIZE, |dir| {
        let strategy = vec(dirtied(), 1..4);
        let run = |generations: Vec<Vec<Option<u8>>>| {
            let mut model = vec![0; 64 * BLOCK];
            let mut last = dir.join("0");
            sparse(&last, &model);
            for (number, pages) in (1..).zip(&generations) {
                let path = dir.join(number.to_string());
                let image = branch(&last, &path).unwrap();
                check_overlay(&image, pages, &mut model);
                assert!(fs::read(&path).unwrap() == model);
                last = path;
            }
            for number in 0..=generations.len() {
                fs::remove_file(dir.join(number.to_string())).unwrap();
            }
            Ok(())
        };
        let config = ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        TestRunner::new(config).run(&strategy, run).unwrap();
    });
}

/// Overlays these pages, as runs, and does the same to the model. What is seen is what was taken over.
fn check_overlay(image: &File, pages: &[Option<u8>], model: &mut [u8]) {
    let contents: Vec<u8> = pages
        .iter()
        .flat_map(|page| vec![page.unwrap_or(9); BLOCK])
        .collect();
    let mut pieces: Vec<Piece> = Vec::new();
    for (index, _) in pages.iter().enumerate().filter(|(_, page)| page.is_some()) {
        let at = index * BLOCK;
        let page = &contents[at..at + BLOCK];
        model[at..at + BLOCK].copy_from_slice(page);
        match pieces.last_mut() {
            Some(last) if last.to + last.len == at as u64 => last.len += PAGE,
            _ => pieces.push(piece(page, at as u64)),
        }
    }
    let mut seen = Vec::new();
    let overlaid = overlay(image, &memory(), &pieces, &mut |at, bytes| {
        for (at, page) in (at..).step_by(BLOCK).zip(bytes.chunks(BLOCK)) {
            seen.push((at, page.to_vec()));
        }
    });
    let expected = pieces
        .iter()
        .flat_map(|piece| (piece.to..piece.to + piece.len).step_by(BLOCK));
    let expected: Vec<_> = expected
        .map(|at| (at, model[usize::try_from(at).unwrap()..][..BLOCK].to_vec()))
        .collect();
    assert!(seen == expected);
    let dirty = pages.iter().flatten().filter(|byte| **byte != 0).count() as u64;
    assert_eq!(overlaid.unwrap().written, dirty * PAGE);
}

#[test]
fn pieces_that_do_not_fit_are_refused_and_change_nothing() {
    let image = tempfile::tempfile().unwrap();
    image.write_all_at(&[1; 4 * BLOCK], 0).unwrap();
    let page = vec![2; 2 * BLOCK];
    let refused = |pieces: &[Piece]| overlay_only(&image, pieces).unwrap_err();
    let good = piece(&page[..BLOCK], 0);
    let one = |change: &dyn Fn(&mut Piece)| {
        let mut bad = piece(&page, 2 * PAGE);
        change(&mut bad);
        refused(&[good, bad])
    };
    assert!(matches!(one(&|piece| piece.to += 1), Error::Unaligned(_)));
    assert!(matches!(one(&|piece| piece.len -= 1), Error::Unaligned(_)));
    assert!(matches!(
        one(&|piece| piece.to += PAGE),
        Error::Outside { size: 0x4000, .. }
    ));
    assert!(matches!(
        one(&|piece| piece.to = u64::MAX - 4095),
        Error::Outside { .. }
    ));
    assert!(matches!(
        one(&|piece| piece.from = u64::MAX),
        Error::Outside { .. }
    ));
    assert!(matches!(one(&|piece| piece.to = 0), Error::Unordered(_)));
    assert!(matches!(
        refused(&[piece(&page, 0), piece(&page, PAGE)]),
        Error::Unordered(_)
    ));
    assert_eq!(image.metadata().unwrap().len(), 4 * PAGE);
    let mut contents = vec![0; 4 * BLOCK];
    image.read_exact_at(&mut contents, 0).unwrap();
    assert_eq!(contents, vec![1; 4 * BLOCK]);
}

#[test]
fn memory_that_is_not_there_is_the_source_s_error() {
    let image = tempfile::tempfile().unwrap();
    image.set_len(4 * PAGE).unwrap();
    let absent = Piece {
        from: PAGE,
        to: 0,
        len: PAGE,
    };
    let error = overlay_only(&image, &[absent]).unwrap_err();
    assert!(matches!(
        error,
        Error::Source {
            at: PAGE,
            len: PAGE,
            ..
        }
    ));
    let beyond = Piece {
        from: 0,
        to: 0,
        len: 4 * PAGE,
    };
    let short = tempfile::tempfile().unwrap();
    short.set_len(3 * PAGE).unwrap();
    let error = overlay(&image, &short, &[beyond], &mut |_, _| {}).unwrap_err();
    assert!(
        matches!(error, Error::Source { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof)
    );
}

#[test]
fn a_full_file_system_is_the_image_s_error_and_the_parent_stays() {
    on_xfs(SIZE, |dir| {
        let (parent, path) = (dir.join("parent"), dir.join("image"));
        sparse(&parent, &vec![1; 64 << 20]);
        let image = branch(&parent, &path).unwrap();
        let filler = File::create(dir.join("filler")).unwrap();
        let mut step = 64 << 20;
        while step >= PAGE {
            let len = filler.metadata().unwrap().len();
            if fallocate(&filler, FallocateFlags::empty(), len, step).is_err() {
                step /= 2;
            }
        }
        let dirty = vec![2; 64 << 20];
        let error = overlay_only(&image, &[piece(&dirty, 0)]).unwrap_err();
        assert!(
            matches!(error, Error::Image { doing: "write", source } if source.kind() == io::ErrorKind::StorageFull)
        );
        assert!(fs::read(&parent).unwrap() == vec![1; 64 << 20]);
    });
}

#[test]
fn an_image_that_is_not_open_for_writing_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(PAGE).unwrap();
    let image = OpenOptions::new().read(true).open(file.path()).unwrap();
    let dirty = vec![1; BLOCK];
    let error = overlay_only(&image, &[piece(&dirty, 0)]).unwrap_err();
    assert!(matches!(error, Error::Image { doing: "write", .. }));
}
