//! What one file has that another has not, told by the blocks that they share.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use wrenn_sys::extents::Extent;
use wrenn_sys::fiemap::{self, Mapping};

/// What of `now` does not share its blocks with the same place of `before`, ascending and merged; all of its data where
/// there is no `before`. A hole of `now` where `before` has data counts as changed. What lies behind the end of `now`
/// is not told.
///
/// On a file system with reflinks this is what was written since one became a clone of the other, if `before` was never
/// written since: the blocks of a clone are shared until they are written, and then stand elsewhere. It costs a look at
/// each extent and no byte of data. Data whose place is not known counts as changed.
///
/// # Errors
/// `EOPNOTSUPP` where the file system does not tell where its blocks are.
pub fn changed(now: &File, before: Option<&File>) -> io::Result<Vec<Extent>> {
    let meta = now.metadata()?;
    let mut had = match before {
        Some(before) => fiemap::mappings(before)?,
        None => Vec::new(),
    };
    if before.map(File::metadata).transpose()?.map(|m| m.dev()) != Some(meta.dev()) {
        // The same number on another file system is another block.
        had.iter_mut().for_each(|mapping| mapping.physical = None);
    }
    let mut differences = differences(&fiemap::mappings(now)?, &had);
    clip(&mut differences, meta.len());
    Ok(differences)
}

/// Where two files differ, by their mappings: what either has and the other has not at the same block.
fn differences(now: &[Mapping], before: &[Mapping]) -> Vec<Extent> {
    let (mut now, mut before) = (Cursor::new(now), Cursor::new(before));
    let mut found: Vec<Extent> = Vec::new();
    let mut at = 0;
    while let Some(edge) = now
        .edge_after(at)
        .into_iter()
        .chain(before.edge_after(at))
        .min()
    {
        if !same(now.at(at), before.at(at)) {
            push(&mut found, at, edge);
        }
        at = edge;
    }
    found
}

/// What a file has at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Hole,
    Block(u64),
    Unknown,
}

fn same(a: Place, b: Place) -> bool {
    a == b && a != Place::Unknown
}

/// A walk over a file's mappings, forward only.
struct Cursor<'a> {
    rest: &'a [Mapping],
}

impl<'a> Cursor<'a> {
    fn new(mappings: &'a [Mapping]) -> Self {
        Self { rest: mappings }
    }

    /// The next offset behind `at` where a mapping begins or ends.
    fn edge_after(&mut self, at: u64) -> Option<u64> {
        self.pass(at);
        let extent = self.rest.first()?.extent;
        Some(if extent.start > at {
            extent.start
        } else {
            extent.end()
        })
    }

    fn at(&mut self, at: u64) -> Place {
        self.pass(at);
        match self.rest.first() {
            Some(mapping) if mapping.extent.start <= at => match mapping.physical {
                Some(physical) => Place::Block(physical + (at - mapping.extent.start)),
                None => Place::Unknown,
            },
            _ => Place::Hole,
        }
    }

    /// Leaves behind what ends at `at` or before.
    fn pass(&mut self, at: u64) {
        while let [first, rest @ ..] = self.rest
            && first.extent.end() <= at
        {
            self.rest = rest;
        }
    }
}

fn push(extents: &mut Vec<Extent>, start: u64, end: u64) {
    match extents.last_mut() {
        Some(last) if last.end() == start => last.len = end - last.start,
        _ => extents.push(Extent {
            start,
            len: end - start,
        }),
    }
}

/// Takes away what lies at `end` or behind it.
fn clip(extents: &mut Vec<Extent>, end: u64) {
    extents.retain_mut(|extent| {
        extent.len = extent.len.min(end.saturating_sub(extent.start));
        extent.len > 0
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCKS: usize = 40;

    /// A file as a list of blocks: none is a hole, 0 a block whose place is not known.
    fn blocks() -> impl Strategy<Value = Vec<Option<u64>>> {
        prop::collection::vec(prop::option::weighted(0.7, 0..3_u64), BLOCKS)
    }

    /// The mappings of such a file, each block for itself or neighbours as one.
    fn mappings(blocks: &[Option<u64>], merge: bool) -> Vec<Mapping> {
        let mut found: Vec<Mapping> = Vec::new();
        for (index, block) in (0..).zip(blocks) {
            let Some(block) = *block else { continue };
            // Runs of one kind stand one behind the other on the disk, so that they can be merged.
            let physical = (block > 0).then_some(block * 1_000_000 + index * 4096);
            let start = index * 4096;
            match found.last_mut() {
                Some(last)
                    if merge
                        && last.extent.end() == start
                        && last.physical.map(|p| p + last.extent.len) == physical =>
                {
                    last.extent.len += 4096;
                }
                _ => found.push(Mapping {
                    extent: Extent { start, len: 4096 },
                    physical,
                }),
            }
        }
        found
    }

    proptest! {
        #[test]
        fn differences_are_those_of_the_blocks(now in blocks(), before in blocks(), merge: [bool; 2]) {
            let found = differences(&mappings(&now, merge[0]), &mappings(&before, merge[1]));
            for (index, (now, before)) in now.iter().zip(&before).enumerate() {
                let at = index as u64 * 4096;
                let told = found.iter().any(|e| e.start <= at && at < e.end());
                let differs = now != before || *now == Some(0);
                prop_assert_eq!(told, differs, "block {}", index);
            }
            prop_assert!(found.windows(2).all(|w| w[0].end() < w[1].start));
        }
    }

    #[test]
    fn what_lies_behind_the_end_is_not_told() {
        let extent = |start, len| Extent { start, len };
        let mut extents = vec![extent(0, 10), extent(20, 10), extent(40, 10)];
        clip(&mut extents, 25);
        assert_eq!(extents, [extent(0, 10), extent(20, 5)]);
    }
}
