//! Why a page server gives up.

use std::io;

/// Why a page server gave up. Its guest waits for ever then: it has to be ended.
#[derive(Debug, thiserror::Error)]
pub enum PageServerError {
    /// The image could not be read.
    #[error("could not read the memory image at {at:#x}")]
    Image {
        /// Where, as an offset in the image.
        at: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// What stands in the image is not what was written there.
    #[error("the memory image is damaged at {at:#x}")]
    Damaged {
        /// Where, as an offset in the image.
        at: u64,
    },
    /// Somebody waits for a page that is no guest's memory.
    #[error("a fault at {address:#x}, which is in no region")]
    Stray {
        /// The address.
        address: u64,
    },
    /// The kernel refused.
    #[error("could not {doing} the guest's memory")]
    Memory {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

pub(super) type Result<T> = std::result::Result<T, PageServerError>;

/// What turns the kernel's answer into an error that says what was tried.
pub(super) fn refused(doing: &'static str) -> impl Fn(io::Error) -> PageServerError {
    move |source| PageServerError::Memory { doing, source }
}

/// What turns an answer into an error that says where the image could not be read.
pub(super) fn unreadable(at: u64) -> impl Fn(io::Error) -> PageServerError {
    move |source| PageServerError::Image { at, source }
}
