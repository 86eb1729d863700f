//! What is broken, and who lies: an error with a name, or nothing at all.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use wrenn_memory::page_server::{End, PageServer, PageServerError, PageSource, Region};
use wrenn_sys::uffd::Userfault;
use wrenn_testkit::guest_memory::GuestMemory;

use super::images::{as_written, both, expected, packed, place, sparse};
use super::{Came, Fill, LONG, MIB, PAGE, regions, served};

/// A page of the second MiB, which the second generation's pack has.
const DAMAGED: u64 = 300;

/// Both forms with one byte changed in one page.
fn damaged() -> [Box<dyn PageSource>; 2] {
    let folder = std::env::temp_dir();
    let image = sparse(&folder, 4 * MIB);
    image.write_all_at(&[0xFF], DAMAGED * PAGE + 99).unwrap();
    let ([_, pack], reader) = packed(&folder, 4 * MIB);
    pack.write_all_at(&[0xFF], place(&reader, DAMAGED) + 99)
        .unwrap();
    [Box::new(image), Box::new(reader)]
}

/// Serves until that fails, with regions that may lie.
fn fails(guest: &GuestMemory, regions: &[Region], image: &dyn PageSource, fill: Fill) -> Came {
    let (_vmm, peer) = UnixStream::pair().unwrap();
    let server = PageServer::new(guest.userfault(), regions, image, &as_written, Vec::new());
    match fill {
        Fill::All => server.serve(&peer),
        Fill::Recorded => server.on_demand().serve(&peer),
    }
}

/// As [`fails`], on demand, while somebody waits for this page; whom nobody serves then.
fn fails_for(guest: &GuestMemory, regions: &[Region], image: &dyn PageSource, page: u64) -> Came {
    let (told, heard) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || told.send(guest.read(page * PAGE)).unwrap());
        let came = fails(guest, regions, image, Fill::Recorded);
        assert!(heard.try_recv().is_err(), "nobody is given it");
        let all = super::regions(guest)[0].addresses();
        guest.userfault().unregister(all).unwrap();
        heard.recv_timeout(LONG).unwrap();
        came
    })
}

#[test]
fn a_damaged_page_is_given_to_nobody() {
    for image in damaged() {
        let guest = GuestMemory::of(4 * MIB);
        let of_all = fails(&guest, &regions(&guest), &*image, Fill::All);
        let guest = GuestMemory::of(4 * MIB);
        let waited_for = fails_for(&guest, &regions(&guest), &*image, DAMAGED);
        for came in [of_all, waited_for] {
            let is_right = matches!(
                came,
                Err(PageServerError::Damaged { at }) if at == DAMAGED * PAGE
            );
            assert!(is_right, "{came:?}, {image:?}");
        }
    }
}

#[test]
fn an_image_that_ends_early_is_an_error() {
    let folder = std::env::temp_dir();
    let image = sparse(&folder, 4 * MIB);
    let ([_, pack], reader) = packed(&folder, 4 * MIB);
    pack.set_len(place(&reader, DAMAGED) + 99).unwrap();
    let guest = GuestMemory::of(4 * MIB);
    let came = fails_for(&guest, &regions(&guest), &reader, DAMAGED);
    let is_right = matches!(came, Err(PageServerError::Image { at, .. }) if at == DAMAGED * PAGE);
    assert!(is_right, "{came:?}");
    // What is missing of a file is a hole as far as anybody knows: its length was compared before.
    image.set_len(DAMAGED * PAGE + 99).unwrap();
    let guest = GuestMemory::of(4 * MIB);
    let came = fails(&guest, &regions(&guest), &image, Fill::All);
    assert!(
        matches!(came, Err(PageServerError::Image { .. })),
        "{came:?}"
    );
}

#[test]
fn a_record_that_makes_no_sense_does_no_harm() {
    for image in both(MIB) {
        let guest = GuestMemory::of(MIB);
        let mut record = vec![7, u64::MAX, u64::MAX - 4095, MIB, 50 * PAGE, 0];
        // Longer than any, and of the same two pages.
        record.extend((0..100_000).map(|turn| turn % 2 * 50 * PAGE));
        let (served, ()) = served(&guest, &*image, (Fill::All, record), |_| ());
        assert_eq!(served.unwrap().first, [50 * PAGE, 0]);
        assert!((0..256).all(|page| guest.read(page * PAGE) == expected(page)));
    }
}

