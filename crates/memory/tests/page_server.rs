//! The page server on a real kernel, with a client that plays the VMM's part: it registers memory and touches it.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    reason = "the memory of a guest has to be mapped; a helper that fails is a test that fails"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use wrenn_memory::page_server::{End, PageServer, PageServerError, Region, Served};
use wrenn_sys::extents::Extent;
use wrenn_sys::uffd::Userfault;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// A guest's memory, mapped here and registered.
struct Guest {
    start: *mut u8,
    len: u64,
    memory: Userfault,
}

// SAFETY: the memory is anyone's to read; nobody writes what another one reads.
unsafe impl Sync for Guest {}

impl Guest {
    fn of(len: u64) -> Self {
        let size = usize::try_from(len).unwrap();
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: new memory at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), size, protection, flags) };
        let guest = Self {
            start: start.unwrap().cast(),
            len,
            memory: Userfault::new().unwrap(),
        };
        let range = Extent {
            start: guest.address(),
            len,
        };
        guest.memory.register(range).unwrap();
        guest
    }

    fn address(&self) -> u64 {
        self.start.addr() as u64
    }

    fn regions(&self) -> [Region; 1] {
        [Region {
            address: self.address(),
            len: self.len,
            offset: 0,
        }]
    }

    /// Touches a page, and waits for it.
    fn byte(&self, at: u64) -> u8 {
        assert!(at < self.len);
        // SAFETY: it is within what is mapped.
        unsafe { self.start.add(usize::try_from(at).unwrap()).read_volatile() }
    }

    fn give_back(&self, at: u64, len: u64) {
        assert!(at + len <= self.len);
        // SAFETY: it is within what is mapped, and nobody holds a reference into it.
        unsafe {
            let start = self.start.add(usize::try_from(at).unwrap()).cast();
            madvise(start, usize::try_from(len).unwrap(), Advice::LinuxDontNeed).unwrap();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: it is what was mapped, and nobody uses it any more.
        unsafe { munmap(self.start.cast(), usize::try_from(self.len).unwrap()).unwrap() };
    }
}

/// What stands in the image at this page.
fn content(page: u64) -> u8 {
    u8::try_from(page % 251 + 1).unwrap()
}

/// An image in which every fourth stretch of 16 pages is a hole.
fn image(len: u64) -> File {
    let image = tempfile::tempfile().unwrap();
    image.set_len(len).unwrap();
    for page in (0..len / PAGE).filter(|page| !is_hole(*page)) {
        image
            .write_all_at(&[content(page); 4096], page * PAGE)
            .unwrap();
    }
    image
}

fn is_hole(page: u64) -> bool {
    page / 16 % 4 == 3
}

fn expected(page: u64) -> u8 {
    if is_hole(page) { 0 } else { content(page) }
}

fn whole(_: u64, _: &[u8]) -> bool {
    true
}

/// Serves the guest in a thread of its own while `work` uses it, and says what came of both.
fn served<T>(
    guest: &Guest,
    image: &File,
    first: Vec<u64>,
    work: impl FnOnce(&Guest) -> T,
) -> (Result<Served, PageServerError>, T) {
    let (_vmm, peer) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let regions = guest.regions();
            PageServer::new(&guest.memory, &regions, image, &whole, first).serve(&peer)
        });
        let worked = work(guest);
        (server.join().unwrap(), worked)
    })
}

#[test]
fn every_page_is_what_the_image_has_and_then_it_is_let_go() {
    let (guest, image) = (Guest::of(16 * MIB), image(16 * MIB));
    let (served, wrong) = served(&guest, &image, Vec::new(), |guest| {
        // In an order that is nobody's.
        let pages = (0..4096_u64).map(|turn| turn * 1709 % 4096);
        pages
            .filter(|page| guest.byte(page * PAGE + 7) != expected(*page))
            .count()
    });
    assert_eq!(wrong, 0);
    assert_eq!(served.unwrap().end, End::Filled);
    // Nobody serves it any more.
    assert_eq!(guest.byte(5 * PAGE), expected(5));
    guest.give_back(0, 64 * PAGE);
    assert_eq!(guest.byte(5 * PAGE), 0);
}

#[test]
fn what_nobody_touches_is_brought_all_the_same() {
    let (guest, image) = (Guest::of(8 * MIB), image(8 * MIB));
    let (served, ()) = served(&guest, &image, Vec::new(), |_| ());
    let served = served.unwrap();
    assert_eq!((served.end, served.faults), (End::Filled, 0));
    assert!((0..2048).all(|page| guest.byte(page * PAGE) == expected(page)));
}

