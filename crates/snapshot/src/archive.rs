//! A generation as one stream of bytes that can leave the machine. `docs/formats.md` has it byte by byte.

mod export;
mod import;
mod stream;

use std::io;

use wrenn_memory::packed;

use crate::{files, manifest};

/// What an archive begins with.
const MAGIC: [u8; 8] = *b"WRENNGEN";

/// The version that is written and read.
const VERSION: u32 = 1;

/// The largest secret that goes with a generation, in bytes.
pub const MAX_SECRET: usize = 64 << 10;

/// The images of an archive, in their order.
const IMAGES: [&str; 3] = [files::MEMORY, files::LAYER, files::BASE];

/// Why an archive could not be written or was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// It is no archive of a generation.
    #[error("it is no archive of a generation")]
    Magic,
    /// It has another version.
    #[error("it has version {0}, and {VERSION} is known")]
    Version(u32),
    /// It ends too early.
    #[error("it is truncated")]
    Truncated,
    /// It goes on behind its end.
    #[error("something follows behind its end")]
    Trailing,
    /// A part of it is longer than any is.
    #[error("its {part} has {len} bytes, more than any has")]
    TooLong {
        /// Which.
        part: &'static str,
        /// Its length, in bytes.
        len: u64,
    },
    /// Its manifest is none, or says what cannot be.
    #[error("its manifest is not usable")]
    Manifest(#[from] manifest::Invalid),
    /// One of its images cannot be packed or unpacked.
    #[error("its {file} is not usable")]
    Pack {
        /// Which.
        file: &'static str,
        /// Why.
        source: packed::Error,
    },
    /// A part of it is not the one that its manifest names.
    #[error("its {file} is not the one that its manifest names")]
    Mixed {
        /// Which.
        file: &'static str,
    },
    /// It is not what was written.
    #[error("its sum is not that of its contents")]
    Sum,
    /// It could not be read.
    #[error("it could not be read")]
    Read(#[source] io::Error),
    /// It could not be written.
    #[error("it could not be written")]
    Write(#[source] io::Error),
}

impl Invalid {
    fn read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Read(error),
        }
    }

    fn pack(file: &'static str) -> impl FnOnce(packed::Error) -> Self {
        move |source| match source {
            packed::Error::Truncated => Self::Truncated,
            source => Self::Pack { file, source },
        }
    }
}
