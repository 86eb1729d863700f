//! Packs of images without and with a past, whole, damaged and made up.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

use proptest::collection::vec;
use proptest::prelude::*;
use wrenn_memory::PAGE;
use wrenn_memory::packed::{
    BuildId, Error, Flaw, Identity, MAX_SIZE, Mapping, Reader, Source, pack, unpack, verify,
};
use wrenn_sys::extents::Extent;

const BLOCK: usize = 4096;

fn build(number: u8) -> BuildId {
    BuildId::new([number; 16]).unwrap()
}

fn identity(generation: u8) -> Identity {
    Identity {
        generation: generation.into(),
        build: build(generation),
        base: build(1),
    }
}

fn extent(start: u64, len: u64) -> Extent {
    Extent { start, len }
}

/// A file with these contents, sparse where whole blocks are zero.
fn file(contents: &[u8]) -> File {
    let file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.set_len(contents.len() as u64).unwrap();
    for (at, block) in (0..).step_by(BLOCK).zip(contents.chunks(BLOCK)) {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, at).unwrap();
        }
    }
    file
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn packed(
    image: &File,
    generation: u8,
    parent: Option<(&Mapping, &[Extent])>,
) -> (Vec<u8>, Mapping) {
    let mut bytes = Vec::new();
    let mapping = pack(image, identity(generation), parent, &mut bytes).unwrap();
    (bytes, mapping)
}

fn unpacked(pack: &[u8]) -> Result<File, Error> {
    let target = tempfile::tempfile_in("/dev/shm").unwrap();
    let mut input = pack;
    unpack(&mut input, &target)?;
    assert_eq!(input, [], "a pack is read to its end");
    Ok(target)
}

fn reader(packs: &[Vec<u8>]) -> Result<Reader, Error> {
    let mut files: Vec<_> = packs.iter().map(|pack| raw_file(pack)).collect();
    let top = files.pop().unwrap();
    Reader::open(top, files)
}

fn raw_file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// What a guest does to its memory between two generations: fill a piece with a byte, zero as often as not.
fn writes(size: usize) -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    let byte = prop_oneof![Just(0), 1..=255_u8];
    let write = (0..size, 1..=3 * BLOCK, byte);
    vec(write, 0..12).prop_map(move |writes| {
        let clip = |(at, len, byte): (usize, usize, u8)| (at, len.min(size - at), byte);
        writes.into_iter().map(clip).collect()
    })
}

/// The size of an image and the writes of each of its generations.
fn history() -> impl Strategy<Value = (usize, Vec<Vec<(usize, usize, u8)>>)> {
    let size = prop_oneof![
        1..40 * BLOCK,
        (1..40_usize).prop_map(|blocks| blocks * BLOCK)
    ];
    size.prop_flat_map(|size| (Just(size), vec(writes(size), 1..6)))
}

/// The packs of a history, the first one of the whole image, the others over the one before, and the last flat image.
fn live(size: usize, history: &[Vec<(usize, usize, u8)>]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut model = vec![0; size];
    let mut packs = Vec::new();
    let mut last: Option<Mapping> = None;
    for (generation, writes) in (1..).zip(history) {
        let mut changed = Vec::new();
        for &(at, len, byte) in writes {
            model[at..at + len].fill(byte);
            changed.push(extent(at as u64, len as u64));
        }
        let parent = last.as_ref().map(|mapping| (mapping, changed.as_slice()));
        let (pack, mapping) = packed(&file(&model), generation, parent);
        assert_eq!(verify(&mut pack.as_slice()).unwrap(), mapping);
        packs.push(pack);
        last = Some(mapping);
    }
    (packs, model)
}

