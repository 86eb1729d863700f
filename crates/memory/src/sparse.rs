//! Where a sparse file has data.

use std::fs::File;
use std::io;

use wrenn_sys::extents::Extent;
pub(crate) use wrenn_sys::extents::next_data;

/// The data of a file, asked for in ascending order: the file system is asked once for each extent and not once a page.
#[derive(Debug)]
pub(crate) struct DataAhead<'a> {
    file: &'a File,
    size: u64,
    /// The extent that was found last. All between where it was looked for and its start is a hole.
    next: Extent,
}

impl<'a> DataAhead<'a> {
    /// The data of `file`, whose length is `size`.
    pub(crate) fn new(file: &'a File, size: u64) -> Self {
        Self {
            file,
            size,
            next: Extent { start: 0, len: 0 },
        }
    }

    /// Whether there is data in `range`, which must not begin before the range of the call before.
    pub(crate) fn is_in(&mut self, range: Extent) -> io::Result<bool> {
        if self.next.end() <= range.start {
            let nothing = Extent {
                start: self.size.max(range.end()),
                len: self.size,
            };
            self.next = next_data(self.file, range.start, self.size)?.unwrap_or(nothing);
        }
        Ok(self.next.start < range.end())
    }
}
