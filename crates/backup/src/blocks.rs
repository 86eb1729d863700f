//! Where on a file system the blocks stand that a backup has already, so that what files share is written once.
//!
//! A block is known by its place. So the files must keep theirs until the backup is done: whoever asks holds them open.

use std::collections::{BTreeMap, HashMap};

use wrenn_sys::extents::Extent;
use wrenn_sys::fiemap::Mapping;

/// A piece of a file, as a backup has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Its bytes stand in the backup.
    Data(Extent),
    /// Its bytes are those of another piece, or of an earlier one of its own file.
    Same {
        /// Which piece.
        extent: Extent,
        /// The number of the other file.
        file: u64,
        /// Where the bytes stand there.
        from: u64,
    },
}

/// A run of blocks that the backup has.
#[derive(Debug, Clone, Copy)]
struct Known {
    len: u64,
    file: u64,
    at: u64,
}

/// The blocks that a backup has, by device and place.
#[derive(Debug, Default)]
pub(crate) struct Blocks(HashMap<u64, BTreeMap<u64, Known>>);

impl Blocks {
    /// The pieces of a file with this number on this device; what is new of it is known from now on.
    pub(crate) fn add(&mut self, device: u64, file: u64, mappings: &[Mapping]) -> Vec<Piece> {
        let known = self.0.entry(device).or_default();
        let mut pieces = Vec::new();
        for mapping in mappings {
            match mapping.physical {
                Some(physical) => place(known, file, mapping.extent, physical, &mut pieces),
                None => push(&mut pieces, Piece::Data(mapping.extent)),
            }
        }
        pieces
    }
}

/// Cuts an extent where what is known of its blocks begins or ends.
fn place(
    known: &mut BTreeMap<u64, Known>,
    file: u64,
    extent: Extent,
    physical: u64,
    pieces: &mut Vec<Piece>,
) {
    let mut at = extent.start;
    while at < extent.end() {
        let block = physical + (at - extent.start);
        let rest = extent.end() - at;
        let before = known.range(..=block).next_back();
        let holding = before.filter(|(start, run)| block < *start + run.len);
        if let Some((start, run)) = holding {
            let into = block - start;
            let len = rest.min(run.len - into);
            let same = Piece::Same {
                extent: Extent { start: at, len },
                file: run.file,
                from: run.at + into,
            };
            push(pieces, same);
            at += len;
            continue;
        }
        let next = known.range(block..).next();
        let len = next.map_or(rest, |(start, _)| rest.min(start - block));
        push(pieces, Piece::Data(Extent { start: at, len }));
        known.insert(block, Known { len, file, at });
        at += len;
    }
}

/// Adds a piece, or makes the last one longer.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Data(last)), Piece::Data(next)) if last.end() == next.start => {
            last.len += next.len;
        }
        (
            Some(Piece::Same { extent, file, from }),
            Piece::Same {
                extent: next,
                file: other,
                from: there,
            },
        ) if extent.end() == next.start && *file == other && *from + extent.len == there => {
            extent.len += next.len;
        }
        _ => pieces.push(piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: u64 = 4096;
    /// Blocks of a small disk, and of a small file.
    const DISK: u64 = 12;
    const FILE: usize = 10;

    /// A file as a list of blocks: none is a hole.
    fn file() -> impl Strategy<Value = Vec<Option<u64>>> {
        prop::collection::vec(prop::option::weighted(0.8, 0..DISK), FILE)
    }

    fn mappings(blocks: &[Option<u64>]) -> Vec<Mapping> {
        let mut found: Vec<Mapping> = Vec::new();
        for (start, block) in (0..).step_by(4096).zip(blocks) {
            let Some(block) = block else { continue };
            let physical = block * BLOCK;
            match found.last_mut() {
                Some(last)
                    if last.extent.end() == start
                        && last.physical.map(|at| at + last.extent.len) == Some(physical) =>
                {
                    last.extent.len += BLOCK;
                }
                _ => found.push(Mapping {
                    extent: Extent { start, len: BLOCK },
                    physical: Some(physical),
                }),
            }
        }
        found
    }

    proptest! {
        /// Put together again from their pieces, files have the blocks that they had, and each block stands in the backup once.
        #[test]
        fn every_block_is_written_once_and_found_again(files in prop::collection::vec(file(), 1..5)) {
            let mut blocks = Blocks::default();
            let mut restored: Vec<Vec<Option<u64>>> = Vec::new();
            let mut written = Vec::new();
            for (number, file) in (0..).zip(&files) {
                let pieces = blocks.add(7, number, &mappings(file));
                restored.push(vec![None; FILE]);
                for piece in pieces {
                    let (extent, source) = match piece {
                        Piece::Data(extent) => (extent, None),
                        Piece::Same { extent, file, from } => (extent, Some((file, from))),
                    };
                    for offset in (0..extent.len).step_by(4096) {
                        let index = usize::try_from((extent.start + offset) / BLOCK).unwrap();
                        let value = match source {
                            None => {
                                written.push(file[index]);
                                file[index]
                            }
                            Some((other, from)) => {
                                let there = usize::try_from((from + offset) / BLOCK).unwrap();
                                restored[usize::try_from(other).unwrap()][there]
                            }
                        };
                        restored.last_mut().unwrap()[index] = value;
                    }
                }
            }
            prop_assert_eq!(&restored, &files);
            let count = written.len();
            written.sort_unstable();
            written.dedup();
            prop_assert_eq!(written.len(), count);
        }
    }

    #[test]
    fn what_has_no_place_is_written_and_devices_do_not_mix() {
        let extent = Extent {
            start: 0,
            len: BLOCK,
        };
        let at = |physical| [Mapping { extent, physical }];
        let mut blocks = Blocks::default();
        let data = [Piece::Data(extent)];
        assert_eq!(blocks.add(1, 0, &at(Some(0))), data);
        assert_eq!(blocks.add(2, 1, &at(Some(0))), data);
        assert_eq!(blocks.add(1, 2, &at(None)), data);
        assert_ne!(blocks.add(1, 3, &at(Some(0))), data);
    }
}
