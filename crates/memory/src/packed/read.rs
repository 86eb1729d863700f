//! From a pack to an image.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use wrenn_sys::extents::Extent;

use super::{COPY, Error, Mapping, header};

/// Writes the image of a pack that stands for itself to `target`, which is new and empty: what is zero stays a hole.
///
/// Of `input` nothing is read but the pack. `target` is not synced.
///
/// # Errors
/// [`Error::TargetNotEmpty`] and [`Error::NotSelfContained`] before anything is written; whatever shows that the pack is
/// not what was written; [`Error::WriteImage`]. After an error `target` is to be thrown away.
pub fn unpack(input: &mut dyn Read, target: &File) -> Result<Mapping, Error> {
    if target.metadata().map_err(Error::WriteImage)?.len() != 0 {
        return Err(Error::TargetNotEmpty);
    }
    let (mapping, mapping_sum) = header::read(input)?;
    if let Some(build) = mapping.foreign() {
        return Err(Error::NotSelfContained(build));
    }
    target.set_len(mapping.size()).map_err(Error::WriteImage)?;
    read_data(input, &mapping, mapping_sum, |at, bytes| {
        target.write_all_at(bytes, at).map_err(Error::WriteImage)
    })?;
    Ok(mapping)
}

/// Reads a whole pack, whether it stands for itself or not, and returns its mapping when all of it is what was written.
///
/// # Errors
/// Whatever shows that it is not.
pub fn verify(input: &mut dyn Read) -> Result<Mapping, Error> {
    let (mapping, mapping_sum) = header::read(input)?;
    read_data(input, &mapping, mapping_sum, |_, _| Ok(()))?;
    Ok(mapping)
}

/// Reads the blocks, hands each part to `take` with its offset in the image, and compares the sum.
fn read_data(
    input: &mut dyn Read,
    mapping: &Mapping,
    mapping_sum: blake3::Hash,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(mapping_sum.as_bytes());
    let mut buffer = vec![0; COPY];
    for Extent { start, len } in mapping.own() {
        let mut done = 0;
        while done < len {
            let part = usize::try_from(len - done).map_or(COPY, |left| left.min(COPY));
            let bytes = &mut buffer[..part];
            input.read_exact(bytes).map_err(Error::read)?;
            hasher.update(bytes);
            take(start + done, bytes)?;
            done += bytes.len() as u64;
        }
    }
    if header::read_sum(input)? != hasher.finalize() {
        return Err(Error::DataSum);
    }
    Ok(())
}
