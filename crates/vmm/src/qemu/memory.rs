//! The guest's memory in the VMM's address space: where it is, and which pages of it are no longer the image's.

use std::fs::{self, File};
use std::io::{self, Read};

use wrenn_sys::extents::{Extent, Piece};
use wrenn_sys::pagemap;
use wrenn_sys::process::FileId;

use crate::GuestMemory;

/// The longest list of mappings that is read: as many as a process may have, each with a path of the jail.
const LONGEST_MAPS: u64 = 8 << 20;

/// A mapping of the image, or a part of one that the kernel split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapping {
    at: Extent,
    /// In the image.
    offset: u64,
}

/// Every page that a process has written to its guest's memory: `from` is its address, `to` its place in the guest's
/// memory. The file reads at addresses. Blocks. The caller sees to it that the process is still the one it means.
pub(super) fn written(pid: i32, memory: GuestMemory) -> io::Result<(File, Vec<Piece>)> {
    let file = File::open(format!("/proc/{pid}/mem"))?;
    let whole = locate(pid, memory)?;
    let piece = |page: Extent| Piece {
        from: page.start,
        to: page.start - whole.start,
        len: page.len,
    };
    let pages = pagemap::private(pid, whole)?;
    Ok((file, pages.into_iter().map(piece).collect()))
}

/// Where the guest's memory is mapped.
fn locate(pid: i32, memory: GuestMemory) -> io::Result<Extent> {
    let mut maps = String::new();
    let file = File::open(format!("/proc/{pid}/maps"))?;
    file.take(LONGEST_MAPS).read_to_string(&mut maps)?;
    let mut mappings = private_mappings(&maps, memory.image.ino);
    // The list has the device of the file system, and a file's own may be another (on btrfs it is).
    let mut failed = None;
    mappings.retain(|mapping| {
        let Extent { start, .. } = mapping.at;
        let link = format!("/proc/{pid}/map_files/{start:x}-{:x}", mapping.at.end());
        match fs::metadata(link) {
            Ok(meta) => FileId::from(&meta) == memory.image,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    });
    match (failed, join(&mappings, memory.size.bytes())) {
        (None, Some(whole)) => Ok(whole),
        (Some(error), _) => Err(error),
        (None, None) => Err(io::Error::other(
            "the guest's memory is not mapped as it was",
        )),
    }
}

/// The private mappings of files with this inode number, by address.
fn private_mappings(maps: &str, inode: u64) -> Vec<Mapping> {
    let inode = inode.to_string();
    maps.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (from, to) = fields.next()?.split_once('-')?;
            let private = fields.next()?.ends_with('p');
            let offset = hexadecimal(fields.next()?)?;
            let same = fields.nth(1)? == inode;
            let start = hexadecimal(from)?;
            let len = hexadecimal(to)?.checked_sub(start)?;
            let at = Extent { start, len };
            (private && same).then_some(Mapping { at, offset })
        })
        .collect()
}

fn hexadecimal(number: &str) -> Option<u64> {
    u64::from_str_radix(number, 16).ok()
}

/// One piece of this size, from the image's beginning on, or nothing.
fn join(mappings: &[Mapping], size: u64) -> Option<Extent> {
    let start = mappings.first()?.at.start;
    let mut len = 0;
    for mapping in mappings {
        if mapping.at.start != start + len || mapping.offset != len {
            return None;
        }
        len += mapping.at.len;
    }
    (len == size).then_some(Extent { start, len })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0000200000 rw-p 00000000 fd:01 77     /vm/memory
7f0000200000-7f0000300000 r--p 00200000 fd:01 77     /vm/memory
7f0000300000-7f0000400000 rw-p 00000000 00:00 0
7f0000400000-7f0000500000 rw-s 00300000 fd:01 77     /vm/a b
7f0000500000-7f0000600000 rw-p 00000000 fd:01 7      /vm/overlay
nonsense
";

    #[test]
    fn parts_that_the_kernel_split_are_one() {
        let mappings = private_mappings(MAPS, 77);
        assert_eq!(mappings.len(), 2);
        let start = 0x7f00_0000_0000;
        let whole = Extent {
            start,
            len: 3 << 20,
        };
        assert_eq!(join(&mappings, 3 << 20), Some(whole));
    }

    #[test]
    fn anything_else_is_not_the_memory() {
        let mappings = private_mappings(MAPS, 77);
        assert_eq!(join(&mappings, 2 << 20), None, "more than the guest has");
        assert_eq!(join(&mappings[1..], 1 << 20), None, "not the beginning");
        let mut apart = mappings.clone();
        apart[1].at.start += 4096;
        assert_eq!(join(&apart, 3 << 20), None, "a gap");
        assert_eq!(join(&[], 0), None);
    }
}
