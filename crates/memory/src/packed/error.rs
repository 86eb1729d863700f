//! What can go wrong with packs.

use std::io;

use wrenn_sys::extents::Extent;

use super::{BuildId, MAX_SIZE};

/// Why a pack could not be written or was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input ends before the pack does.
    #[error("the pack is truncated")]
    Truncated,
    /// The input does not begin as a pack does.
    #[error("this is no pack")]
    Magic,
    /// The pack is of another version of the format.
    #[error("the pack's format has version {0}, which is not known here")]
    Version(u32),
    /// The pack has blocks of another size.
    #[error("the pack's blocks have {0} bytes, which is not known here")]
    BlockSize(u32),
    /// The image is larger than any that can be packed.
    #[error("the image has {0} bytes, more than the {MAX_SIZE} that can be packed")]
    TooLarge(u64),
    /// The mapping has more entries than the image has blocks.
    #[error("the mapping has {entries} entries for an image of {size} bytes")]
    TooManyEntries {
        /// How many entries there are.
        entries: u64,
        /// How long the image is, in bytes.
        size: u64,
    },
    /// The pack's own build id or its base's is nil.
    #[error("the pack has no build id")]
    NoIdentity,
    /// An entry of the mapping is wrong.
    #[error("entry {index} of the mapping is wrong")]
    Entry {
        /// Which entry, from 0.
        index: usize,
        /// What is wrong with it.
        source: Flaw,
    },
    /// Header and mapping are not what was written.
    #[error("the sum of the pack's header and mapping is wrong")]
    MappingSum,
    /// The blocks are not what was written.
    #[error("the sum of the pack's blocks is wrong")]
    DataSum,
    /// The pack needs the blocks of another one.
    #[error("the pack does not stand for itself: it needs blocks of {0}")]
    NotSelfContained(BuildId),
    /// The file to unpack to has contents.
    #[error("the file to unpack to is not empty")]
    TargetNotEmpty,
    /// The image is not as long as the one it is packed over.
    #[error("the image has {size} bytes, and its parent {parent}")]
    SizeDiffers {
        /// How long the image is, in bytes.
        size: u64,
        /// How long its parent is, in bytes.
        parent: u64,
    },
    /// The new pack has the build id of one that it is packed over.
    #[error("{0} is the build id of an earlier generation")]
    BuildReused(BuildId),
    /// What is said to have changed, or is asked for, lies behind the image's end.
    #[error("{} bytes at {:#x} lie outside of the image's {size} bytes", range.len, range.start)]
    Outside {
        /// The piece.
        range: Extent,
        /// How long the image is, in bytes.
        size: u64,
    },
    /// A pack that the image needs blocks of is not among those that were opened.
    #[error("the blocks of {0} are missing")]
    BuildMissing(BuildId),
    /// Two of the packs that were opened have one build id.
    #[error("there are two packs of {0}")]
    BuildTwice(BuildId),
    /// A pack has fewer blocks than another one needs of it.
    #[error("the pack of {0} has not all the blocks that are needed of it")]
    BuildTooShort(BuildId),
    /// The pack could not be read.
    #[error("could not read the pack")]
    Read(#[source] io::Error),
    /// The pack could not be written.
    #[error("could not write the pack")]
    Write(#[source] io::Error),
    /// The image could not be read.
    #[error("could not read the image")]
    ReadImage(#[source] io::Error),
    /// The image could not be written.
    #[error("could not write the image")]
    WriteImage(#[source] io::Error),
}

/// What is wrong with an entry of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It does not begin where the one before it ends, or the last one does not end with the image.
    #[error("the entries do not cover the image without gap or overlap")]
    Gap,
    /// It is empty, or is not made of whole blocks though it is not the last one.
    #[error("it is not made of whole blocks")]
    Blocks,
    /// It ends behind the image.
    #[error("it ends behind the image")]
    Beyond,
    /// It goes on where the one before it ends, so that both should be one.
    #[error("it is not merged with its neighbour")]
    Unmerged,
    /// Its bytes do not stand where they have to: blocks of the pack itself follow each other, and zeros are nowhere.
    #[error("its blocks are not where they have to be")]
    Misplaced,
}

impl Error {
    /// What an error means that reading the pack gave.
    pub(super) fn read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Read(error),
        }
    }
}