#[test]
fn what_was_touched_first_is_remembered_in_its_order_and_brought_ahead() {
    // So large that the rest takes its time.
    let (guest, image) = (Guest::of(256 * MIB), image(256 * MIB));
    let touched: Vec<u64> = (0..40).map(|turn| (turn * 769 + 30_000) % 65_536).collect();
    let touch = |guest: &Guest| {
        for page in &touched {
            assert_eq!(guest.byte(page * PAGE), expected(*page));
        }
    };
    let (served_once, ()) = served(&guest, &image, Vec::new(), touch);
    let first = served_once.unwrap().first;
    // What came by itself before it was touched is not among them.
    let order: Vec<u64> = first.iter().map(|at| at / PAGE).collect();
    let faulted: BTreeSet<u64> = order.iter().copied().collect();
    assert!(faulted.len() > 20, "{order:?}");
    let wanted: Vec<u64> = touched
        .iter()
        .copied()
        .filter(|page| faulted.contains(page))
        .collect();
    assert_eq!(order, wanted);

    let again = Guest::of(256 * MIB);
    // It is there before anybody asks.
    let (served_again, ()) = served(&again, &image, first.clone(), |again| {
        std::thread::sleep(Duration::from_millis(30));
        touch(again);
    });
    let served_again = served_again.unwrap();
    assert_eq!(served_again.first[..first.len()], first);
    assert!(served_again.faults < 20, "{}", served_again.faults);
}

/// A record may be of another image, or damaged: it is a hint.
#[test]
fn a_record_that_makes_no_sense_does_no_harm() {
    let (guest, image) = (Guest::of(MIB), image(MIB));
    let record = vec![7, u64::MAX, MIB, 50 * PAGE, 50 * PAGE, 0];
    let (served, ()) = served(&guest, &image, record, |_| ());
    assert_eq!(served.unwrap().first, [50 * PAGE, 50 * PAGE, 0]);
    assert!((0..256).all(|page| guest.byte(page * PAGE) == expected(page)));
}

/// A balloon: what is given back is zeros from then on, whatever the image has there, also while all else is being brought.
#[test]
fn what_is_given_back_is_zeros_and_nothing_else_is_lost() {
    let (guest, image) = (Guest::of(64 * MIB), image(64 * MIB));
    let (served, given) = served(&guest, &image, Vec::new(), |guest| {
        let mut given = BTreeSet::new();
        for turn in 0..200_u64 {
            let page = turn * 1543 % 16_000;
            guest.give_back(page * PAGE, 3 * PAGE);
            given.extend(page..page + 3);
            assert_eq!(guest.byte(page * PAGE), 0, "page {page}");
            assert_eq!(guest.byte((page + 2) * PAGE), 0, "page {page} + 2");
        }
        given
    });
    assert_eq!(served.unwrap().end, End::Filled);
    let wrong = (0..16_384).filter(|page| {
        let wanted = if given.contains(page) {
            0
        } else {
            expected(*page)
        };
        guest.byte(page * PAGE) != wanted
    });
    assert_eq!(wrong.count(), 0);
}

#[test]
fn a_damaged_page_is_given_to_nobody() {
    let (guest, image) = (Guest::of(4 * MIB), image(4 * MIB));
    let (_vmm, peer) = UnixStream::pair().unwrap();
    let regions = guest.regions();
    let check = |at: u64, bytes: &[u8]| !(at..at + bytes.len() as u64).contains(&(70 * PAGE));
    let server = PageServer::new(&guest.memory, &regions, &image, &check, Vec::new());
    let damaged = server.serve(&peer).unwrap_err();
    assert!(
        matches!(damaged, PageServerError::Damaged { .. }),
        "{damaged}"
    );
}

#[test]
fn it_ends_with_its_vmm() {
    let (guest, image) = (Guest::of(4 * MIB), image(4 * MIB));
    let (vmm, peer) = UnixStream::pair().unwrap();
    drop(vmm);
    let regions = guest.regions();
    let server = PageServer::new(&guest.memory, &regions, &image, &whole, Vec::new());
    assert_eq!(server.serve(&peer).unwrap().end, End::Gone);
}

/// Many who wait at once, for the same pages, too: all go on.
#[test]
fn nobody_waits_for_ever() {
    let (guest, image) = (Guest::of(32 * MIB), image(32 * MIB));
    let began = Instant::now();
    let (served, ()) = served(&guest, &image, Vec::new(), |guest| {
        let (done, all) = mpsc::channel();
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let done = done.clone();
                scope.spawn(move || {
                    for turn in 0..2000_u64 {
                        let page = (turn * 4099 + thread / 2) % 8192;
                        assert_eq!(guest.byte(page * PAGE), expected(page));
                    }
                    done.send(()).unwrap();
                });
            }
            drop(done);
            assert_eq!(all.iter().count(), 8);
        });
    });
    assert_eq!(served.unwrap().end, End::Filled);
    assert!(began.elapsed() < Duration::from_secs(60));
}
