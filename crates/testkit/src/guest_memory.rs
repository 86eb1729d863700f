#![allow(
    unsafe_code,
    reason = "the memory of a guest has to be mapped, touched and given back"
)]
//! A guest's memory as its VMM has it that restores it by userfaultfd: mapped in this process, and missing until it is brought.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a fixture stops at the first surprise"
)]

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use wrenn_sys::extents::Extent;
use wrenn_sys::pagemap;
use wrenn_sys::uffd::Userfault;

const PAGE: u64 = 4096;

/// Memory that waits for a page server. Whoever touches it waits, too.
#[derive(Debug)]
pub struct GuestMemory {
    start: *mut u8,
    len: u64,
    userfault: Userfault,
}

// SAFETY: it is mapped until it is dropped, and read and written byte by byte as atomics.
unsafe impl Send for GuestMemory {}
// SAFETY: as above.
unsafe impl Sync for GuestMemory {}

impl GuestMemory {
    /// So many bytes, whole pages.
    #[must_use]
    pub fn of(len: u64) -> Self {
        Self::served_through(Userfault::new().unwrap(), len)
    }

    /// As [`Self::of`], of a VMM that has no balloon: who serves it is not told what is given back.
    #[must_use]
    pub fn untold(len: u64) -> Self {
        Self::served_through(Userfault::received(raw::userfaultfd()).unwrap(), len)
    }

    fn served_through(userfault: Userfault, len: u64) -> Self {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: new memory at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), size(len), protection, flags) };
        let memory = Self {
            start: start.unwrap().cast(),
            len,
            userfault,
        };
        let range = Extent {
            start: memory.address(),
            len,
        };
        memory.userfault.register(range).unwrap();
        memory
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.start.addr() as u64
    }

    /// How long it is, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it is served through.
    #[must_use]
    pub fn userfault(&self) -> &Userfault {
        &self.userfault
    }

    /// How much of it is there, in bytes.
    #[must_use]
    pub fn brought(&self) -> u64 {
        let range = Extent {
            start: self.address(),
            len: self.len,
        };
        let me = i32::try_from(std::process::id()).unwrap();
        let own = pagemap::private(me, range).unwrap();
        own.iter().map(|extent| extent.len).sum()
    }

    /// Reads a byte, and waits for its page.
    #[must_use]
    pub fn read(&self, at: u64) -> u8 {
        self.byte(at).load(Ordering::Relaxed)
    }

    /// Touches a page, and waits for it.
    pub fn touch(&self, at: u64) {
        std::hint::black_box(self.read(at));
    }

    /// Writes a byte, and waits for its page.
    pub fn write(&self, at: u64, byte: u8) {
        self.byte(at).store(byte, Ordering::Relaxed);
    }

    fn byte(&self, at: u64) -> &AtomicU8 {
        assert!(at < self.len);
        // SAFETY: it is within what is mapped, for as long as this is, and used as an atomic only.
        unsafe { AtomicU8::from_ptr(self.start.add(size(at))) }
    }

    /// Gives pages back to the kernel, as a balloon does.
    pub fn give_back(&self, at: u64, len: u64) {
        assert!(at + len <= self.len);
        // SAFETY: it is within what is mapped; bytes that become zeros are bytes still.
        unsafe {
            let start = self.start.add(size(at)).cast();
            madvise(start, size(len), Advice::LinuxDontNeed).unwrap();
        }
    }

    /// Fills a page with this byte as nobody does who serves it: who waits for it already is not told.
    pub fn fill_silently(&self, at: u64, byte: u8) {
        let page = vec![byte; size(PAGE)];
        let mut copy = raw::Copy {
            to: self.address() + at,
            from: page.as_ptr().addr() as u64,
            len: PAGE,
            mode: raw::DONT_WAKE,
            copied: 0,
        };
        // SAFETY: the request reads and writes a `struct uffdio_copy`, which this is, and reads the page, which it names. It
        // writes to no page that is there.
        unsafe { raw::copy(self.userfault.as_fd().as_raw_fd(), &raw mut copy) }.unwrap();
    }

    /// Sends it to a page server, with an image's bytes from 0 on, as Firecracker does.
    pub fn hand_over(&self, to: &UnixStream) {
        let regions = format!(
            r#"[{{"base_host_virt_addr":{},"size":{},"offset":0,"page_size":4096,"page_size_kib":4096}}]"#,
            self.address(),
            self.len
        );
        let descriptors = [self.userfault.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let message = [IoSlice::new(regions.as_bytes())];
        let sent = sendmsg(to, &message, &mut ancillary, SendFlags::empty());
        assert_eq!(sent.unwrap(), regions.len());
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // SAFETY: it is what was mapped, and nobody uses it any more.
        unsafe { munmap(self.start.cast(), size(self.len)).unwrap() };
    }
}

fn size(len: u64) -> usize {
    usize::try_from(len).unwrap()
}

/// What no page server asks for.
mod raw {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    pub(super) const DONT_WAKE: u64 = 1;

    #[repr(C)]
    pub(super) struct Copy {
        pub(super) to: u64,
        pub(super) from: u64,
        pub(super) len: u64,
        pub(super) mode: u64,
        pub(super) copied: i64,
    }

    #[repr(C)]
    pub(super) struct Api {
        version: u64,
        features: u64,
        requests: u64,
    }

    nix::ioctl_readwrite!(copy, 0xAA, 3, Copy);
    nix::ioctl_readwrite!(api, 0xAA, 0x3F, Api);

    /// A userfaultfd that tells of faults alone.
    pub(super) fn userfaultfd() -> OwnedFd {
        // SAFETY: the call takes flags alone.
        let told = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let descriptor = i32::try_from(told).unwrap();
        assert!(descriptor >= 0, "no userfaultfd");
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let mut agreed = Api {
            version: 0xAA,
            features: 0,
            requests: 0,
        };
        // SAFETY: the request reads and writes a `struct uffdio_api`, which this is, during the call only.
        unsafe { api(descriptor.as_raw_fd(), &raw mut agreed) }.unwrap();
        descriptor
    }
}
