//! Many files as one stream of bytes that can leave the machine, in which holes stay holes, names of one file stay names of
//! one file, and blocks that files share are written once. `docs/formats.md` has it byte by byte.
//!
//! ```text
//!   Writer   files ─► stream; blocks knows what was written already
//!   Reader   stream ─► files; their sum is compared before anybody may use them
//! ```
//!
//! Nothing here knows what the files are.

mod blocks;
mod error;
mod format;
mod name;
mod read;
mod write;

pub use error::Error;
pub use format::MAX_HEAD;
pub use read::{Reader, Unpacked};
pub use write::Writer;
