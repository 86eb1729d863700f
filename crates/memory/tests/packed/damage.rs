//! Packs that are not what was written, or do not fit.

use std::fs::File;
use std::io;

use wrenn_memory::PAGE;
use wrenn_memory::packed::{Error, Flaw, MAX_SIZE, pack, unpack, verify};
use wrenn_sys::extents::Extent;

use super::{BLOCK, build, extent, file, forge, identity, packed, reader, unpacked};

/// A pack of three blocks, the last one short, with a hole.
pub(crate) fn small() -> Vec<u8> {
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
    assert!(out.is_empty());
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
