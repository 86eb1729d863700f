//! What a pack is, byte by byte, and how it streams.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use wrenn_memory::PAGE;
use wrenn_memory::packed::{Error, Source, pack, unpack, verify};

use super::damage::small;
use super::{BLOCK, build, contents, extent, file, forge, identity, packed, unpacked};

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
    assert!(contents(&unpacked(&pack).unwrap()).is_empty());
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
    let small = small();
    verify(&mut Trickle(&small)).unwrap();
    let cut = &small[..small.len() - 1];
    let error = verify(&mut Trickle(cut)).unwrap_err();
    assert!(matches!(error, Error::Read(error) if error.kind() == io::ErrorKind::ConnectionReset));
    let mut room = [0; 1000];
    let error = pack(
        &file(&[1; BLOCK]),
        identity(1),
        None,
        &mut room.as_mut_slice(),
    );
    assert!(matches!(error, Err(Error::Write(_))));
}
