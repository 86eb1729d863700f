#![allow(
    unsafe_code,
    reason = "userfaultfd is spoken to by ioctl, for which there is no safe interface"
)]
//! userfaultfd: who touches a page that is not there waits until somebody else brings it. By the kernel's `linux/userfaultfd.h` and
//! `Documentation/admin-guide/mm/userfaultfd`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::extents::Extent;

/// A descriptor through which the memory of a process, often another one, is filled. It does not block.
#[derive(Debug)]
pub struct Userfault {
    descriptor: File,
}

/// What is told of that memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody waits for the page at this address.
    Fault {
        /// Anywhere in the page.
        address: u64,
    },
    /// Its owner gave this range back: who touches it from now on finds zeros. Until this is read, nothing can be filled.
    Removed(Extent),
    /// Something else, which nobody asked to be told.
    Other,
}

/// What came of filling a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// It is there now, and who waited for it goes on.
    Done,
    /// A page of it was there already; of those before it all are there now.
    There,
    /// Something has to be read first: see [`Event::Removed`].
    Later,
    /// The process has ended.
    Gone,
}

impl Userfault {
    /// One that somebody has sent, after its features were agreed on.
    ///
    /// # Errors
    /// `InvalidInput`: it is something else. It can not be kept from blocking.
    pub fn received(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        let userfault = Self {
            descriptor: descriptor.into(),
        };
        // To wake nobody is what a userfaultfd refuses, and nothing else understands.
        let nowhere = Extent { start: 0, len: 0 };
        let told = userfault.wake(nowhere).err();
        match told.as_ref().and_then(Errno::from_io_error) {
            Some(Errno::INVAL) => Ok(userfault),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// One for memory of this process, which is told of what is removed.
    ///
    /// # Errors
    /// The kernel has none, or does not let this process have one.
    pub fn new() -> io::Result<Self> {
        let descriptor = raw::open()?;
        raw::agree(&descriptor, raw::EVENT_REMOVE)?;
        Self::received(descriptor)
    }

    /// Has this range, of whole pages, wait for being filled where it is not there.
    pub fn register(&self, range: Extent) -> io::Result<()> {
        raw::register(&self.descriptor, range)
    }

    /// Lets this range be as it would be without us: what is not there reads as zeros.
    pub fn unregister(&self, range: Extent) -> io::Result<()> {
        raw::unregister(&self.descriptor, range)
    }

    /// What is to be told; nothing when that is all for now.
    pub fn events(&self, events: &mut Vec<Event>) -> io::Result<()> {
        raw::read(&self.descriptor, events)
    }

    /// Fills pages from this address on with these bytes, whole pages.
    pub fn copy(&self, address: u64, pages: &[u8]) -> io::Result<Filled> {
        filled(raw::copy(&self.descriptor, address, pages))
    }

    /// Fills a range of whole pages with zeros, which take no memory.
    pub fn zero(&self, range: Extent) -> io::Result<Filled> {
        filled(raw::zero(&self.descriptor, range))
    }

    /// Lets who waits for a page in this range look again.
    pub fn wake(&self, range: Extent) -> io::Result<()> {
        raw::wake(&self.descriptor, range)
    }
}

impl AsFd for Userfault {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn filled(told: io::Result<()>) -> io::Result<Filled> {
    let Err(error) = told else {
        return Ok(Filled::Done);
    };
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST) => Ok(Filled::There),
        Some(Errno::AGAIN) => Ok(Filled::Later),
        Some(Errno::SRCH) => Ok(Filled::Gone),
        _ => Err(error),
    }
}

/// The requests and structures.
mod raw {
    use super::{Errno, Event, Extent, File, OwnedFd, io};
    use std::ffi::c_ulong;
    use std::io::Read;
    use std::os::fd::{AsRawFd, FromRawFd};

    const API_VERSION: u64 = 0xAA;
    pub(super) const EVENT_REMOVE: u64 = 1 << 3;
    const MISSING: u64 = 1;

    const REGISTER: c_ulong = 0xC020_AA00;
    const UNREGISTER: c_ulong = 0x8010_AA01;
    const WAKE: c_ulong = 0x8010_AA02;
    const COPY: c_ulong = 0xC028_AA03;
    const ZEROPAGE: c_ulong = 0xC020_AA04;
    const API: c_ulong = 0xC018_AA3F;

    const EVENT_FAULT: u8 = 0x12;
    const EVENT_REMOVED: u8 = 0x15;
    /// `struct uffd_msg`: what it is, and at its eighth byte what belongs to that.
    const MESSAGE: usize = 32;
    /// How many are read at once.
    const MESSAGES: usize = 64;