proptest! {
    #[test]
    fn packed_to_flat_to_packed_is_the_same((size, history) in history()) {
        let (_, model) = live(size, &history);
        let (pack, mapping) = packed(&file(&model), 1, None);
        let flat = unpacked(&pack).unwrap();
        prop_assert_eq!(contents(&flat), model);
        prop_assert!(flat.metadata().unwrap().blocks() * 512 <= mapping.stored().next_multiple_of(PAGE));
        prop_assert_eq!(packed(&flat, 1, None), (pack, mapping));
    }

    #[test]
    fn generations_read_back_as_the_flat_image((size, history) in history(), reads in vec((any::<prop::sample::Index>(), 0..5 * BLOCK), 8)) {
        let (packs, model) = live(size, &history);
        let reader = reader(&packs).unwrap();
        let mut whole = vec![0xee; size];
        reader.read_at(0, &mut whole).unwrap();
        prop_assert_eq!(&whole, &model);
        for (at, len) in reads {
            let at = at.index(size);
            let mut bytes = vec![0xee; len.min(size - at)];
            reader.read_at(at as u64, &mut bytes).unwrap();
            prop_assert_eq!(&bytes[..], &model[at..][..bytes.len()]);
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(verify(&mut bytes.as_slice()).is_err());
        prop_assert!(unpacked(&bytes).is_err());
        prop_assert!(reader(&[bytes]).is_err());
    }

    #[test]
    fn any_mapping_is_read_without_harm(pack in forged()) {
        let whole = verify(&mut pack.as_slice());
        prop_assert!(!matches!(whole, Err(Error::MappingSum | Error::Magic)));
        if let Ok(file) = unpacked(&pack) {
            prop_assert_eq!(packed_again(&file, &pack), pack.clone());
        }
        if let Ok(reader) = reader(&[pack]) {
            let mut bytes = vec![0; 4 * BLOCK];
            prop_assert!(reader.read_at(reader.mapping().size(), &mut bytes).is_err());
        }
    }
}

fn packed_again(image: &File, pack: &[u8]) -> Vec<u8> {
    let mapping = verify(&mut { pack }).unwrap();
    let mut bytes = Vec::new();
    wrenn_memory::packed::pack(image, mapping.identity(), None, &mut bytes).unwrap();
    bytes
}

/// Packs whose sums are right and whose mappings are anything, often nearly right.
fn forged() -> impl Strategy<Value = Vec<u8>> {
    let near = prop_oneof![8 => (0..6_u64).prop_map(|n| n * PAGE), 1 => any::<u64>(), 1 => Just(u64::MAX - 4095)];
    let entry = (near.clone(), near.clone(), 0..3_u8, near.clone());
    let exact = vec((1..3_u64, 0..2_u8), 0..5).prop_map(|pieces| {
        let mut offset = 0;
        let mut stored = 0;
        let entry = |(blocks, build): (u64, u8)| {
            let (len, at) = (blocks * PAGE, stored * u64::from(build));
            let entry = (offset, len, build, at);
            offset += len;
            stored += len * u64::from(build);
            entry
        };
        let entries: Vec<_> = pieces.into_iter().map(entry).collect();
        (offset, entries)
    });
    let any_entries = (near, vec(entry, 0..5));
    prop_oneof![exact, any_entries].prop_map(|(size, entries)| forge(size, &entries, None))
}

/// A pack with these entries (offset, length, build, place), as many blocks as its own entries ask for within reason, and
/// sums that are right.
fn forge(size: u64, entries: &[(u64, u64, u8, u64)], count: Option<u64>) -> Vec<u8> {
    let mut pack = b"wrennpak".to_vec();
    pack.extend(1_u32.to_le_bytes());
    pack.extend(4096_u32.to_le_bytes());
    pack.extend(size.to_le_bytes());
    pack.extend(1_u64.to_le_bytes());
    pack.extend([1; 32]);
    pack.extend(count.unwrap_or(entries.len() as u64).to_le_bytes());
    let mut stored = 0_u64;
    for &(offset, len, build, at) in entries {
        pack.extend(offset.to_le_bytes());
        pack.extend(len.to_le_bytes());
        pack.extend([build; 16]);
        pack.extend(at.to_le_bytes());
        stored = stored.saturating_add(len * u64::from(build == 1 && len < 64 * PAGE));
    }
    let sum = blake3::hash(&pack);
    pack.extend(sum.as_bytes());
    let data = vec![7; usize::try_from(stored).unwrap()];
    let bound = [sum.as_bytes(), data.as_slice()].concat();
    pack.extend(data);
    pack.extend(blake3::hash(&bound).as_bytes());
    pack
}

/// A pack of three blocks, the last one short, with a hole.
fn small() -> Vec<u8> {
    let mut image = vec![0; 2 * BLOCK + 200];
    image[..100].fill(1);
    image[2 * BLOCK + 20..].fill(2);
    packed(&file(&image), 1, None).0
}

#[test]
fn every_truncation_is_an_error() {
    let pack = small();
    for len in 0..pack.len() {
        let cut = &pack[..len];
        assert!(
            matches!(verify(&mut { cut }), Err(Error::Truncated)),
            "{len}"
        );
        assert!(matches!(unpacked(cut), Err(Error::Truncated)), "{len}");
        assert!(
            matches!(reader(&[cut.to_vec()]), Err(Error::Truncated)),
            "{len}"
        );
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let good = small();
    let mut pack = good.clone();
    for bit in 0..8 * pack.len() {
        pack[bit / 8] ^= 1 << (bit % 8);
        verify(&mut pack.as_slice()).unwrap_err();
        // The blocks' own sum is compared by those who read all of them.
        let data = good.len() - 32 - BLOCK - 200;
        assert_eq!(reader(&[pack.clone()]).is_err(), bit / 8 < data, "{bit}");
        pack[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(pack, good);
    verify(&mut pack.as_slice()).unwrap();
}

#[test]
fn blocks_of_another_pack_do_not_pass() {
    let image = vec![3; 2 * BLOCK];
    let (mut mixed, _) = packed(&file(&image), 1, None);
    let other = packed(&file(&vec![4; 2 * BLOCK]), 2, None).0;
    let data = mixed.len() - 2 * BLOCK - 32;
    mixed.truncate(data);
    mixed.extend(&other[data..]);
    assert!(matches!(verify(&mut mixed.as_slice()), Err(Error::DataSum)));
}

#[test]
fn a_pack_is_as_it_is_documented() {
    let mut image = vec![0; 4 * BLOCK + 100];
    image[BLOCK..3 * BLOCK].fill(7);
    image[4 * BLOCK..].fill(7);
    let entries = [
        (0, PAGE, 0, 0),
        (PAGE, 2 * PAGE, 1, 0),
        (3 * PAGE, PAGE, 0, 0),
        (4 * PAGE, 100, 1, 2 * PAGE),
    ];
    let (pack, mapping) = packed(&file(&image), 1, None);
    assert_eq!(pack, forge(4 * PAGE + 100, &entries, None));
    assert_eq!(mapping.stored(), 2 * PAGE + 100);
    assert_eq!(pack.len(), 72 + 4 * 40 + 32 + 2 * BLOCK + 100 + 32);
}

#[test]
fn an_empty_image_and_one_of_holes_take_a_few_bytes() {
    let (pack, mapping) = packed(&file(&[]), 1, None);
    assert_eq!((pack.len(), mapping.entries().len()), (72 + 64, 0));
    assert_eq!(contents(&unpacked(&pack).unwrap()), []);
    let holes = tempfile::tempfile().unwrap();
    holes.set_len(1 << 40).unwrap();
    let (pack, _) = packed(&holes, 1, None);
    assert_eq!(pack.len(), 72 + 40 + 64);
    let flat = tempfile::tempfile().unwrap();
    unpack(&mut pack.as_slice(), &flat).unwrap();
    assert_eq!(flat.metadata().unwrap().len(), 1 << 40);
    assert_eq!(flat.metadata().unwrap().blocks(), 0);
}

#[test]
fn a_generation_stores_what_changed_and_only_that() {
    let mut image = vec![1; 8 * BLOCK];
    let (_, first) = packed(&file(&image), 1, None);
    image[3 * BLOCK..4 * BLOCK].fill(2);
    image[5 * BLOCK..6 * BLOCK].fill(0);
    let changed = [extent(5 * PAGE + 7, 9), extent(3 * PAGE, PAGE)];
    let (_, second) = packed(&file(&image), 2, Some((&first, &changed)));
    assert_eq!(second.stored(), PAGE);
    let from = |number, at| Source::Build {
        build: build(number),
        at,
    };
    let sources: Vec<_> = second.entries().iter().map(|entry| entry.source).collect();
    let expected = [
        from(1, 0),
        from(2, 0),
        from(1, 4 * PAGE),
        Source::Zero,
        from(1, 6 * PAGE),
    ];
    assert_eq!(sources, expected);
}

#[test]
fn a_flawed_mapping_is_told_from_a_damaged_one() {
    let flaw = |size, entries: &[_]| match verify(&mut forge(size, entries, None).as_slice()) {
        Err(Error::Entry { index, source }) => (index, source),
        other => panic!("{other:?}"),
    };
    assert_eq!(flaw(PAGE, &[]), (0, Flaw::Gap));
    assert_eq!(flaw(2 * PAGE, &[(0, PAGE, 0, 0)]), (1, Flaw::Gap));
    assert_eq!(flaw(PAGE, &[(PAGE, PAGE, 0, 0)]), (0, Flaw::Gap));
    assert_eq!(flaw(PAGE, &[(0, 2 * PAGE, 0, 0)]), (0, Flaw::Beyond));
    assert_eq!(
        flaw(2 * PAGE, &[(0, PAGE, 0, 0), (PAGE, u64::MAX, 0, 0)]),
        (1, Flaw::Beyond)
    );
    assert_eq!(flaw(PAGE, &[(0, 0, 0, 0)]), (0, Flaw::Blocks));
    assert_eq!(
        flaw(2 * PAGE, &[(0, 100, 0, 0), (100, 2 * PAGE - 100, 1, 0)]),
        (0, Flaw::Blocks)
    );
    assert_eq!(
        flaw(2 * PAGE, &[(0, PAGE, 0, 0), (PAGE, PAGE, 0, 0)]),
        (1, Flaw::Unmerged)
    );
    assert_eq!(
        flaw(2 * PAGE, &[(0, PAGE, 2, 0), (PAGE, PAGE, 2, PAGE)]),
        (1, Flaw::Unmerged)
    );
    assert_eq!(flaw(PAGE, &[(0, PAGE, 0, PAGE)]), (0, Flaw::Misplaced));
    assert_eq!(flaw(PAGE, &[(0, PAGE, 1, PAGE)]), (0, Flaw::Misplaced));
    assert_eq!(flaw(PAGE, &[(0, PAGE, 2, 1)]), (0, Flaw::Misplaced));
    assert_eq!(
        flaw(PAGE, &[(0, PAGE, 2, u64::MAX - 4095)]),
        (0, Flaw::Misplaced)
    );
}

#[test]
fn sizes_and_counts_are_bounded_before_anything_is_allocated() {
    let said = |size, count| verify(&mut forge(size, &[], Some(count)).as_slice()).unwrap_err();
    assert!(matches!(said(MAX_SIZE + 1, 1), Error::TooLarge(_)));
    assert!(matches!(
        said(PAGE, 2),
        Error::TooManyEntries { entries: 2, .. }
    ));
    assert!(matches!(
        said(MAX_SIZE, u64::MAX),
        Error::TooManyEntries { .. }
    ));
    // A quarter of a billion entries are announced and none comes.
    assert!(matches!(said(MAX_SIZE, MAX_SIZE / PAGE), Error::Truncated));
    let huge = tempfile::tempfile().unwrap();
    huge.set_len(MAX_SIZE + 1).unwrap();
    let mut out = Vec::new();
    assert!(matches!(
        pack(&huge, identity(1), None, &mut out),
        Err(Error::TooLarge(_))
    ));
    assert_eq!(out, []);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let image = file(&vec![1; 2 * BLOCK]);
    let (base, first) = packed(&image, 1, None);
    let refused = |image: &File, generation, changed: &[Extent]| {
        let parent = Some((&first, changed));
        pack(image, identity(generation), parent, &mut io::sink()).unwrap_err()
    };
    let longer = file(&vec![1; 3 * BLOCK]);
    assert!(matches!(
        refused(&longer, 2, &[]),
        Error::SizeDiffers { .. }
    ));
    assert!(matches!(refused(&image, 1, &[]), Error::BuildReused(_)));
    assert!(matches!(
        refused(&image, 2, &[extent(2 * PAGE, 1)]),
        Error::Outside { .. }
    ));
    assert!(matches!(
        refused(&image, 2, &[extent(u64::MAX, 2)]),
        Error::Outside { .. }
    ));

    let (diff, _) = packed(&image, 2, Some((&first, &[extent(0, PAGE)])));
    assert!(matches!(unpacked(&diff), Err(Error::NotSelfContained(id)) if id == build(1)));
    assert!(matches!(
        unpack(&mut base.as_slice(), &image),
        Err(Error::TargetNotEmpty)
    ));
    let open =
        |packs: &[&[u8]]| reader(&packs.iter().map(|pack| pack.to_vec()).collect::<Vec<_>>());
    assert!(matches!(open(&[&diff]), Err(Error::BuildMissing(id)) if id == build(1)));
    assert!(matches!(open(&[&base, &base, &diff]), Err(Error::BuildTwice(id)) if id == build(1)));
    let short = packed(&file(&[1; BLOCK]), 1, None).0;
    assert!(matches!(open(&[&short, &diff]), Err(Error::BuildTooShort(id)) if id == build(1)));
    let whole = open(&[&base, &diff]).unwrap();
    let mut byte = [0];
    assert!(matches!(
        whole.read_at(2 * PAGE, &mut byte),
        Err(Error::Outside { .. })
    ));
    assert!(matches!(
        whole.read_at(u64::MAX, &mut byte),
        Err(Error::Outside { .. })
    ));
    whole.read_at(2 * PAGE, &mut []).unwrap();
}

/// Gives what it has a few bytes at a time, as a pipe does, and then fails in its own way.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let len = buf.len().min(13);
        self.0.read(&mut buf[..len])
    }
}

#[test]
fn a_pack_streams_and_the_stream_s_own_errors_are_told() {
    let pack = small();
    verify(&mut Trickle(&pack)).unwrap();
    let cut = &pack[..pack.len() - 1];
    let error = verify(&mut Trickle(cut)).unwrap_err();
    assert!(matches!(error, Error::Read(error) if error.kind() == io::ErrorKind::ConnectionReset));
    let mut room = [0; 1000];
    let error = wrenn_memory::packed::pack(
        &file(&[1; BLOCK]),
        identity(1),
        None,
        &mut room.as_mut_slice(),
    );
    assert!(matches!(error, Err(Error::Write(_))));
}
