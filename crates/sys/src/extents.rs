//! Pieces of files and address ranges, in bytes.

/// A piece of something that has offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub len: u64,
}

impl Extent {
    /// Where it ends: the first offset behind it.
    #[must_use]
    pub fn end(self) -> u64 {
        self.start + self.len
    }
}

/// A piece that stands at one offset in its source and belongs at another in its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Where it stands.
    pub from: u64,
    /// Where it belongs.
    pub to: u64,
    /// How long it is.
    pub len: u64,
}
