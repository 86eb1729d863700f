//! Memory images: sparse files with each page of a guest at its offset, and their packed form.
//!
//! A guest maps its image privately, so that what it writes never reaches the file. The next image is a reflink of that
//! file ([`branch`]) with the pages that the guest has written since copied over it ([`overlay`]): it costs what was
//! written, and reading it needs no chain. What leaves the machine is [`packed`]. A VMM that maps no file is brought its pages by
//! a [`page_server`].

mod blocks;
mod error;
mod image;
pub mod packed;
pub mod page_server;
mod sparse;

pub use error::Error;
pub use image::{Overlaid, branch, overlay};

/// The size of a page and of a block of the packed format, in bytes.
pub const PAGE: u64 = 4096;
