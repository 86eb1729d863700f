//! Content hashes as names: SHA-256 in hexadecimal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The granularity at which a sparse image is hashed: ext4's block size.
const BLOCK: usize = 4096;

/// How much of an image is read at once.
const CHUNK: u64 = 1 << 20;

/// The hash of some bytes.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The hash of a value's JSON: the key of what is made from it.
pub(crate) fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(bytes(&serde_json::to_vec(value)?))
}

/// The hash of an image's contents: its length, then offset and bytes of each block that is not zero. So it depends on
/// what a reader sees, not on where the file has holes, and costs what the data costs, not what the length would.
pub(crate) fn sparse(file: &File) -> io::Result<String> {
    let length = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(length.to_le_bytes());
    let mut buffer = Vec::new();
    let mut at = 0;
    while let Some(start) = next_data(file, at)? {
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(length);
        // Whole blocks, so that the same block is hashed alike wherever the extents begin.
        at = start - start % BLOCK as u64;
        while at < end {
            let wanted = (end - at)
                .next_multiple_of(BLOCK as u64)
                .min(CHUNK)
                .min(length - at);
            buffer.resize(usize::try_from(wanted).map_err(io::Error::other)?, 0);
            file.read_exact_at(&mut buffer, at)?;
            for block in buffer.chunks(BLOCK) {
                if block.iter().any(|byte| *byte != 0) {
                    hash.update(at.to_le_bytes());
                    hash.update(block);
                }
                at += block.len() as u64;
            }
        }
    }
    Ok(hex(&hash.finalize()))
}

fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_nothing_is_the_known_one() {
        assert_eq!(
            bytes(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn holes_and_zeros_hash_alike_and_a_moved_byte_does_not() {
        let sparse_file = tempfile::tempfile().unwrap();
        sparse_file.set_len(3 << 20).unwrap();
        sparse_file.write_all_at(b"data", (2 << 20) + 5000).unwrap();
        let full = tempfile::tempfile().unwrap();
        full.write_all_at(&vec![0; 3 << 20], 0).unwrap();
        full.write_all_at(b"data", (2 << 20) + 5000).unwrap();
        let hash = sparse(&sparse_file).unwrap();
        assert_eq!(hash, sparse(&full).unwrap());
        full.write_all_at(b"\0data", (2 << 20) + 5000).unwrap();
        assert_ne!(hash, sparse(&full).unwrap());
    }

    #[test]
    fn the_length_counts() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let hash = sparse(&file).unwrap();
        file.set_len(1 << 21).unwrap();
        assert_ne!(hash, sparse(&file).unwrap());
    }
}
