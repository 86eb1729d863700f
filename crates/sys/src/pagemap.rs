#![allow(
    unsafe_code,
    reason = "the kernel's page map is scanned by ioctl, for which there is no safe interface"
)]
//! Which pages of a private file mapping a process has written: the pages that are its own and no longer the file's.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use crate::extents::Extent;

/// The size of a page, in bytes.
const PAGE: u64 = 4096;

/// The size of an entry of a page map, in bytes.
const ENTRY: u64 = 8;

/// How the kernel is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `PAGEMAP_SCAN` (Linux 6.7): the kernel walks the page tables and names only what is private.
    Scan,
    /// One entry of `/proc/PID/pagemap` for each page of the range, whatever it is.
    Entries,
}

/// The pages in `range` that process `pid` has written since it mapped them: merged, ascending, page-aligned addresses.
///
/// The process should stand still. What it has never touched, has only read, or has not mapped is not among them.
///
/// # Errors
/// `InvalidInput` for a range that is not page-aligned or wraps around; `ESRCH` or `UnexpectedEof` when the process has
/// ended, even if it was during the call; what the kernel said.
pub fn private(pid: i32, range: Extent) -> io::Result<Vec<Extent>> {
    match private_by(Method::Scan, pid, range) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTTY) => {
            private_by(Method::Entries, pid, range)
        }
        other => other,
    }
}

/// As [`private`], by one method.
///
/// # Errors
/// As [`private`]; `ENOTTY` where the kernel does not know [`Method::Scan`].
pub fn private_by(method: Method, pid: i32, range: Extent) -> io::Result<Vec<Extent>> {
    private_in(&File::open(format!("/proc/{pid}/pagemap"))?, method, range)
}

fn private_in(pagemap: &File, method: Method, range: Extent) -> io::Result<Vec<Extent>> {
    let whole = range.start.is_multiple_of(PAGE) && range.len.is_multiple_of(PAGE);
    if !whole || range.start.checked_add(range.len).is_none() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut found = Runs::default();
    match method {
        Method::Scan => scan(pagemap, range, &mut found)?,
        Method::Entries => read_entries(pagemap, range, &mut found)?,
    }
    Ok(found.0)
}

/// Extents in ascending order, neighbours merged.
#[derive(Default)]
struct Runs(Vec<Extent>);

impl Runs {
    fn push(&mut self, start: u64, len: u64) {
        match self.0.last_mut() {
            Some(last) if last.end() == start => last.len += len,
            _ => self.0.push(Extent { start, len }),
        }
    }
}

fn scan(pagemap: &File, range: Extent, found: &mut Runs) -> io::Result<()> {
    let mut regions = [raw::Region::default(); 512];
    let mut at = range.start;
    while at < range.end() {
        let (walked, end) = raw::scan(pagemap, at, range.end(), &mut regions)?;
        for region in walked {
            found.push(region.start, region.end.saturating_sub(region.start));
        }
        // A walk that does not move would never end.
        if end <= at {
            return Err(io::ErrorKind::InvalidData.into());
        }
        at = end;
    }
    // A process that ends meanwhile loses its page tables, which would pass for "has written nothing". Its entries
    // cannot be read any more, so that one entry tells whether what was seen is true.
    let mut entry = [0; size_of::<u64>()];
    pagemap.read_exact_at(&mut entry, range.start / PAGE * ENTRY)
}

fn read_entries(pagemap: &File, range: Extent, found: &mut Runs) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut at = range.start;
    while at < range.end() {
        let wanted = (range.end() - at) / PAGE * ENTRY;
        let len = usize::try_from(wanted).map_or(buffer.len(), |wanted| wanted.min(buffer.len()));
        let entries = &mut buffer[..len];
        pagemap.read_exact_at(entries, at / PAGE * ENTRY)?;
        for entry in entries.as_chunks().0 {
            if is_private(u64::from_ne_bytes(*entry)) {
                found.push(at, PAGE);
            }
            at += PAGE;
        }
    }
    Ok(())
}

/// Whether a page map's entry is that of a page in memory or in swap that is no file's.
fn is_private(entry: u64) -> bool {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const FILE: u64 = 1 << 61;
    entry & (PRESENT | SWAPPED) != 0 && entry & FILE == 0
}

/// The request and its structures, by the kernel's `linux/fs.h`.
mod raw {
    use super::*;
    use std::ffi::c_ulong;
    use std::os::fd::AsRawFd;

    const PAGEMAP_SCAN: c_ulong = 0xC060_6610;

    const PAGE_IS_FILE: u64 = 1 << 2;
    const PAGE_IS_PRESENT: u64 = 1 << 3;
    const PAGE_IS_SWAPPED: u64 = 1 << 4;

    /// `struct page_region`: pages of the same categories, as addresses.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub(super) struct Region {
        pub(super) start: u64,
        pub(super) end: u64,
        _categories: u64,
    }

    /// `struct pm_scan_arg`.
    #[repr(C)]
    struct Scan {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    const _: () = assert!(size_of::<Region>() == 24 && size_of::<Scan>() == 96);

    /// The private pages from `start` on, as many as `regions` holds, and where the kernel stopped walking.
    pub(super) fn scan<'a>(
        pagemap: &File,
        start: u64,
        end: u64,
        regions: &'a mut [Region],
    ) -> io::Result<(&'a [Region], u64)> {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: 0,
            start,
            end,
            walk_end: 0,
            vec: regions.as_mut_ptr().expose_provenance() as u64,
            vec_len: regions.len() as u64,
            max_pages: 0,
            // No file's page, and in memory or in swap.
            category_inverted: PAGE_IS_FILE,
            category_mask: PAGE_IS_FILE,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            // Regions end where a returned category changes, so that only swapped pages part a run.
            return_mask: PAGE_IS_PRESENT,
        };
        // SAFETY: the request reads and writes a `struct pm_scan_arg`, which `Scan` is, and writes at most `vec_len`
        // `struct page_region`s to `vec`, which is the exclusively borrowed `regions` and any bit pattern of which is
        // valid; neither is kept after the call.
        let count = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) };
        let Ok(count) = usize::try_from(count) else {
            return Err(io::Error::last_os_error());
        };
        let filled = regions.get(..count).ok_or(io::ErrorKind::InvalidData)?;
        Ok((filled, scan.walk_end))
    }
}

#[cfg(test)]
mod tests;
