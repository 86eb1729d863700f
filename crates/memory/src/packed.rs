//! The packed format: what a generation of an image has of its own, in a file that leaves the machine.
//!
//! A pack is a header, a mapping that says for each piece of the image where its bytes are, and the blocks of this
//! generation, one behind the other. It may stand for itself, or name blocks of packs before it. Any sparse file can be
//! packed: a guest's memory, a disk layer, a base image. `docs/formats.md` has it byte by byte.
//!
//! [`pack`], [`unpack`] and [`verify`] stream: neither the input nor the output needs to seek. [`Reader`] reads at any
//! offset, through any number of generations, without unpacking.
//!
//! Everything that is read is taken for hostile: what is allocated follows what was read and never what was announced.

mod build_id;
mod error;
mod header;
mod mapping;
mod read;
mod reader;
mod write;

pub use build_id::{BuildId, InvalidBuildId};
pub use error::{Error, Flaw};
pub use mapping::{Entry, Identity, Mapping, Source};
pub use read::{unpack, verify};
pub use reader::Reader;
pub use write::pack;

/// The largest image that can be packed, in bytes: 1 TiB.
pub const MAX_SIZE: u64 = 1 << 40;

/// How much is read or written at once, in bytes.
const COPY: usize = 256 << 10;

/// The size of a BLAKE3 sum, in bytes.
const SUM: usize = blake3::OUT_LEN;
