//! The page server on a real kernel, with a client that plays the VMM's part: it registers memory and touches it.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

#[path = "page_server/clones.rs"]
mod clones;
#[path = "page_server/hostile.rs"]
mod hostile;
#[path = "page_server/images.rs"]
mod images;
#[path = "page_server/killed.rs"]
mod killed;

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wrenn_memory::page_server::{End, PageServer, PageServerError, PageSource, Region, Served};
use wrenn_testkit::guest_memory::GuestMemory;

use images::{as_written, both, expected};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// How long something may take that takes no time.
const LONG: Duration = Duration::from_secs(20);

type Came = Result<Served, PageServerError>;

/// How much is brought that nobody touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    All,
    Recorded,
}

fn regions(guest: &GuestMemory) -> [Region; 1] {
    [Region {
        address: guest.address(),
        len: guest.len(),
        offset: 0,
    }]
}

/// What came of serving this guest. When that failed, who waits goes on all the same: a test fails then, and does not hang.
fn released(guest: &GuestMemory, came: Came) -> Came {
    if came.is_err() {
        let all = regions(guest)[0].addresses();
        guest.userfault().unregister(all).ok();
    }
    came
}

/// Serves the guest in a thread of its own while `work` uses it, and says what came of both. A server that leaves alone what nobody
/// touches is served out when that has ended.
fn served<T>(
    guest: &GuestMemory,
    image: &dyn PageSource,
    (fill, first): (Fill, Vec<u64>),
    work: impl FnOnce(&GuestMemory) -> T,
) -> (Came, T) {
    let (vmm, peer) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            let regions = regions(guest);
            let server = PageServer::new(guest.userfault(), &regions, image, &as_written, first);
            let came = match fill {
                Fill::All => server.serve(&peer),
                Fill::Recorded => server.on_demand().serve(&peer),
            };
            released(guest, came)
        });
        let worked = work(guest);
        let vmm = (fill == Fill::All).then_some(vmm);
        let came = server.join().unwrap();
        drop(vmm);
        (came, worked)
    })
}

#[test]
fn every_page_is_what_the_image_has_and_then_it_is_let_go() {
    for image in both(16 * MIB) {
        let guest = GuestMemory::of(16 * MIB);
        let (served, wrong) = served(&guest, &*image, (Fill::All, Vec::new()), |guest| {
            // In an order that is nobody's.
            let pages = (0..4096_u64).map(|turn| turn * 1709 % 4096);
            pages
                .filter(|page| guest.read(page * PAGE + 7) != expected(*page))
                .count()
        });
        assert_eq!(wrong, 0, "{image:?}");
        assert_eq!(served.unwrap().end, End::Filled);
        // Nobody serves it any more.
        assert_eq!(guest.read(5 * PAGE), expected(5));
        guest.give_back(0, 64 * PAGE);
        assert_eq!(guest.read(5 * PAGE), 0);
    }
}

#[test]
fn what_nobody_touches_is_brought_all_the_same() {
    for image in both(8 * MIB) {
        let guest = GuestMemory::of(8 * MIB);
        let (served, ()) = served(&guest, &*image, (Fill::All, Vec::new()), |_| ());
        let served = served.unwrap();
        assert_eq!((served.end, served.faults), (End::Filled, 0));
        assert!((0..2048).all(|page| guest.read(page * PAGE) == expected(page)));
    }
}

#[test]
fn on_demand_nothing_is_brought_but_what_is_touched() {
    for image in both(8 * MIB) {
        let guest = GuestMemory::of(8 * MIB);
        let (served, brought) = served(&guest, &*image, (Fill::Recorded, Vec::new()), |guest| {
            for page in (0..48).chain([1024]) {
                assert_eq!(guest.read(page * PAGE), expected(page), "page {page}");
            }
            // So long that it sleeps.
            thread::sleep(Duration::from_millis(20));
            assert_eq!(guest.read(1030 * PAGE), expected(1030));
            guest.brought()
        });
        assert_eq!(brought, 50 * PAGE, "{image:?}");
        let served = served.unwrap();
        assert_eq!((served.end, served.faults), (End::Gone, 50));
    }
}

