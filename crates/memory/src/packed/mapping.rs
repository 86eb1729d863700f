//! Where the bytes of a packed image are.

use wrenn_sys::extents::Extent;

use super::{BuildId, Error, Flaw};
use crate::PAGE;

/// Which generation a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its place in its line of generations.
    pub generation: u64,
    /// The name of the blocks that it stores.
    pub build: BuildId,
    /// The build that its line began with; its own where it begins one.
    pub base: BuildId,
}

/// Where the bytes of a piece are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: they are zero.
    Zero,
    /// Among the blocks of a build.
    Build {
        /// Which one.
        build: BuildId,
        /// Where the piece begins, counted from the first of its blocks, in bytes.
        at: u64,
    },
}

/// A piece of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins in the image, in bytes.
    pub offset: u64,
    /// How long it is, in bytes: whole blocks, but for the end of an image.
    pub len: u64,
    /// Where its bytes are.
    pub source: Source,
}

impl Entry {
    /// The first offset behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// The part of it that lies in `range`, which it overlaps.
    fn clip(self, range: Extent) -> Self {
        let offset = self.offset.max(range.start);
        Self {
            offset,
            len: self.end().min(range.end()) - offset,
            source: self.source.after(offset - self.offset),
        }
    }
}

impl Source {
    /// The build that has the bytes; none for zeros.
    #[must_use]
    pub fn build(self) -> Option<BuildId> {
        match self {
            Self::Zero => None,
            Self::Build { build, .. } => Some(build),
        }
    }

    /// The source of what stands `len` bytes further on.
    fn after(self, len: u64) -> Self {
        match self {
            Self::Zero => Self::Zero,
            Self::Build { build, at } => Self::Build {
                build,
                at: at + len,
            },
        }
    }
}

/// The mapping of an image: entries in order, without gaps, with neighbours merged, so that there is one way only to write
/// one down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    identity: Identity,
    size: u64,
    entries: Vec<Entry>,
    /// How many bytes of the image have an entry: all of them, once the mapping is made.
    covered: u64,
    /// How many bytes the pack itself stores.
    stored: u64,
}

impl Mapping {
    /// A mapping that says nothing yet.
    pub(super) fn new(identity: Identity, size: u64) -> Self {
        Self {
            identity,
            size,
            entries: Vec::new(),
            covered: 0,
            stored: 0,
        }
    }

    /// Which generation this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// How long the image is, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes of blocks the pack itself stores.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// The entries, in ascending order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The pieces that `range`, which lies inside the image, is made of, in ascending order. Where the first one is, is
    /// found in O(log n).
    pub fn pieces(&self, range: Extent) -> impl Iterator<Item = Entry> {
        let first = self
            .entries
            .partition_point(|entry| entry.end() <= range.start);
        self.entries[first..]
            .iter()
            .take_while(move |entry| entry.offset < range.end())
            .map(move |entry| entry.clip(range))
    }

    /// The pieces whose blocks are in the pack itself, in the order of these blocks.
    pub(super) fn own(&self) -> impl Iterator<Item = Extent> {
        let own = self
            .entries
            .iter()
            .filter(|entry| self.is_own(entry.source));
        own.map(|entry| Extent {
            start: entry.offset,
            len: entry.len,
        })
    }

    /// The first build that blocks are needed of and that is not the pack's own.
    pub(super) fn foreign(&self) -> Option<BuildId> {
        let mut builds = self.entries.iter().filter_map(|entry| entry.source.build());
        builds.find(|build| *build != self.identity.build)
    }

    /// Whether blocks of this build are needed.
    pub(super) fn names(&self, build: BuildId) -> bool {
        let mut sources = self.entries.iter().map(|entry| entry.source);
        sources.any(|source| source.build() == Some(build))
    }

    /// The source of blocks that the pack is to store next.
    pub(super) fn next_stored(&self) -> Source {
        Source::Build {
            build: self.identity.build,
            at: self.stored,
        }
    }

    /// Where the next entry begins.
    pub(super) fn covered(&self) -> u64 {
        self.covered
    }

    /// Goes on with `len` bytes from `source`, merged with the last entry where that is possible.
    pub(super) fn append(&mut self, len: u64, source: Source) {
        if len == 0 {
            return;
        }
        if self.is_own(source) {
            self.stored += len;
        }
        match self.entries.last_mut() {
            Some(last) if last.source.after(last.len) == source => last.len += len,
            _ => self.entries.push(Entry {
                offset: self.covered,
                len,
                source,
            }),
        }
        self.covered += len;
    }

    /// Goes on with an entry that was read, if it is as this mapping would have written it.
    pub(super) fn append_read(&mut self, entry: Entry) -> Result<(), Error> {
        let index = self.entries.len();
        self.check(&entry)
            .map_err(|source| Error::Entry { index, source })?;
        self.append(entry.len, entry.source);
        Ok(())
    }

    fn check(&self, entry: &Entry) -> Result<(), Flaw> {
        if entry.offset != self.covered {
            return Err(Flaw::Gap);
        }
        let end = entry.offset.checked_add(entry.len).ok_or(Flaw::Beyond)?;
        if end > self.size {
            return Err(Flaw::Beyond);
        }
        if entry.len == 0 || (!entry.len.is_multiple_of(PAGE) && end != self.size) {
            return Err(Flaw::Blocks);
        }
        if let Source::Build { at, .. } = entry.source {
            let placed = if self.is_own(entry.source) {
                at == self.stored
            } else {
                at.is_multiple_of(PAGE) && at.checked_add(entry.len).is_some()
            };
            if !placed {
                return Err(Flaw::Misplaced);
            }
        }
        match self.entries.last() {
            Some(last) if last.source.after(last.len) == entry.source => Err(Flaw::Unmerged),
            _ => Ok(()),
        }
    }

    /// Whether the entries cover the whole image.
    pub(super) fn check_covered(&self) -> Result<(), Error> {
        if self.covered == self.size {
            return Ok(());
        }
        Err(Error::Entry {
            index: self.entries.len(),
            source: Flaw::Gap,
        })
    }

    fn is_own(&self, source: Source) -> bool {
        source.build() == Some(self.identity.build)
    }
}
