//! Reading an image out of packs at any offset.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::os::unix::fs::FileExt;

use wrenn_sys::extents::Extent;

use super::{BuildId, Error, Mapping, SUM, Source, header};

/// An image that is read out of the pack of a generation and those of the generations before it.
///
/// Headers and mappings are verified when the packs are opened; blocks are not when they are read ([`super::verify`]).
#[derive(Debug)]
pub struct Reader {
    mapping: Mapping,
    blocks: HashMap<BuildId, Blocks>,
}

/// The blocks of a pack.
#[derive(Debug)]
struct Blocks {
    pack: File,
    /// Where they begin in the pack.
    start: u64,
    len: u64,
}

impl Reader {
    /// Opens the image whose pack is `top`. The packs of all builds that it needs blocks of are among the `ancestors`, in
    /// any order.
    ///
    /// # Errors
    /// [`Error::BuildMissing`], [`Error::BuildTwice`], [`Error::BuildTooShort`], [`Error::Truncated`]; whatever shows that
    /// a pack's header or mapping is not what was written.
    pub fn open(top: File, ancestors: impl IntoIterator<Item = File>) -> Result<Self, Error> {
        let (mapping, own) = Blocks::open(top)?;
        let mut blocks = HashMap::from([(mapping.identity().build, own)]);
        for pack in ancestors {
            let (ancestor, own) = Blocks::open(pack)?;
            let build = ancestor.identity().build;
            if blocks.insert(build, own).is_some() {
                return Err(Error::BuildTwice(build));
            }
        }
        for entry in mapping.entries() {
            if let Source::Build { build, at } = entry.source {
                let len = blocks.get(&build).ok_or(Error::BuildMissing(build))?.len;
                if at + entry.len > len {
                    return Err(Error::BuildTooShort(build));
                }
            }
        }
        Ok(Self { mapping, blocks })
    }

    /// Where the image's bytes are.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Fills `buf` with what the image has at `offset`.
    ///
    /// # Errors
    /// [`Error::Outside`] when that ends behind the image; [`Error::Read`].
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let (len, size) = (buf.len() as u64, self.mapping.size());
        let range = Extent { start: offset, len };
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(Error::Outside { range, size });
        }
        let mut rest = buf;
        for piece in self.mapping.pieces(range) {
            let len = usize::try_from(piece.len).unwrap_or(rest.len());
            let (bytes, behind) = rest.split_at_mut(len);
            match piece.source {
                Source::Zero => bytes.fill(0),
                Source::Build { build, at } => self.read_blocks(build, at, bytes)?,
            }
            rest = behind;
        }
        Ok(())
    }

    /// The first piece at or after `at` and below `end` that a pack has blocks for; none when all of it is zeros.
    #[must_use]
    pub fn stored_after(&self, at: u64, end: u64) -> Option<Extent> {
        let end = end.min(self.mapping.size());
        let len = end.checked_sub(at)?;
        let mut pieces = self.mapping.pieces(Extent { start: at, len });
        let stored = pieces.find(|piece| piece.source != Source::Zero)?;
        Some(Extent {
            start: stored.offset,
            len: stored.len,
        })
    }

    /// Where the blocks of this piece of the image stand: in which files, and where in them.
    pub(crate) fn blocks_of(&self, range: Extent) -> impl Iterator<Item = (&File, Extent)> {
        self.mapping.pieces(range).filter_map(|piece| {
            let Source::Build { build, at } = piece.source else {
                return None;
            };
            let blocks = self.blocks.get(&build)?;
            let stand = Extent {
                start: blocks.start + at,
                len: piece.len,
            };
            Some((&blocks.pack, stand))
        })
    }

    fn read_blocks(&self, build: BuildId, at: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let blocks = self.blocks.get(&build).ok_or(Error::BuildMissing(build))?;
        let read = blocks.pack.read_exact_at(bytes, blocks.start + at);
        read.map_err(Error::read)
    }
}

impl Blocks {
    /// Reads a pack's mapping, and finds its blocks and whether they are all there.
    fn open(mut pack: File) -> Result<(Mapping, Self), Error> {
        pack.rewind().map_err(Error::Read)?;
        let (mapping, _) = header::read(&mut BufReader::new(&pack))?;
        let (start, len) = (header::data_start(&mapping), mapping.stored());
        let end = pack.metadata().map_err(Error::Read)?.len();
        if end < start + len + SUM as u64 {
            return Err(Error::Truncated);
        }
        Ok((mapping, Self { pack, start, len }))
    }
}
