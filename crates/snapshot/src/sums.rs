//! Sums of what an image holds, kept at the price of what was written.
//!
//! Beside an image stands a table: a sparse file of one `u64` for each block of 4 KiB, little-endian. An entry is the
//! block's XXH3, or 0 for a block of zeros. The next generation's table is a reflink of its parent's with new entries for
//! the blocks that were written. The [`Root`] of a table is the wrapping sum over its entries that are not 0, each mixed
//! with its index; so a changed entry is taken out and put in, and the root too costs only what was written. The root
//! stands in the manifest, so that an image that is exchanged together with its table is found.
//!
//! The sums find what disks and people do. They are no defence against somebody who makes files on purpose.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use wrenn_sys::extents::Extent;
use wrenn_sys::reflink;
use xxhash_rust::xxh3::xxh3_64;

use crate::files;

/// What one entry is the sum of, in bytes.
pub(crate) const BLOCK: usize = 4096;

/// What an entry takes, in bytes.
const ENTRY: usize = 8;

/// How many entries are held at once: one block of the table.
const WINDOW: usize = BLOCK / ENTRY;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A sum over all of a file; as text 16 digits in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Root(u64);

impl Root {
    /// Takes an entry in, or with its negative out again.
    fn exchange(&mut self, index: u64, old: u64, new: u64) {
        self.0 = self
            .0
            .wrapping_sub(mix(index, old))
            .wrapping_add(mix(index, new));
    }

    /// Takes in the blocks of `bytes`, which stand at the offset `at`.
    pub(crate) fn add(&mut self, at: u64, bytes: &[u8]) {
        for (index, sum) in block_sums(at, bytes) {
            self.exchange(index, 0, sum);
        }
    }
}

impl From<u64> for Root {
    fn from(sum: u64) -> Self {
        Self(sum)
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Root> for String {
    fn from(root: Root) -> Self {
        root.to_string()
    }
}

impl TryFrom<String> for Root {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u64::from_str_radix(&text, 16).map(Self)
    }
}

/// What an entry counts for in the root: nothing when it is 0.
fn mix(index: u64, entry: u64) -> u64 {
    if entry == 0 {
        return 0;
    }
    let mut both = [0; 2 * ENTRY];
    both[..ENTRY].copy_from_slice(&index.to_le_bytes());
    both[ENTRY..].copy_from_slice(&entry.to_le_bytes());
    xxh3_64(&both)
}

/// The sum of a block; what is missing of a last one counts as zeros.
fn sum(block: &[u8]) -> u64 {
    if *block == ZEROS[..block.len()] {
        return 0;
    }
    let sum = if block.len() == BLOCK {
        xxh3_64(block)
    } else {
        let mut whole = ZEROS;
        whole[..block.len()].copy_from_slice(block);
        xxh3_64(&whole)
    };
    sum.max(1)
}

/// The sums of the blocks of `bytes`, which begin at the offset `at`, each with its index.
pub(crate) fn block_sums(at: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    debug_assert!(at.is_multiple_of(BLOCK as u64));
    (at / BLOCK as u64..).zip(bytes.chunks(BLOCK).map(sum))
}

/// How many blocks a file of `len` bytes has.
fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK as u64)
}

/// How long the table of a file of `len` bytes is.
pub(crate) fn table_len(len: u64) -> u64 {
    blocks(len) * ENTRY as u64
}

/// A table of sums as whoever brings single pages of an image asks it, in any order.
#[derive(Debug)]
pub struct PageSums(File);

impl PageSums {
    /// This table.
    #[must_use]
    pub fn of(table: File) -> Self {
        Self(table)
    }

    /// Whether these bytes, whole blocks, are what was written at the offset `at` of the image. Where the table can't be read,
    /// nothing is.
    #[must_use]
    pub fn hold(&self, at: u64, bytes: &[u8]) -> bool {
        let first = at / BLOCK as u64 * ENTRY as u64;
        let mut entries = vec![0; bytes.len().div_ceil(BLOCK) * ENTRY];
        let read = self.0.read_exact_at(&mut entries, first);
        let sums = block_sums(at, bytes).map(|(_, sum)| sum.to_le_bytes());
        read.is_ok() && entries.chunks(ENTRY).eq(sums)
    }
}

