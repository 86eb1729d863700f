//! Pieces of files and address ranges, in bytes.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

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

/// The first data of `file` at or after `at` and below `end`; none when only a hole follows.
///
/// What the file system calls data may hold zeros; what it calls a hole is zero.
///
/// # Errors
/// What the kernel said; `InvalidData` for a file that changes meanwhile.
pub fn next_data(file: &File, at: u64, end: u64) -> io::Result<Option<Extent>> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) if start < end => start,
        Ok(_) | Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let hole = seek(file, SeekFrom::Hole(start))?;
    // A hole that is not behind the data's start would be a file that changed meanwhile.
    let len = hole.min(end).checked_sub(start).filter(|len| *len > 0);
    let len = len.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(Extent { start, len }))
}