/// Nor does one that is right and longer than what is remembered.
#[test]
fn what_is_remembered_has_an_end() {
    let image = tempfile::tempfile().unwrap();
    let guest = GuestMemory::of(128 * MIB);
    let record = (0..32_768).map(|page| page * PAGE).collect();
    let (served, ()) = served(&guest, &image, (Fill::All, record), |guest| {
        guest.touch(100 * MIB);
    });
    assert_eq!(served.unwrap().first.len(), 16_384);
}

#[test]
fn a_fault_outside_of_the_regions_is_an_error() {
    let [image, _] = both(2 * MIB);
    let guest = GuestMemory::of(2 * MIB);
    let half = [Region {
        len: MIB,
        ..regions(&guest)[0]
    }];
    let came = fails_for(&guest, &half, &*image, 400);
    let wanted = guest.address() + 400 * PAGE;
    let is_right = matches!(came, Err(PageServerError::Stray { address }) if address == wanted);
    assert!(is_right, "{came:?}");
}

/// A region is elsewhere, or is longer than what the descriptor is for.
#[test]
fn regions_that_are_not_the_descriptors_are_an_error() {
    let [image, _] = both(2 * MIB);
    let guest = GuestMemory::of(MIB);
    let own = regions(&guest)[0];
    let longer = Region {
        len: 2 * MIB,
        ..own
    };
    let nowhere = Region {
        address: 1 << 46,
        ..own
    };
    // That another descriptor is for it older kernels (6.1) do not mind: it is the same VMM's.
    for lie in [longer, nowhere] {
        let came = fails(&guest, &[lie], &*image, Fill::All);
        let is_right = matches!(came, Err(PageServerError::Memory { .. }));
        assert!(is_right, "{came:?}");
    }
}

#[test]
fn what_is_no_userfaultfd_is_refused() {
    let (socket, _) = UnixStream::pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    let zeros = File::open("/dev/zero").unwrap();
    for descriptor in [socket.into(), file.into(), zeros.into()] {
        assert!(Userfault::received(descriptor).is_err());
    }
}

#[test]
fn it_ends_with_its_vmm() {
    for image in both(4 * MIB) {
        for fill in [Fill::All, Fill::Recorded] {
            let guest = GuestMemory::of(4 * MIB);
            let (vmm, peer) = UnixStream::pair().unwrap();
            drop(vmm);
            let regions = regions(&guest);
            let server = PageServer::new(
                guest.userfault(),
                &regions,
                &*image,
                &as_written,
                Vec::new(),
            );
            let came = match fill {
                Fill::All => server.serve(&peer),
                Fill::Recorded => server.on_demand().serve(&peer),
            };
            assert_eq!(came.unwrap().end, End::Gone);
        }
    }
}

/// The same memory is handed over to two: whoever is late finds that it is there, or that it was let go.
#[test]
fn two_who_serve_the_same_memory_bring_it_once() {
    for image in both(16 * MIB) {
        let guest = GuestMemory::of(16 * MIB);
        let descriptor = guest.userfault().as_fd().try_clone_to_owned().unwrap();
        let second = Userfault::received(descriptor).unwrap();
        let image = &*image;
        let serve = |userfault: &Userfault| {
            let (_vmm, peer) = UnixStream::pair().unwrap();
            let regions = regions(&guest);
            let server = PageServer::new(userfault, &regions, image, &as_written, Vec::new());
            server.serve(&peer)
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| serve(guest.userfault()));
            let second = scope.spawn(|| serve(&second));
            for page in (0..4096).rev() {
                assert_eq!(guest.read(page * PAGE), expected(page), "page {page}");
            }
            let came = [first.join().unwrap(), second.join().unwrap()];
            assert!(came.iter().any(Result::is_ok), "{came:?}");
            let late = came.iter().filter_map(|came| came.as_ref().err());
            for error in late {
                assert!(matches!(error, PageServerError::Memory { .. }), "{error:?}");
            }
        });
    }
}