/// A table of sums, with the block of it that was used last.
///
/// Images are gone through in ascending order, so that one block is enough: each is read and written once.
#[derive(Debug)]
pub(crate) struct Table {
    file: File,
    /// What it is a clone of, for what of it is still as it was: that was just written by the pause before and lies in the
    /// page cache, whereas a new file's blocks are read from the disk.
    parent: Option<File>,
    /// No entry from this one on was written to the file.
    untouched: u64,
    /// How many entries there are.
    count: u64,
    root: Root,
    window: Box<[u64; WINDOW]>,
    /// The index of the window's first entry; none before the first use.
    start: Option<u64>,
    changed: bool,
}

impl Table {
    /// A new table for a file of `len` bytes, all zeros.
    pub(crate) fn create(path: &Path, len: u64) -> io::Result<Self> {
        let file = create(path)?;
        file.set_len(table_len(len))?;
        Ok(Self::over(file, blocks(len), Root::default()))
    }

    /// A new table for a file of `len` bytes, which begins as the table `parent` of a file of `parent_len` bytes, whose
    /// root is `root`.
    pub(crate) fn branch(
        parent: File,
        parent_len: u64,
        root: Root,
        path: &Path,
        len: u64,
    ) -> io::Result<Self> {
        let file = create(path)?;
        reflink::clone(&parent, &file)?;
        let (before, now) = (blocks(parent_len), blocks(len));
        let mut table = Self::over(file, before.max(now), root);
        table.parent = Some(parent);
        for gone in now..before {
            table.set(gone, 0)?;
        }
        table.write_back()?;
        table.count = now;
        table.file.set_len(table_len(len))?;
        Ok(table)
    }

    /// The table of a file of `len` bytes, to be read.
    pub(crate) fn read(file: File, len: u64) -> Self {
        Self::over(file, blocks(len), Root::default())
    }

    fn over(file: File, count: u64, root: Root) -> Self {
        Self {
            file,
            parent: None,
            untouched: 0,
            count,
            root,
            window: Box::new([0; WINDOW]),
            start: None,
            changed: false,
        }
    }

    /// Makes the entries of the blocks of `bytes`, which stand at the offset `at` of the image, and says how many bytes
    /// there are in blocks that are not zeros.
    pub(crate) fn take(&mut self, at: u64, bytes: &[u8]) -> io::Result<u64> {
        let mut written = 0;
        for (index, sum) in block_sums(at, bytes) {
            self.set(index, sum)?;
            written += if sum == 0 { 0 } else { BLOCK as u64 };
        }
        Ok(written)
    }

    /// The entry of one block.
    pub(crate) fn get(&mut self, index: u64) -> io::Result<u64> {
        self.entry(index).map(|entry| *entry)
    }

    fn set(&mut self, index: u64, sum: u64) -> io::Result<()> {
        let entry = self.entry(index)?;
        let old = std::mem::replace(entry, sum);
        if old != sum {
            self.changed = true;
            self.root.exchange(index, old, sum);
        }
        Ok(())
    }

    /// The root of all entries, counted anew.
    pub(crate) fn count_root(&mut self) -> io::Result<Root> {
        let mut root = Root::default();
        for extent in wrenn_disk::changed(&self.file, None)? {
            let end = extent.end().div_ceil(ENTRY as u64).min(self.count);
            for index in extent.start / ENTRY as u64..end {
                root.exchange(index, 0, self.get(index)?);
            }
        }
        Ok(root)
    }

    /// Writes what is left to write, and gives the file and its root.
    pub(crate) fn finish(mut self) -> io::Result<(File, Root)> {
        self.write_back()?;
        Ok((self.file, self.root))
    }

