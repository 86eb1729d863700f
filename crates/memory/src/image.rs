//! The next image of a guest's memory: a reflink of the last one, and over it what the guest has written since.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use wrenn_sys::extents::{Extent, Piece};
use wrenn_sys::{durable, reflink};

use crate::blocks::runs;
use crate::sparse::DataAhead;
use crate::{Error, PAGE};

/// How much is copied at once, in bytes: few calls, and still in the CPU's cache when it is written.
const COPY: usize = 256 << 10;

/// What an [`overlay`] changed in the image, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overlaid {
    /// What was written.
    pub written: u64,
    /// The runs of zeros that became holes because there was data in them.
    pub punched: u64,
}

/// Makes the new file `path` a reflink of `parent`, and returns it open for reading and writing.
///
/// The file belongs to the caller and is read-only (0444) from the start; only the returned descriptor writes to it.
/// It is not synced.
///
/// # Errors
/// [`Error::Io`]: a `path` that exists already is refused and left alone, and a file system that cannot share blocks
/// between the two is an error. After any other error there is no `path`.
pub fn branch(parent: &Path, path: &Path) -> Result<File, Error> {
    let source = File::open(parent).map_err(Error::io("open", parent))?;
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(path)
        .map_err(Error::io("make", path))?;
    if let Err(error) = reflink::clone(&source, &image) {
        // The error that led here is the one to tell.
        drop(durable::remove(path));
        return Err(Error::io("clone the parent's image to", path)(error));
    }
    Ok(image)
}

/// Takes pieces of `source` over to their offsets in `image`: copies them out of `/proc/PID/mem`, and shares the blocks of a file of
/// changes that stands on the same file system.
///
/// The pieces are whole pages of the image, in ascending order of where they belong. A page of zeros becomes a hole where
/// the image has data. `seen` gets all that was taken over, zero or not, as runs of whole pages with their offset in the
/// image, in ascending order, while they are in the CPU's cache.
///
/// # Errors
/// [`Error::Unaligned`], [`Error::Outside`] and [`Error::Unordered`] before anything is copied; [`Error::Source`] and
/// [`Error::Image`] (no space, as a rule) when a part of the pieces may have been.
pub fn overlay(
    image: &File,
    source: &File,
    pieces: &[Piece],
    seen: &mut dyn FnMut(u64, &[u8]),
) -> Result<Overlaid, Error> {
    let size = image.metadata().map_err(Error::image("measure"))?.len();
    check(pieces, size)?;
    let mut target = Target {
        image,
        shared: is_beside(source, image).map_err(Error::image("measure"))?,
        data: DataAhead::new(image, size),
        overlaid: Overlaid::default(),
    };
    let mut buffer = vec![0; COPY];
    for piece in pieces {
        let mut done = 0;
        while done < piece.len {
            let rest = usize::try_from(piece.len - done).unwrap_or(COPY);
            let bytes = &mut buffer[..rest.min(COPY)];
            read(source, bytes, piece.from + done)?;
            seen(piece.to + done, bytes);
            target.take_over(bytes, source, piece.from + done, piece.to + done)?;
            done += bytes.len() as u64;
        }
    }
    Ok(target.overlaid)
}

/// Whether two files can share blocks.
fn is_beside(source: &File, image: &File) -> io::Result<bool> {
    let (source, image) = (source.metadata()?, image.metadata()?);
    Ok(source.is_file() && source.dev() == image.dev())
}

/// Whether each piece is whole pages inside an image of `size` bytes, behind the piece before it.
fn check(pieces: &[Piece], size: u64) -> Result<(), Error> {
    let mut last = 0;
    for &piece in pieces {
        if !piece.to.is_multiple_of(PAGE) || !piece.len.is_multiple_of(PAGE) {
            return Err(Error::Unaligned(piece));
        }
        let end = piece.to.checked_add(piece.len).filter(|end| *end <= size);
        let (Some(end), Some(_)) = (end, piece.from.checked_add(piece.len)) else {
            return Err(Error::Outside { piece, size });
        };
        if piece.to < last {
            return Err(Error::Unordered(piece));
        }
        last = end;
    }
    Ok(())
}

fn read(source: &File, bytes: &mut [u8], at: u64) -> Result<(), Error> {
    let len = bytes.len() as u64;
    source
        .read_exact_at(bytes, at)
        .map_err(|source| Error::Source { at, len, source })
}

/// The image that is filled, in ascending order.
struct Target<'a> {
    image: &'a File,
    /// Whether it takes blocks over instead of copying them.
    shared: bool,
    data: DataAhead<'a>,
    overlaid: Overlaid,
}

impl Target<'_> {
    /// Takes over what stands in `source` at `from`, and what was read of it there.
    fn take_over(
        &mut self,
        bytes: &[u8],
        source: &File,
        mut from: u64,
        mut at: u64,
    ) -> Result<(), Error> {
        for run in runs(bytes) {
            let len = run.bytes.len() as u64;
            let range = Extent { start: at, len };
            if run.zero {
                self.punch(range)?;
            } else {
                match self.shared {
                    true => reflink::clone_range(source, from, self.image, range),
                    false => self.image.write_all_at(run.bytes, at),
                }
                .map_err(Error::image("write"))?;
                self.overlaid.written += len;
            }
            at += len;
            from += len;
        }
        Ok(())
    }

    fn punch(&mut self, range: Extent) -> Result<(), Error> {
        let has_data = self.data.is_in(range).map_err(Error::image("read"))?;
        if has_data {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(self.image, flags, range.start, range.len)
                .map_err(|error| Error::image("punch a hole into")(error.into()))?;
            self.overlaid.punched += range.len;
        }
        Ok(())
    }
}
