//! The outer shape of a sparse file: its length and where it has data. It shows at once, without reading, whether a file
//! was truncated, grew or lost blocks.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::sums::Root;

/// The length of a file and where it has data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Its length, in bytes.
    pub len: u64,
    /// How many pieces of data it has.
    pub extents: u64,
    /// XXH3 over their offsets and lengths.
    pub extents_sum: Root,
}

impl Layout {
    /// The layout of a file that nobody writes.
    ///
    /// # Errors
    /// The file system does not tell where its data is.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let extents = wrenn_disk::changed(file, None)?;
        let mut sum = Xxh3Default::new();
        for extent in &extents {
            sum.update(&extent.start.to_le_bytes());
            sum.update(&extent.len.to_le_bytes());
        }
        Ok(Self {
            len: file.metadata()?.len(),
            extents: extents.len() as u64,
            extents_sum: Root::from(sum.digest()),
        })
    }
}