#[test]
fn what_was_touched_first_is_remembered_in_its_order_and_brought_ahead() {
    for image in both(16 * MIB) {
        // Holes are among them.
        let touched: Vec<u64> = (0..2000).map(|turn| turn * 769 % 4096 * PAGE).collect();
        let touch = |guest: &GuestMemory| {
            for at in &touched {
                assert_eq!(guest.read(*at), expected(at / PAGE));
            }
        };
        let guest = GuestMemory::of(16 * MIB);
        let (once, ()) = served(&guest, &*image, (Fill::Recorded, Vec::new()), touch);
        let once = once.unwrap();
        assert_eq!(once.first, touched);

        let again = GuestMemory::of(16 * MIB);
        let all = touched.len() as u64 * PAGE;
        let (served, ()) = served(&again, &*image, (Fill::Recorded, once.first), |again| {
            let began = Instant::now();
            while again.brought() < all {
                assert!(began.elapsed() < LONG, "{} came", again.brought());
                thread::sleep(Duration::from_millis(1));
            }
            touch(again);
        });
        let served = served.unwrap();
        assert_eq!((served.first, served.faults), (touched, 0));
        assert_eq!(again.brought(), all);
    }
}

/// A balloon: what is given back is zeros from then on, whatever the image has there, also while all else is being brought.
#[test]
fn what_is_given_back_is_zeros_and_nothing_else_is_lost() {
    for image in both(64 * MIB) {
        let guest = GuestMemory::of(64 * MIB);
        let (served, given) = served(&guest, &*image, (Fill::All, Vec::new()), |guest| {
            let mut given = BTreeSet::new();
            for turn in 0..200_u64 {
                let page = turn * 1543 % 16_000;
                guest.give_back(page * PAGE, 3 * PAGE);
                given.extend(page..page + 3);
                assert_eq!(guest.read(page * PAGE), 0, "page {page}");
                assert_eq!(guest.read((page + 2) * PAGE), 0, "page {page} + 2");
            }
            given
        });
        assert_eq!(served.unwrap().end, End::Filled);
        let wrong = (0..16_384).filter(|page| {
            let is_given = given.contains(page);
            guest.read(page * PAGE) != if is_given { 0 } else { expected(*page) }
        });
        assert_eq!(wrong.count(), 0);
    }
}

/// What a guest has written stays, whatever is brought around it and whatever a record says of it.
#[test]
fn nothing_is_brought_over_what_was_written() {
    for image in both(8 * MIB) {
        let guest = GuestMemory::of(8 * MIB);
        let record = (0..2048).map(|page| page * PAGE).collect();
        let (served, ()) = served(&guest, &*image, (Fill::All, record), |guest| {
            for page in (0..2048).step_by(5) {
                guest.write(page * PAGE, 0xEE);
            }
        });
        assert_eq!(served.unwrap().end, End::Filled);
        for page in 0..2048 {
            let wanted = if page % 5 == 0 { 0xEE } else { expected(page) };
            assert_eq!(guest.read(page * PAGE), wanted, "page {page}");
        }
    }
}

/// Many who wait at once, for the same pages, too: all go on.
#[test]
fn nobody_waits_for_ever() {
    for image in both(32 * MIB) {
        let guest = GuestMemory::of(32 * MIB);
        let (served, ()) = served(&guest, &*image, (Fill::All, Vec::new()), |guest| {
            thread::scope(|scope| {
                for thread in 0..8_u64 {
                    scope.spawn(move || {
                        for turn in 0..2000_u64 {
                            let page = (turn * 4099 + thread / 2) % 8192;
                            assert_eq!(guest.read(page * PAGE), expected(page));
                        }
                    });
                }
            });
        });
        assert_eq!(served.unwrap().end, End::Filled);
    }
}

