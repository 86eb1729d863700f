//! Where pages come from: a sparse image, or its packed form.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, fadvise};
use wrenn_sys::extents::Extent;

use crate::packed::{self, Reader};
use crate::sparse;

/// An image of a guest's memory. Offsets and lengths are those of the image, in bytes.
pub trait PageSource: std::fmt::Debug + Sync {
    /// Fills `buf` with what the image has at this offset.
    ///
    /// # Errors
    /// It could not be read, or ends before that.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()>;

    /// The first piece at or after `at` and below `end` that may be other than zeros; none when all are zeros.
    ///
    /// # Errors
    /// Where there is something could not be told.
    fn next_data(&self, at: u64, end: u64) -> io::Result<Option<Extent>>;

    /// A piece will be read soon: the disk may begin, and nobody waits for it.
    fn expect(&self, piece: Extent);
}

impl PageSource for File {
    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buf, at)
    }

    fn next_data(&self, at: u64, end: u64) -> io::Result<Option<Extent>> {
        sparse::next_data(self, at, end)
    }

    fn expect(&self, piece: Extent) {
        let len = NonZeroU64::new(piece.len);
        // A hint: who reads it finds out what is wrong with it.
        fadvise(self, piece.start, len, Advice::WillNeed).ok();
    }
}

/// Of a pack's blocks only all together have a sum: who has none for each page has the packs verified first
/// ([`packed::verify`]).
impl PageSource for Reader {
    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        Reader::read_at(self, at, buf).map_err(|error| match error {
            packed::Error::Read(source) => source,
            other => io::Error::other(other),
        })
    }

    fn next_data(&self, at: u64, end: u64) -> io::Result<Option<Extent>> {
        Ok(self.stored_after(at, end))
    }

    fn expect(&self, piece: Extent) {
        for (pack, blocks) in self.blocks_of(piece) {
            pack.expect(blocks);
        }
    }
}

/// Where a source has data, asked for in any order: as long as the questions stay near each other, the source is asked once
/// for each extent.
#[derive(Debug)]
pub(super) struct Data<'a> {
    source: &'a dyn PageSource,
    size: u64,
    /// Between this and the extent's start there is nothing.
    from: u64,
    next: Extent,
}

impl<'a> Data<'a> {
    /// Of a source that is as long.
    pub(super) fn of(source: &'a dyn PageSource, size: u64) -> Self {
        Self {
            source,
            size,
            from: 0,
            next: Extent { start: 0, len: 0 },
        }
    }

    /// The first data at or after `at`.
    pub(super) fn after(&mut self, at: u64) -> io::Result<Option<Extent>> {
        if !(self.from..self.next.end()).contains(&at) {
            let nothing = Extent {
                start: self.size,
                len: u64::MAX - self.size,
            };
            self.next = self.source.next_data(at, self.size)?.unwrap_or(nothing);
            self.from = at;
        }
        let start = self.next.start.max(at);
        let end = self.next.end();
        Ok((start < self.size).then(|| Extent {
            start,
            len: end - start,
        }))
    }

    /// Whether there is data in this piece.
    pub(super) fn is_in(&mut self, piece: Extent) -> io::Result<bool> {
        let data = self.after(piece.start)?;
        Ok(data.is_some_and(|data| data.start < piece.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAGE;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the order of the questions.
        #[test]
        fn data_is_where_the_file_has_it(
            pages in proptest::collection::btree_set(0..64_u64, 0..20),
            asked in proptest::collection::vec((0..64_u64, 1..8_u64), 1..40),
        ) {
            let file = tempfile::tempfile().unwrap();
            file.set_len(64 * PAGE).unwrap();
            for page in &pages {
                file.write_all_at(&[1; 4096], page * PAGE).unwrap();
            }
            let mut data = Data::of(&file, 64 * PAGE);
            for (page, len) in asked {
                let piece = Extent { start: page * PAGE, len: len * PAGE };
                prop_assert_eq!(data.is_in(piece).unwrap(), pages.range(page..page + len).next().is_some());
            }
        }
    }
}
