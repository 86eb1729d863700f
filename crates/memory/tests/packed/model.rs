//! Any image and any history, against a flat model.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use proptest::collection::vec;
use proptest::prelude::*;
use wrenn_memory::PAGE;
use wrenn_memory::packed::{Error, Mapping, pack, verify};

use super::{BLOCK, contents, extent, file, forge, packed, reader, unpacked};

/// A piece of an image, by its offset and length, and the byte that it is filled with.
type Write = (usize, usize, u8);

/// What a guest does to its memory between two generations: fill a piece with a byte, zero as often as not.
fn writes(size: usize) -> impl Strategy<Value = Vec<Write>> {
    let byte = prop_oneof![Just(0), 1..=255_u8];
    let write = (0..size, 1..=3 * BLOCK, byte);
    vec(write, 0..12).prop_map(move |writes| {
        let clip = |(at, len, byte): (usize, usize, u8)| (at, len.min(size - at), byte);
        writes.into_iter().map(clip).collect()
    })
}

/// The size of an image and the writes of each of its generations.
fn history() -> impl Strategy<Value = (usize, Vec<Vec<Write>>)> {
    let size = prop_oneof![
        1..40 * BLOCK,
        (1..40_usize).prop_map(|blocks| blocks * BLOCK)
    ];
    size.prop_flat_map(|size| (Just(size), vec(writes(size), 1..6)))
}

/// The packs of a history, the first one of the whole image, the others over the one before, and the last flat image.
fn live(size: usize, history: &[Vec<Write>]) -> (Vec<Vec<u8>>, Vec<u8>) {
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
    fn any_mapping_is_read_without_harm(made in forged()) {
        let whole = verify(&mut made.as_slice());
        prop_assert!(!matches!(whole, Err(Error::MappingSum | Error::Magic)));
        if let Ok(file) = unpacked(&made) {
            prop_assert_eq!(packed_again(&file, &made), made.clone());
        }
        if let Ok(reader) = reader(&[made]) {
            let mut bytes = vec![0; 4 * BLOCK];
            prop_assert!(reader.read_at(reader.mapping().size(), &mut bytes).is_err());
        }
    }
}

fn packed_again(image: &File, of: &[u8]) -> Vec<u8> {
    let mapping = verify(&mut { of }).unwrap();
    let mut bytes = Vec::new();
    pack(image, mapping.identity(), None, &mut bytes).unwrap();
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