    #[repr(C)]
    struct Api {
        version: u64,
        features: u64,
        requests: u64,
    }

    #[repr(C)]
    struct Register {
        start: u64,
        len: u64,
        mode: u64,
        requests: u64,
    }

    #[repr(C)]
    struct Range {
        start: u64,
        len: u64,
    }

    #[repr(C)]
    struct Copy {
        to: u64,
        from: u64,
        len: u64,
        mode: u64,
        copied: i64,
    }

    #[repr(C)]
    struct Zero {
        start: u64,
        len: u64,
        mode: u64,
        zeroed: i64,
    }

    const _: () = assert!(
        size_of::<Api>() == 24
            && size_of::<Register>() == 32
            && size_of::<Range>() == 16
            && size_of::<Copy>() == 40
            && size_of::<Zero>() == 32
    );

    pub(super) fn open() -> io::Result<OwnedFd> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: the call takes flags alone.
        let told = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        let descriptor = i32::try_from(told).ok().filter(|told| *told >= 0);
        let descriptor = descriptor.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }

    pub(super) fn agree(descriptor: &OwnedFd, features: u64) -> io::Result<()> {
        let mut api = Api {
            version: API_VERSION,
            features,
            requests: 0,
        };
        // SAFETY: the request reads and writes a `struct uffdio_api`, which `Api` is, during the call only.
        check(unsafe { libc::ioctl(descriptor.as_raw_fd(), API, &raw mut api) })
    }

    pub(super) fn register(file: &File, range: Extent) -> io::Result<()> {
        let mut register = Register {
            start: range.start,
            len: range.len,
            mode: MISSING,
            requests: 0,
        };
        // SAFETY: the request reads and writes a `struct uffdio_register`, which `Register` is, during the call only; what it
        // does to this process's memory is that who touches a missing page waits.
        check(unsafe { libc::ioctl(file.as_raw_fd(), REGISTER, &raw mut register) })
    }

    pub(super) fn unregister(file: &File, range: Extent) -> io::Result<()> {
        about(file, UNREGISTER, range)
    }

    pub(super) fn wake(file: &File, range: Extent) -> io::Result<()> {
        about(file, WAKE, range)
    }

    /// One of the two requests that say of a range no more than where it is.
    fn about(file: &File, request: c_ulong, range: Extent) -> io::Result<()> {
        let range = Range {
            start: range.start,
            len: range.len,
        };
        // SAFETY: the request reads a `struct uffdio_range`, which `Range` is, during the call only.
        check(unsafe { libc::ioctl(file.as_raw_fd(), request, &raw const range) })
    }

    pub(super) fn copy(file: &File, address: u64, pages: &[u8]) -> io::Result<()> {
        let mut copy = Copy {
            to: address,
            from: pages.as_ptr().addr() as u64,
            len: pages.len() as u64,
            mode: 0,
            copied: 0,
        };
        // SAFETY: the request reads and writes a `struct uffdio_copy`, which `Copy` is, and reads the bytes that it names,
        // which are `pages`. It writes to no page that is there already, so that nobody's memory changes under them.
        check(unsafe { libc::ioctl(file.as_raw_fd(), COPY, &raw mut copy) })
    }

    pub(super) fn zero(file: &File, range: Extent) -> io::Result<()> {
        let mut zero = Zero {
            start: range.start,
            len: range.len,
            mode: 0,
            zeroed: 0,
        };
        // SAFETY: the request reads and writes a `struct uffdio_zeropage`, which `Zero` is, during the call only; it, too, writes
        // to no page that is there.
        check(unsafe { libc::ioctl(file.as_raw_fd(), ZEROPAGE, &raw mut zero) })
    }

    pub(super) fn read(mut file: &File, events: &mut Vec<Event>) -> io::Result<()> {
        let mut buffer = [0; MESSAGE * MESSAGES];
        let read = match file.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error),
        };
        for message in buffer[..read].as_chunks::<MESSAGE>().0 {
            let word = |at: usize| {
                let eight = message
                    .get(at..at + 8)
                    .and_then(|eight| eight.try_into().ok());
                eight.map_or(0, u64::from_ne_bytes)
            };
            events.push(match message[0] {
                EVENT_FAULT => Event::Fault { address: word(16) },
                EVENT_REMOVED => Event::Removed(Extent {
                    start: word(8),
                    len: word(16).saturating_sub(word(8)),
                }),
                _ => Event::Other,
            });
        }
        Ok(())
    }

    fn check(told: i32) -> io::Result<()> {
        match told {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
