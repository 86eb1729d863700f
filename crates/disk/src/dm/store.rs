//! What stands in a snapshot's overlay: the kernel's persistent exception store, by `drivers/md/dm-snap-persistent.c`.
//!
//! ```text
//!   chunk 0          magic "SnAp", valid, version, sectors in a chunk; four little-endian words of 32 bits
//!   chunk 1          a table of 256 exceptions: the disk's chunk, and this file's that has it; two words of 64 bits each
//!   chunks 2…257     those 256 chunks
//!   chunk 258        the next table, and so on; the first exception without a chunk of this file ends all
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::Error;
use crate::layer::{clone, open};

/// How much is copied when a byte of it is first written.
pub const CHUNK: u64 = 4096;

const MAGIC: u32 = 0x7041_6e53;
const VERSION: u32 = 1;
const EXCEPTION: usize = 16;
/// Exceptions in a table, which is one chunk.
const IN_A_TABLE: u64 = CHUNK / EXCEPTION as u64;

/// A chunk of the disk that was written, and where in the overlay it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// Its number on the disk.
    pub of_disk: u64,
    /// Its number in the overlay.
    pub of_overlay: u64,
}

/// How long the overlay of a disk of so many bytes may become: each of its chunks, a table for every 256 of them, and the header.
#[must_use]
pub fn most(virtual_size: u64) -> u64 {
    let chunks = virtual_size.div_ceil(CHUNK);
    // The kernel allocates the table after the last one before that is full.
    (chunks + chunks.div_ceil(IN_A_TABLE) + 2) * CHUNK
}

/// All that was written to a disk, in the order in which it was written for the first time. Nobody writes it now.
///
/// # Errors
/// [`Error::NoStore`] for what is none of ours; [`Error::Invalidated`] for one that had no room.
pub fn exceptions(overlay: &File, path: &Path) -> Result<Vec<Exception>, Error> {
    let len = overlay
        .metadata()
        .map_err(Error::io("read the size of", path))?
        .len();
    let read = |chunk: u64| -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(CHUNK).unwrap_or(usize::MAX)];
        let read = overlay.read_exact_at(&mut bytes, chunk * CHUNK);
        read.map_err(Error::io("read", path))?;
        Ok(bytes)
    };
    let header = read(0)?;
    // What nobody has written to yet has no header either.
    if header.iter().all(|byte| *byte == 0) {
        return Ok(Vec::new());
    }
    check_header(&header, path)?;
    let mut all = Vec::new();
    let mut table = 1;
    while (table + 1) * CHUNK <= len {
        for entry in read(table)?.chunks_exact(EXCEPTION) {
            let exception = Exception {
                of_disk: word(entry, 0),
                of_overlay: word(entry, 8),
            };
            if exception.of_overlay == 0 {
                return Ok(all);
            }
            if exception.of_overlay >= len / CHUNK {
                return Err(damaged(path, "it names a chunk behind its end"));
            }
            all.push(exception);
        }
        table += IN_A_TABLE + 1;
    }
    Ok(all)
}

fn check_header(header: &[u8], path: &Path) -> Result<(), Error> {
    let field = |at: usize| {
        let four = header.get(at..at + 4).and_then(|four| four.try_into().ok());
        four.map_or(0, u32::from_le_bytes)
    };
    if field(0) != MAGIC {
        return Err(damaged(path, "it does not begin like one"));
    }
    if field(4) == 0 {
        return Err(Error::Invalidated {
            overlay: path.to_owned(),
        });
    }
    if field(8) != VERSION || u64::from(field(12)) * wrenn_sys::dm::SECTOR != CHUNK {
        return Err(damaged(
            path,
            "it is of another version, or of other chunks",
        ));
    }
    Ok(())
}

fn word(entry: &[u8], at: usize) -> u64 {
    let eight = entry
        .get(at..at + 8)
        .and_then(|eight| eight.try_into().ok());
    eight.map_or(0, u64::from_le_bytes)
}

fn damaged(path: &Path, what: &'static str) -> Error {
    Error::NoStore {
        path: path.to_owned(),
        what,
    }
}

