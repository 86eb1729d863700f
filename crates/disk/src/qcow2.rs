//! The qcow2 format, as far as an empty overlay needs it: version 3, by QEMU's `docs/interop/qcow2`.
//!
//! An overlay that holds nothing yet is four clusters, of which only the first bytes of three are ever written:
//!
//! ```text
//! cluster 0   header, its extensions, the path of the base image
//! cluster 1   refcount table: one entry
//! cluster 2   refcount block: one reference for each of these clusters
//! cluster 3   L1 table: all zero, so that every read falls through to the base image
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const CLUSTERS: usize = 4;
const REFCOUNT_TABLE: u64 = CLUSTER;
const REFCOUNT_BLOCK: u64 = 2 * CLUSTER;
const L1_TABLE: u64 = 3 * CLUSTER;
/// What one entry of the L1 table maps: a cluster full of 8-byte entries, a cluster each.
const L1_ENTRY_MAPS: u64 = CLUSTER / 8 * CLUSTER;

/// Where the base image's path begins: behind the header of 112 bytes and its two extensions.
const BACKING_PATH: usize = 112 + 16 + 8;

/// The longest path of a base image that the format takes, in bytes.
pub const MAX_BACKING_PATH: usize = 1023;

/// The largest disk that an overlay can be: what an L1 table of one cluster maps, 4 TiB.
pub const MAX_VIRTUAL_SIZE: u64 = CLUSTER / 8 * L1_ENTRY_MAPS;

/// How long an empty overlay is, in bytes. Most of it is a hole.
pub const OVERLAY_LEN: u64 = CLUSTERS as u64 * CLUSTER;

/// How many bytes from the start of a file [`Header::parse`] needs to see.
pub const HEADER_REGION: usize = BACKING_PATH + MAX_BACKING_PATH;

/// What an overlay says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The size of the disk, in bytes.
    pub virtual_size: u64,
    /// The base image, a raw file.
    pub backing: PathBuf,
}

/// A piece of an empty overlay: what stands where in the file. What lies between the pieces is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its place in the file, in bytes.
    pub offset: u64,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Why a header cannot be written or was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The disk's size is not one that an overlay can have.
    #[error(
        "a disk of {0} bytes: it must be a multiple of 512, above 0 and at most {MAX_VIRTUAL_SIZE}"
    )]
    VirtualSize(u64),
    /// The base image's path is not one that an overlay can name.
    #[error(
        "the base image's path must be absolute and at most {MAX_BACKING_PATH} bytes long: {0:?}"
    )]
    Backing(PathBuf),
    /// A field of the header has a value that our overlays never have.
    #[error("{field} is {found:#x} where {expected:#x} should be")]
    Field {
        /// The field's name in the format's description.
        field: &'static str,
        /// What it is.
        found: u64,
        /// What it would be in an overlay of ours.
        expected: u64,
    },
    /// The file is shorter than its header says.
    #[error("the header is cut off")]
    Truncated,
}

impl Header {
    /// All that has to be written for an empty overlay; its file is [`OVERLAY_LEN`] bytes long.
    ///
    /// # Errors
    /// The size or the path is out of the format's bounds.
    pub fn build(&self) -> Result<[Piece; 3], Invalid> {
        self.check()?;
        let mut header = Vec::with_capacity(HEADER_REGION);
        for field in self.fields() {
            header.extend_from_slice(&field.value.to_be_bytes()[8 - field.width..]);
        }
        header.extend_from_slice(self.backing.as_os_str().as_bytes());
        let piece = |offset, bytes| Piece { offset, bytes };
        Ok([
            piece(0, header),
            piece(REFCOUNT_TABLE, REFCOUNT_BLOCK.to_be_bytes().to_vec()),
            piece(REFCOUNT_BLOCK, [0, 1].repeat(CLUSTERS)),
        ])
    }

    /// Reads the header of an overlay that [`Header::build`] made, whatever was written to the disk since: `start` is
    /// the file's beginning, [`HEADER_REGION`] bytes or all of a shorter file.
    ///
    /// # Errors
    /// Anything that an overlay of ours does not say, so that no other image passes for one.
    pub fn parse(start: &[u8]) -> Result<Self, Invalid> {
        let (fixed, rest) = start
            .split_at_checked(BACKING_PATH)
            .ok_or(Invalid::Truncated)?;
        let found = numbers(fixed);
        let path = usize::try_from(found[BACKING_LENGTH])
            .ok()
            .and_then(|len| rest.get(..len))
            .ok_or(Invalid::Truncated)?;
        let header = Self {
            virtual_size: found[VIRTUAL_SIZE],
            backing: PathBuf::from(OsStr::from_bytes(path)),
        };
        header.check()?;
        for (found, field) in found.into_iter().zip(header.fields()) {
            if found != field.value {
                return Err(Invalid::Field {
                    field: field.name,
                    found,
                    expected: field.value,
                });
            }
        }
        Ok(header)
    }