    fn entry(&mut self, index: u64) -> io::Result<&mut u64> {
        if index >= self.count {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let place = index % WINDOW as u64;
        let start = index - place;
        if self.start != Some(start) {
            self.write_back()?;
            self.load(start)?;
        }
        let place = usize::try_from(place).map_err(io::Error::other)?;
        Ok(&mut self.window[place])
    }

    fn load(&mut self, start: u64) -> io::Result<()> {
        self.start = None;
        let mut bytes = [0; BLOCK];
        let len = self.window_len(start)?;
        let parent = self.parent.as_ref().filter(|_| start >= self.untouched);
        let from = parent.unwrap_or(&self.file);
        // What is not in the file yet is zeros.
        let mut filled = 0;
        while filled < len {
            match from.read_at(&mut bytes[filled..len], offset(start) + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        for (entry, bytes) in self.window.iter_mut().zip(bytes.as_chunks::<ENTRY>().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        self.start = Some(start);
        Ok(())
    }

    fn write_back(&mut self) -> io::Result<()> {
        if let Some(start) = self.start
            && std::mem::take(&mut self.changed)
        {
            let mut bytes = [0; BLOCK];
            for (bytes, entry) in bytes
                .as_chunks_mut::<ENTRY>()
                .0
                .iter_mut()
                .zip(&*self.window)
            {
                *bytes = entry.to_le_bytes();
            }
            let len = self.window_len(start)?;
            self.file.write_all_at(&bytes[..len], offset(start))?;
            self.untouched = self.untouched.max(start + WINDOW as u64);
        }
        Ok(())
    }

    /// How many bytes of the window that begins with the entry `start` are in the table.
    fn window_len(&self, start: u64) -> io::Result<usize> {
        let entries = (self.count - start).min(WINDOW as u64);
        Ok(usize::try_from(entries).map_err(io::Error::other)? * ENTRY)
    }
}

fn offset(index: u64) -> u64 {
    index * ENTRY as u64
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(files::MODE)
        .open(path)
}

/// How much of an image is read at once, in bytes.
const CHUNK: u64 = 1 << 20;

/// Reads pieces of an image of `len` bytes, each widened to whole blocks, and hands on what they hold.
pub(crate) fn read_blocks<E: From<io::Error>>(
    image: &File,
    len: u64,
    pieces: &[Extent],
    mut seen: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = Vec::new();
    let block = BLOCK as u64;
    let mut at = 0;
    for piece in pieces {
        // Two pieces may stand in one block.
        at = at.max(piece.start / block * block);
        let end = piece.end().next_multiple_of(block).min(len);
        while at < end {
            let wanted = CHUNK.min(end - at);
            buffer.resize(usize::try_from(wanted).map_err(io::Error::other)?, 0);
            image.read_exact_at(&mut buffer, at)?;
            seen(at, &buffer)?;
            at += wanted;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_sum_to_nothing_and_a_short_block_is_filled_up() {
        assert_eq!(sum(&ZEROS), 0);
        assert_eq!(sum(&ZEROS[..10]), 0);
        let mut block = ZEROS;
        block[3] = 1;
        assert_eq!(sum(&block), sum(&block[..100]));
        assert_ne!(sum(&block), 0);
    }

    #[test]
    fn a_page_is_held_against_its_own_sum() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table::create(&dir.path().join("sums"), 3 * 4096).unwrap();
        let image = [[7; BLOCK], [0; BLOCK], [9; BLOCK]].concat();
        table.take(0, &image).unwrap();
        let sums = PageSums::of(table.finish().unwrap().0);
        assert!(sums.hold(0, &image) && sums.hold(4096, &ZEROS));
        assert!(!sums.hold(4096, &image[..BLOCK]), "another page's");
        assert!(!sums.hold(2 * 4096, &[8; BLOCK]));
        assert!(!sums.hold(3 * 4096, &ZEROS), "behind its end");
    }

    /// The root of a table with these entries.
    fn root(entries: &[u64]) -> Root {
        let mut root = Root::default();
        (0..)
            .zip(entries)
            .for_each(|(index, entry)| root.exchange(index, 0, *entry));
        root
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_table_is_a_list_whose_root_keeps_step(
            len in 1..3000_u64 * 4096,
            writes in prop::collection::vec((0..3000_usize, 0..4_u64), 0..200),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut table = Table::create(&dir.path().join("sums"), len).unwrap();
            let mut model = vec![0; usize::try_from(blocks(len)).unwrap()];
            for (index, entry) in writes {
                let told = table.set(index as u64, entry);
                match model.get_mut(index) {
                    Some(place) => { told.unwrap(); *place = entry; }
                    None => prop_assert!(told.is_err()),
                }
            }
            let (file, kept) = table.finish().unwrap();
            prop_assert_eq!(kept, root(&model));
            prop_assert_eq!(file.metadata().unwrap().len(), table_len(len));
            let mut again = Table::read(file, len);
            prop_assert_eq!(again.count_root().unwrap(), kept);
            for (index, entry) in (0..).zip(&model) {
                prop_assert_eq!(again.get(index).unwrap(), *entry);
            }
        }
    }

    #[test]
    fn an_entry_counts_where_it_stands() {
        assert_ne!(root(&[1, 2]), root(&[2, 1]));
        assert_ne!(root(&[1, 0]), root(&[0, 1]));
        assert_eq!(root(&[]), root(&[0, 0]));
    }
}
