#![allow(
    unsafe_code,
    reason = "a file's blocks are asked for by ioctl, for which there is no safe interface"
)]
//! Where a file's data stands on its file system (FIEMAP): what files share, and what is a hole, without reading a byte.

use std::fs::File;
use std::io;

use crate::extents::Extent;

/// A piece of a file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Which piece.
    pub extent: Extent,
    /// Where on the file system it begins, in bytes. None where there is no plain answer: not on the disk yet, kept
    /// inside the inode, compressed or encrypted.
    pub physical: Option<u64>,
}

/// The pieces of a file that have data, ascending. What is between them is a hole, or allocated and never written.
///
/// Data that waits in the page cache is written to the file system first, since until then it may show as a hole. This
/// is no sync: the device may still lose it.
///
/// # Errors
/// `EOPNOTSUPP` where the file system does not tell.
pub fn mappings(file: &File) -> io::Result<Vec<Mapping>> {
    let mut request = raw::Request::new();
    let mut found = Vec::new();
    let mut from = 0;
    loop {
        let batch = request.ask(file, from)?;
        let Some(last) = batch.last() else {
            return Ok(found);
        };
        from = last.logical.saturating_add(last.length);
        let ended = last.flags & raw::LAST != 0;
        found.extend(batch.iter().filter_map(mapping));
        if ended {
            return Ok(found);
        }
    }
}

fn mapping(raw: &raw::FoundExtent) -> Option<Mapping> {
    let plain = raw.flags & raw::NO_PLAIN_ANSWER == 0;
    (raw.flags & raw::UNWRITTEN == 0).then_some(Mapping {
        extent: Extent {
            start: raw.logical,
            len: raw.length,
        },
        physical: plain.then_some(raw.physical),
    })
}

/// The request and its structures, by the kernel's `linux/fiemap.h`.
mod raw {
    use super::{File, io};
    use std::ffi::c_ulong;
    use std::mem::size_of;
    use std::os::fd::AsRawFd;

    use rustix::io::Errno;

    const FS_IOC_FIEMAP: c_ulong = 0xC020_660B;
    /// Write out what waits in the page cache first.
    const FLAG_SYNC: u32 = 0x1;

    pub(super) const LAST: u32 = 0x1;
    pub(super) const UNWRITTEN: u32 = 0x800;
    /// Unknown, delayed, encoded, encrypted, not aligned, inline, in a shared tail.
    pub(super) const NO_PLAIN_ANSWER: u32 = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x400;

    /// How many extents one call may answer.
    const BATCH: u32 = 1024;

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Header {
        start: u64,
        length: u64,
        flags: u32,
        mapped_extents: u32,
        extent_count: u32,
        reserved: u32,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub(super) struct FoundExtent {
        pub(super) logical: u64,
        pub(super) physical: u64,
        pub(super) length: u64,
        reserved64: [u64; 2],
        pub(super) flags: u32,
        reserved: [u32; 3],
    }

    const _: () = assert!(size_of::<Header>() == 32 && size_of::<FoundExtent>() == 56);

    #[repr(C)]
    pub(super) struct Request {
        header: Header,
        extents: [FoundExtent; BATCH as usize],
    }

    impl Request {
        pub(super) fn new() -> Box<Self> {
            Box::new(Self {
                header: Header::default(),
                extents: [FoundExtent::default(); BATCH as usize],
            })
        }

        /// The extents from the offset `from` on, as many as fit.
        pub(super) fn ask(&mut self, file: &File, from: u64) -> io::Result<&[FoundExtent]> {
            self.header = Header {
                start: from,
                length: u64::MAX - from,
                flags: FLAG_SYNC,
                extent_count: BATCH,
                ..Header::default()
            };
            // SAFETY: the descriptor is open for the call, and the pointer is to a whole request: a header that says
            // how many extents have room behind it, and that room. The kernel writes nothing else.
            let code = unsafe {
                libc::ioctl(
                    file.as_raw_fd(),
                    FS_IOC_FIEMAP,
                    std::ptr::from_mut(self).cast::<libc::c_void>(),
                )
            };
            if code != 0 {
                return Err(io::Error::last_os_error());
            }
            let count = usize::try_from(self.header.mapped_extents).unwrap_or(usize::MAX);
            self.extents.get(..count).ok_or(Errno::OVERFLOW.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    const MIB: u64 = 1 << 20;

    fn extents(file: &File) -> Vec<Extent> {
        let mut merged: Vec<Extent> = Vec::new();
        for mapping in mappings(file).unwrap() {
            match merged.last_mut() {
                Some(last) if last.end() == mapping.extent.start => last.len += mapping.extent.len,
                _ => merged.push(mapping.extent),
            }
        }
        merged
    }

    fn extent(start: u64, len: u64) -> Extent {
        Extent { start, len }
    }

    #[test]
    fn holes_are_left_out_and_what_waits_in_the_cache_is_not() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(mappings(&file).unwrap(), []);
        file.set_len(64 * MIB).unwrap();
        assert_eq!(mappings(&file).unwrap(), []);
        file.write_all_at(&[1; 8192], 4096).unwrap();
        file.write_all_at(&[1; 4096], 32 * MIB).unwrap();
        assert_eq!(extents(&file), [extent(4096, 8192), extent(32 * MIB, 4096)]);
        assert!(
            mappings(&file)
                .unwrap()
                .iter()
                .all(|m| m.physical.is_some())
        );
    }

    #[test]
    fn room_that_was_never_written_is_a_hole() {
        let file = tempfile::tempfile().unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, MIB).unwrap();
        assert_eq!(mappings(&file).unwrap(), []);
        file.write_all_at(&[1; 4096], 64 << 10).unwrap();
        assert_eq!(extents(&file), [extent(64 << 10, 4096)]);
    }

    #[test]
    fn more_extents_than_a_batch_are_all_found() {
        let file = tempfile::tempfile().unwrap();
        for at in 0..2500 {
            file.write_all_at(&[1; 4096], at * 8192).unwrap();
        }
        let found = extents(&file);
        assert_eq!(found.len(), 2500);
        assert!(
            found
                .iter()
                .zip(0..)
                .all(|(e, at)| *e == extent(at * 8192, 4096))
        );
    }

    #[test]
    fn a_file_system_that_does_not_tell_says_so() {
        let error = mappings(&File::open("/proc/version").unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
    }
}
