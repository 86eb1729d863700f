//! The page map of this process, which knows what it has written.

use super::*;
use rustix::mm::{MapFlags, ProtFlags};
use std::os::fd::AsFd;

const METHODS: [Method; 2] = [Method::Scan, Method::Entries];

/// A private mapping of a file that is open for reading only, as a guest's memory is.
struct Mapping {
    address: *mut u8,
    len: u64,
}

impl Mapping {
    /// Every second page of the file has data; the others are holes.
    fn new(dir: &str, pages: u64) -> Self {
        let file = tempfile::NamedTempFile::new_in(dir).unwrap();
        file.as_file().set_len(pages * PAGE).unwrap();
        for page in (0..pages).step_by(2) {
            file.as_file()
                .write_all_at(&[1; 4096], page * PAGE)
                .unwrap();
        }
        let mut mapping = Self {
            address: std::ptr::null_mut(),
            len: pages * PAGE,
        };
        mapping.map(File::open(file.path()).unwrap(), MapFlags::PRIVATE);
        mapping
    }

    fn map(&mut self, file: impl AsFd, flags: MapFlags) {
        let len = usize::try_from(self.len).unwrap();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: either a new mapping, or one in the place of a mapping that this value owns.
        let mapped = unsafe { rustix::mm::mmap(self.address.cast(), len, access, flags, file, 0) };
        self.address = mapped.unwrap().cast();
    }

    fn range(&self) -> Extent {
        Extent {
            start: self.address.expose_provenance() as u64,
            len: self.len,
        }
    }

    fn page(&self, page: u64) -> *mut u8 {
        assert!(page * PAGE < self.len);
        // SAFETY: the page is inside the mapping.
        unsafe { self.address.add(usize::try_from(page * PAGE).unwrap()) }
    }

    fn write(&self, page: u64, byte: u8) {
        // SAFETY: the whole page is mapped for writing, and nothing else refers to it.
        unsafe { self.page(page).write_bytes(byte, 4096) }
    }

    fn read(&self, page: u64) -> u8 {
        // SAFETY: the page is mapped for reading.
        unsafe { self.page(page).read_volatile() }
    }

    fn own(&self, method: Method) -> Vec<Extent> {
        let pid = i32::try_from(std::process::id()).unwrap();
        private_by(method, pid, self.range()).unwrap()
    }

    /// The extents of some pages, given in ascending order.
    fn extents(&self, pages: impl IntoIterator<Item = u64>) -> Vec<Extent> {
        let mut runs = Runs::default();
        for page in pages {
            runs.push(self.range().start + page * PAGE, PAGE);
        }
        runs.0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and what refers to it borrows this value.
        unsafe { rustix::mm::munmap(self.address.cast(), usize::try_from(self.len).unwrap()) }
            .unwrap();
    }
}

#[test]
fn what_was_written_is_private_and_what_was_read_is_not() {
    for dir in ["/dev/shm", "/tmp"] {
        let mapping = Mapping::new(dir, 64);
        for method in METHODS {
            assert_eq!(mapping.own(method), [], "never touched");
        }
        let sum: u32 = (0..64).map(|page| u32::from(mapping.read(page))).sum();
        assert_eq!(sum, 32);
        // Data, a hole, data that becomes zero, a hole that is written with zeros, and the last page.
        for (page, byte) in [(10, 7), (11, 7), (12, 0), (21, 0), (63, 9)] {
            mapping.write(page, byte);
        }
        for method in METHODS {
            assert_eq!(mapping.own(method), mapping.extents([10, 11, 12, 21, 63]));
        }
    }
}

/// A write into a page that was mapped as a part of a huge one makes that page private, and not the huge one.
#[test]
fn a_huge_page_is_parted_where_it_is_written() {
    use nix::mount::{MsFlags, mount};

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    // The mount goes with the thread's mount namespace.
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let (kind, options) = (Some("tmpfs"), Some("huge=always"));
        mount(kind, &path, kind, MsFlags::empty(), options).unwrap();
        let mapping = Mapping::new(path.to_str().unwrap(), 2048);
        (0..2048).for_each(|page| assert_eq!(mapping.read(page), u8::from(page % 2 == 0)));
        for method in METHODS {
            assert_eq!(mapping.own(method), []);
        }
        let written = [0, 511, 512, 700, 701, 2047];
        for page in written {
            mapping.write(page, 0);
        }
        for method in METHODS {
            assert_eq!(mapping.own(method), mapping.extents(written));
        }
    });
    thread.join().unwrap();
}

#[test]
fn a_scan_goes_on_where_its_answer_was_full() {
    let mapping = Mapping::new("/dev/shm", 20_000);
    let pages = || (0..20_000).filter(|page| page % 3 != 1 && page % 7 != 0);
    pages().for_each(|page| mapping.write(page, 5));
    for method in METHODS {
        assert_eq!(mapping.own(method), mapping.extents(pages()));
    }
}

#[test]
fn only_what_lies_in_the_range_is_told() {
    let mapping = Mapping::new("/dev/shm", 16);
    (0..16).for_each(|page| mapping.write(page, 5));
    let pid = i32::try_from(std::process::id()).unwrap();
    let Extent { start, .. } = mapping.range();
    let range = Extent {
        start: start + 4 * PAGE,
        len: 8 * PAGE,
    };
    for method in METHODS {
        assert_eq!(private_by(method, pid, range).unwrap(), [range]);
    }
    assert_eq!(private(pid, range).unwrap(), [range]);
}

#[test]
fn what_others_share_or_nobody_has_mapped_is_not_private() {
    let mut mapping = Mapping::new("/dev/shm", 8);
    (0..8).for_each(|page| mapping.write(page, 5));
    let shared = tempfile::tempfile_in("/dev/shm").unwrap();
    shared.set_len(mapping.len).unwrap();
    mapping.map(&shared, MapFlags::SHARED | MapFlags::FIXED);
    (0..8).for_each(|page| mapping.write(page, 6));
    for method in METHODS {
        assert_eq!(mapping.own(method), []);
    }
}

#[test]
fn a_range_that_is_none_is_refused() {
    let ranges = [(1, PAGE), (PAGE, 1), (u64::MAX - PAGE + 1, 2 * PAGE)];
    for (start, len) in ranges {
        for method in METHODS {
            let pid = i32::try_from(std::process::id()).unwrap();
            let error = private_by(method, pid, Extent { start, len }).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a child that only waits for its end"
)]
fn a_process_that_has_ended_is_an_error_and_never_empty() {
    for method in METHODS {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pagemap = File::open(format!("/proc/{}/pagemap", child.id())).unwrap();
        let range = Extent {
            start: 1 << 20,
            len: 1 << 20,
        };
        assert_eq!(private_in(&pagemap, method, range).unwrap(), []);
        child.kill().unwrap();
        child.wait().unwrap();
        let error = private_in(&pagemap, method, range).unwrap_err();
        let gone = Errno::from_io_error(&error) == Some(Errno::SRCH);
        assert!(
            gone || error.kind() == io::ErrorKind::UnexpectedEof,
            "{error}"
        );
    }
}

#[test]
fn a_page_in_swap_is_private_unless_it_is_a_files() {
    let (present, swapped, file) = (1 << 63, 1 << 62, 1 << 61);
    assert!(is_private(present) && is_private(swapped | 0x1234));
    assert!(!is_private(0) && !is_private(file));
    assert!(!is_private(present | file) && !is_private(swapped | file));
}