    fn check(&self) -> Result<(), Invalid> {
        let size = self.virtual_size;
        if size == 0 || !size.is_multiple_of(512) || size > MAX_VIRTUAL_SIZE {
            return Err(Invalid::VirtualSize(size));
        }
        // An absolute path cannot be taken for the name of a protocol.
        let path = self.backing.as_os_str().as_bytes();
        if !path.starts_with(b"/") || path.len() > MAX_BACKING_PATH || path.contains(&0) {
            return Err(Invalid::Backing(self.backing.clone()));
        }
        Ok(())
    }

    /// All that stands before the base image's path, in order.
    fn fields(&self) -> [Field; WIDTHS.len()] {
        let values = [
            ("magic", 0x5146_49fb),
            ("version", 3),
            ("backing_file_offset", BACKING_PATH as u64),
            ("backing_file_size", self.backing.as_os_str().len() as u64),
            ("cluster_bits", u64::from(CLUSTER_BITS)),
            ("size", self.virtual_size),
            ("crypt_method", 0),
            ("l1_size", self.virtual_size.div_ceil(L1_ENTRY_MAPS)),
            ("l1_table_offset", L1_TABLE),
            ("refcount_table_offset", REFCOUNT_TABLE),
            ("refcount_table_clusters", 1),
            ("nb_snapshots", 0),
            ("snapshots_offset", 0),
            ("incompatible_features", 0),
            ("compatible_features", 0),
            ("autoclear_features", 0),
            // References are counted in 2^4 bits.
            ("refcount_order", 4),
            ("header_length", 112),
            ("compression_type and padding", 0),
            // The one extension: the name of the base image's format, padded to eight bytes.
            ("extension type: backing format", 0xe279_2aca),
            ("extension length", 3),
            ("backing format", u64::from_be_bytes(*b"raw\0\0\0\0\0")),
            ("end of extensions", 0),
        ];
        std::array::from_fn(|at| Field {
            name: values[at].0,
            value: values[at].1,
            width: WIDTHS[at],
        })
    }
}

/// A number in the header, big-endian.
struct Field {
    name: &'static str,
    value: u64,
    width: usize,
}

/// How wide each field is, in bytes.
const WIDTHS: [usize; 23] = [
    4, 4, 8, 4, 4, 8, 4, 4, 8, 8, 4, 4, 8, 8, 8, 8, 4, 4, 8, 4, 4, 8, 8,
];
/// Which of the fields is the length of the base image's path.
const BACKING_LENGTH: usize = 3;
/// Which of the fields is the disk's size.
const VIRTUAL_SIZE: usize = 5;

/// Cuts the fixed part of a header into its numbers.
fn numbers(mut fixed: &[u8]) -> [u64; WIDTHS.len()] {
    WIDTHS.map(|width| {
        let (field, rest) = fixed.split_at(width.min(fixed.len()));
        fixed = rest;
        field
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start_of(header: &Header) -> Vec<u8> {
        header.build().unwrap()[0].bytes.clone()
    }

    fn sample() -> Header {
        Header {
            virtual_size: 8 << 30,
            backing: "/store/images/minimal.raw".into(),
        }
    }

    #[test]
    fn the_fixed_part_is_as_long_as_the_path_s_place_says() {
        assert_eq!(WIDTHS.iter().sum::<usize>(), BACKING_PATH);
    }

    #[test]
    fn sizes_and_paths_out_of_bounds_are_refused() {
        for virtual_size in [0, 511, 513, MAX_VIRTUAL_SIZE + 512, u64::MAX] {
            let header = Header {
                virtual_size,
                ..sample()
            };
            assert_eq!(header.build(), Err(Invalid::VirtualSize(virtual_size)));
        }
        let long = format!("/{}", "x".repeat(MAX_BACKING_PATH));
        for backing in ["", "base.raw", "nbd://host/disk", "/a\0b", &long] {
            let header = Header {
                backing: backing.into(),
                ..sample()
            };
            assert_eq!(header.build(), Err(Invalid::Backing(backing.into())));
        }
    }

    #[test]
    fn a_header_that_is_cut_off_is_refused() {
        let whole = start_of(&sample());
        for len in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..len]), Err(Invalid::Truncated));
        }
    }

    proptest! {
        #[test]
        fn what_was_built_is_read(
            sectors in 1..=MAX_VIRTUAL_SIZE / 512,
            name in "[^\0]{0,200}",
            behind in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let header = Header { virtual_size: sectors * 512, backing: format!("/{name}").into() };
            let mut start = start_of(&header);
            prop_assert!(start.len() <= HEADER_REGION);
            start.extend(behind);
            prop_assert_eq!(Header::parse(&start), Ok(header));
        }

        #[test]
        fn no_other_header_passes_for_it(at in 0..BACKING_PATH, flip in 1..=255_u8) {
            let header = sample();
            let mut start = start_of(&header);
            start[at] ^= flip;
            // What is not refused says something else: another size, a shorter path.
            prop_assert_ne!(Header::parse(&start), Ok(header));
        }

        #[test]
        fn any_bytes_are_read_without_harm(start in proptest::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert!(Header::parse(&start).is_err());
        }
    }
}
