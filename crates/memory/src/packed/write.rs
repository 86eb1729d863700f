//! From an image to a pack.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use wrenn_sys::extents::Extent;

use super::{COPY, Error, Identity, MAX_SIZE, Mapping, Source, header};
use crate::PAGE;
use crate::blocks::runs;
use crate::sparse::next_data;

/// Writes a pack of `image`, which must not change meanwhile, and returns its mapping.
///
/// Without a parent the pack has all blocks of the image that are not zero, and stands for itself. With one it has those
/// of the `changed` pieces (in any order, widened to whole blocks), and refers to the parent's mapping for the others. The
/// same image, identity and parent give the same bytes.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::SizeDiffers`], [`Error::BuildReused`] and [`Error::Outside`] before anything is written;
/// [`Error::ReadImage`]; [`Error::Write`].
pub fn pack(
    image: &File,
    identity: Identity,
    parent: Option<(&Mapping, &[Extent])>,
    out: &mut dyn Write,
) -> Result<Mapping, Error> {
    let size = image.metadata().map_err(Error::ReadImage)?.len();
    if size > MAX_SIZE {
        return Err(Error::TooLarge(size));
    }
    let mut image = Image::new(image);
    let mut mapping = Mapping::new(identity, size);
    match parent {
        None => image.map(size, &mut mapping)?,
        Some((parent, changed)) => map_over(&mut image, parent, changed, &mut mapping)?,
    }
    let mapping_sum = header::write(&mapping, out)?;
    image.write(&mapping, mapping_sum, out)?;
    Ok(mapping)
}

/// Maps the whole image: the `changed` pieces as they are, the others as the parent has them.
fn map_over(
    image: &mut Image<'_>,
    parent: &Mapping,
    changed: &[Extent],
    mapping: &mut Mapping,
) -> Result<(), Error> {
    let size = mapping.size();
    if parent.size() != size {
        let parent = parent.size();
        return Err(Error::SizeDiffers { size, parent });
    }
    let build = mapping.identity().build;
    if parent.identity().build == build || parent.names(build) {
        return Err(Error::BuildReused(build));
    }
    for range in whole_blocks(changed, size)? {
        keep(parent, range.start, mapping);
        image.map(range.end(), mapping)?;
    }
    keep(parent, size, mapping);
    Ok(())
}

/// Pieces widened to whole blocks, in ascending order, merged where they touch or overlap.
fn whole_blocks(pieces: &[Extent], size: u64) -> Result<Vec<Extent>, Error> {
    let mut widened = Vec::with_capacity(pieces.len());
    for &range in pieces {
        let end = range
            .start
            .checked_add(range.len)
            .filter(|end| *end <= size);
        let end = end.ok_or(Error::Outside { range, size })?;
        if range.len > 0 {
            widened.push((range.start / PAGE * PAGE, block_end(end, size)));
        }
    }
    widened.sort_unstable();
    widened.dedup_by(|next, last| {
        let touches = next.0 <= last.1;
        if touches {
            last.1 = last.1.max(next.1);
        }
        touches
    });
    let extent = |(start, end)| Extent {
        start,
        len: end - start,
    };
    Ok(widened.into_iter().map(extent).collect())
}

/// The end of the block that `end` is the end of, or lies in.
fn block_end(end: u64, size: u64) -> u64 {
    end.next_multiple_of(PAGE).min(size)
}

/// Goes on up to `end` as the parent does.
fn keep(parent: &Mapping, end: u64, mapping: &mut Mapping) {
    let start = mapping.covered();
    let range = Extent {
        start,
        len: end - start,
    };
    for piece in parent.pieces(range) {
        mapping.append(piece.len, piece.source);
    }
}

/// The image that is packed.
struct Image<'a> {
    file: &'a File,
    buffer: Vec<u8>,
}

impl<'a> Image<'a> {
    fn new(file: &'a File) -> Self {
        Self {
            file,
            buffer: vec![0; COPY],
        }
    }

    /// Goes on up to `end` as the image is: blocks that are not zero are to be stored.
    fn map(&mut self, end: u64, mapping: &mut Mapping) -> Result<(), Error> {
        let mut at = mapping.covered();
        while let Some(data) = next_data(self.file, at, end).map_err(Error::ReadImage)? {
            let start = (data.start / PAGE * PAGE).max(at);
            let data_end = block_end(data.end(), end);
            mapping.append(start - at, Source::Zero);
            self.each_part(start, data_end, |bytes| {
                for run in runs(bytes) {
                    let source = if run.zero {
                        Source::Zero
                    } else {
                        mapping.next_stored()
                    };
                    mapping.append(run.bytes.len() as u64, source);
                }
                Ok(())
            })?;
            at = data_end;
        }
        mapping.append(end - at, Source::Zero);
        Ok(())
    }

    /// Writes the blocks that the pack stores, and a sum that binds them to header and mapping.
    fn write(
        &mut self,
        mapping: &Mapping,
        mapping_sum: blake3::Hash,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(mapping_sum.as_bytes());
        for range in mapping.own() {
            self.each_part(range.start, range.end(), |bytes| {
                hasher.update(bytes);
                out.write_all(bytes).map_err(Error::Write)
            })?;
        }
        out.write_all(hasher.finalize().as_bytes())
            .map_err(Error::Write)
    }

    /// Reads from one offset to another, a buffer's length at a time.
    fn each_part(
        &mut self,
        mut at: u64,
        end: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while at < end {
            let len = usize::try_from(end - at).map_or(COPY, |len| len.min(COPY));
            let bytes = &mut self.buffer[..len];
            self.file
                .read_exact_at(bytes, at)
                .map_err(Error::ReadImage)?;
            take(bytes)?;
            at += len as u64;
        }
        Ok(())
    }
}