/// Somebody else has brought some of it: all around that is brought nevertheless.
#[test]
fn what_is_there_already_stays_and_keeps_nothing_back() {
    for image in both(MIB) {
        let guest = GuestMemory::of(MIB);
        // The first of a stretch and one within, of data and of a hole.
        let others = [5, 16, 48, 53];
        for page in others {
            guest.fill_silently(page * PAGE, 77);
        }
        let record = (0..256).map(|page| page * PAGE).collect();
        let (served, brought) = served(&guest, &*image, (Fill::Recorded, record), |guest| {
            let began = Instant::now();
            while guest.brought() < MIB && began.elapsed() < LONG {
                thread::sleep(Duration::from_millis(1));
            }
            for page in 0..256 {
                let is_other = others.contains(&page);
                let wanted = if is_other { 77 } else { expected(page) };
                assert_eq!(guest.read(page * PAGE), wanted, "page {page}");
            }
            guest.brought()
        });
        assert_eq!((brought, served.unwrap().faults), (MIB, 0));
    }
}

/// A VMM without a balloon does not tell what it gives back.
#[test]
fn what_went_untold_is_zeros() {
    let [image, _] = both(MIB);
    let guest = GuestMemory::untold(MIB);
    let on_demand = (Fill::Recorded, Vec::new());
    let (served, bytes) = served(&guest, &*image, on_demand, |guest| {
        let (told, heard) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let before = guest.read(8 * PAGE);
                guest.give_back(8 * PAGE, PAGE);
                told.send((before, guest.read(8 * PAGE))).unwrap();
            });
            let bytes = heard.recv_timeout(LONG);
            // It ends in either case.
            guest
                .userfault()
                .unregister(regions(guest)[0].addresses())
                .unwrap();
            bytes
        })
    });
    assert_eq!(bytes, Ok((expected(8), 0)));
    assert_eq!(served.unwrap().end, End::Gone);
}

/// Somebody else has brought the page that is waited for, and has told nobody.
#[test]
fn who_waits_for_a_page_that_is_there_already_is_woken() {
    let [image, _] = both(MIB);
    let guest = GuestMemory::of(MIB);
    let (told, heard) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| told.send(guest.read(3 * PAGE)).unwrap());
        let mut asked = [PollFd::new(guest.userfault(), PollFlags::IN)];
        let long = Timespec::try_from(LONG).unwrap();
        assert_eq!(poll(&mut asked, Some(&long)).unwrap(), 1);
        guest.fill_silently(3 * PAGE, 77);
        let on_demand = (Fill::Recorded, Vec::new());
        let (served, byte) = served(&guest, &*image, on_demand, |_| heard.recv_timeout(LONG));
        // It ends in either case.
        guest
            .userfault()
            .wake(regions(&guest)[0].addresses())
            .unwrap();
        assert_eq!(byte, Ok(77));
        assert_eq!(served.unwrap().faults, 1);
    });
}

/// A page is brought between the moment in which its removal was told and the one in which it goes.
#[test]
fn who_touches_what_is_just_being_given_back_goes_on() {
    const TURNS: usize = 20_000;
    let [image, _] = both(MIB);
    let guest = GuestMemory::of(MIB);
    let on_demand = (Fill::Recorded, Vec::new());
    let (served, done) = served(&guest, &*image, on_demand, |guest| {
        let (told, heard) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..TURNS {
                    guest.touch(8 * PAGE);
                }
                told.send(()).unwrap();
            });
            for _ in 0..TURNS {
                guest.give_back(8 * PAGE, PAGE);
            }
            let done = heard.recv_timeout(LONG);
            // It ends in either case.
            drop(guest.userfault().unregister(regions(guest)[0].addresses()));
            done
        })
    });
    assert_eq!(done, Ok(()));
    assert_eq!(served.unwrap().end, End::Gone);
}
