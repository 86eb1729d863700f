//! What can go wrong with memory images.

use std::io;
use std::path::{Path, PathBuf};

use wrenn_sys::extents::Piece;

/// Why an image could not be made or filled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A piece is not made of whole pages.
    #[error("the piece of {} bytes at {:#x} is not made of whole pages", .0.len, .0.to)]
    Unaligned(Piece),
    /// A piece ends behind the image, or at no offset at all.
    #[error("the piece of {} bytes at {:#x} lies outside of the image's {size} bytes", piece.len, piece.to)]
    Outside {
        /// The piece.
        piece: Piece,
        /// How long the image is, in bytes.
        size: u64,
    },
    /// A piece begins before the end of the one before it.
    #[error("the piece of {} bytes at {:#x} begins before the end of the last one", .0.len, .0.to)]
    Unordered(Piece),
    /// What was to be copied could not be read: the process has ended, or its memory is not what it was said to be.
    #[error("could not read {len} bytes at {at:#x} of the source")]
    Source {
        /// Where, as an offset in the source.
        at: u64,
        /// How many bytes.
        len: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The image could not be read or written.
    #[error("could not {doing} the image")]
    Image {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The new image could not be made.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// What turns the kernel's answer into an error that says what was tried on which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// What turns the kernel's answer into an error that says what was tried on the image.
    pub(crate) fn image(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Image { doing, source }
    }
}