/// Makes the new image `to`, the caller's alone: what a disk with this overlay over this base reads as. It shares what was not
/// written with the base, and chunks of zeros take nothing. It is not synced.
///
/// # Errors
/// A file that is there already is refused and left alone; after any other error there is none.
pub fn flatten(overlay: &Path, base: &Path, to: &Path) -> Result<File, Error> {
    let from = open(overlay)?;
    let written = exceptions(&from, overlay)?;
    let image = clone(base, to, None)?;
    let laid = lay_over(&from, overlay, &written, &image, to);
    match laid {
        Ok(()) => Ok(image),
        Err(error) => {
            // The error that led here is the one to tell.
            drop(std::fs::remove_file(to));
            Err(error)
        }
    }
}

fn lay_over(
    from: &File,
    overlay: &Path,
    written: &[Exception],
    image: &File,
    to: &Path,
) -> Result<(), Error> {
    let chunks = image
        .metadata()
        .map_err(Error::io("read the size of", to))?
        .len()
        / CHUNK;
    let mut chunk = vec![0; usize::try_from(CHUNK).unwrap_or(usize::MAX)];
    for exception in written {
        if exception.of_disk >= chunks {
            return Err(damaged(overlay, "it has a chunk behind the disk's end"));
        }
        let read = from.read_exact_at(&mut chunk, exception.of_overlay * CHUNK);
        read.map_err(Error::io("read", overlay))?;
        let at = exception.of_disk * CHUNK;
        let put = if chunk.iter().all(|byte| *byte == 0) {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(image, punch, at, CHUNK).map_err(Into::into)
        } else {
            image.write_all_at(&chunk, at)
        };
        put.map_err(Error::io("write", to))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A store as the kernel writes it, of these chunks of a disk.
    fn store(dir: &Path, chunks: &[(u64, u8)]) -> std::path::PathBuf {
        let path = dir.join("overlay");
        let file = File::create(&path).unwrap();
        file.set_len(most(CHUNK * 4096)).unwrap();
        let header: Vec<u8> = [MAGIC, 1, VERSION, 8]
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect();
        file.write_all_at(&header, 0).unwrap();
        for (number, (of_disk, byte)) in chunks.iter().enumerate() {
            let number = u64::try_from(number).unwrap();
            let (table, entry) = (number / IN_A_TABLE, number % IN_A_TABLE);
            let table = 1 + table * (IN_A_TABLE + 1);
            let of_overlay = table + 1 + entry;
            let words = [*of_disk, of_overlay].map(u64::to_le_bytes).concat();
            file.write_all_at(&words, table * CHUNK + entry * EXCEPTION as u64)
                .unwrap();
            file.write_all_at(&[*byte; 4096], of_overlay * CHUNK)
                .unwrap();
        }
        path
    }

    proptest! {
        /// However many tables there are.
        #[test]
        fn all_that_was_written_is_found(count in 0..1000_u64, byte in any::<u8>()) {
            let dir = tempfile::tempdir().unwrap();
            let chunks: Vec<_> = (0..count).map(|number| (number * 3 % 4096, byte)).collect();
            let path = store(dir.path(), &chunks);
            let found = exceptions(&File::open(&path).unwrap(), &path).unwrap();
            let found: Vec<_> = found.iter().map(|exception| exception.of_disk).collect();
            let wanted: Vec<_> = chunks.iter().map(|(of_disk, _)| *of_disk).collect();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn an_overlay_has_room_for_the_whole_disk() {
        // A header, a table for 256 chunks, another for one, and the one that would come next.
        assert_eq!(most(257 * CHUNK), (257 + 2 + 2) * CHUNK);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = store(dir.path(), &[(7, 1)]);
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let refused = |at: u64, bytes: &[u8]| {
            let mut before = vec![0; bytes.len()];
            file.read_exact_at(&mut before, at).unwrap();
            file.write_all_at(bytes, at).unwrap();
            let refused = exceptions(&file, &path).unwrap_err();
            file.write_all_at(&before, at).unwrap();
            refused
        };
        assert!(matches!(refused(0, b"x"), Error::NoStore { .. }));
        assert!(matches!(refused(8, &[2]), Error::NoStore { .. }));
        assert!(matches!(refused(12, &[16]), Error::NoStore { .. }));
        assert!(matches!(refused(4, &[0]), Error::Invalidated { .. }));
        assert!(matches!(
            refused(CHUNK + 8, &[0xff; 8]),
            Error::NoStore { .. }
        ));
        assert_eq!(exceptions(&file, &path).unwrap().len(), 1);
        let untouched = tempfile::tempfile().unwrap();
        untouched.set_len(CHUNK * 8).unwrap();
        assert_eq!(exceptions(&untouched, &path).unwrap(), []);
    }
}
