//! Packs of images without and with a past, whole, damaged and made up.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "packed/damage.rs"]
mod damage;
#[path = "packed/format.rs"]
mod format;
#[path = "packed/model.rs"]
mod model;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use wrenn_memory::packed::{BuildId, Error, Identity, Mapping, Reader, pack, unpack};
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
    assert!(input.is_empty(), "a pack is read to its end");
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
        stored = stored.saturating_add(len * u64::from(build == 1 && len < 1 << 18));
    }
    let sum = blake3::hash(&pack);
    pack.extend(sum.as_bytes());
    let data = vec![7; usize::try_from(stored).unwrap()];
    let bound = [sum.as_bytes(), data.as_slice()].concat();
    pack.extend(data);
    pack.extend(blake3::hash(&bound).as_bytes());
    pack
}
