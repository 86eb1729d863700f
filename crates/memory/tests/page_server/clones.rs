//! Many clones of one image.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use rustix::fs::{Advice, fadvise};
use wrenn_memory::page_server::{End, PageServer, PageSource};
use wrenn_testkit::guest_memory::GuestMemory;

use super::images::{as_written, expected, packed, sparse};
use super::{MIB, PAGE, regions, released};

const CLONES: usize = 100;
const LEN: u64 = 4 * MIB;
/// Three pages of four have data.
const DATA: u64 = LEN / 4 * 3;

/// What this thread has had read from a disk, in bytes.
fn read_by_this_thread() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    line.unwrap().parse().unwrap()
}

/// What the disk has of these files is read from it the next time.
fn make_cold(files: &[&File]) {
    for file in files {
        file.sync_all().unwrap();
        fadvise(file, 0, None, Advice::DontNeed).unwrap();
    }
}

/// Serves all clones at once, each of which touches some of it, and returns what was read from the disk for all together.
fn read_for_clones(image: &dyn PageSource) -> u64 {
    thread::scope(|scope| {
        let clones: Vec<_> = (0..CLONES)
            .map(|clone| {
                scope.spawn(move || {
                    let guest = GuestMemory::of(LEN);
                    let (_vmm, peer) = UnixStream::pair().unwrap();
                    thread::scope(|scope| {
                        let touched = scope.spawn(|| {
                            let pages = (0..40).map(|turn| (turn * 211 + clone as u64) % 1024);
                            pages
                                .filter(|page| guest.read(page * PAGE) != expected(*page))
                                .count()
                        });
                        let regions = regions(&guest);
                        let before = read_by_this_thread();
                        let server = PageServer::new(
                            guest.userfault(),
                            &regions,
                            image,
                            &as_written,
                            Vec::new(),
                        );
                        let served = released(&guest, server.serve(&peer)).unwrap();
                        assert_eq!((served.end, touched.join().unwrap()), (End::Filled, 0));
                        read_by_this_thread() - before
                    })
                })
            })
            .collect();
        clones.into_iter().map(|clone| clone.join().unwrap()).sum()
    })
}

/// What these files have on the disk, in bytes.
fn allocated(files: &[&File]) -> u64 {
    let blocks = files.iter().map(|file| file.metadata().unwrap().blocks());
    blocks.sum::<u64>() * 512
}

#[test]
fn what_many_clones_need_is_read_from_the_disk_once() {
    // On a disk, which a folder for temporary files need not be.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let image = sparse(folder, LEN);
    let (packs, reader) = packed(folder, LEN);
    let forms: [(&dyn PageSource, Vec<&File>); 2] =
        [(&image, vec![&image]), (&reader, packs.iter().collect())];
    for (form, files) in forms {
        make_cold(&files);
        let read = read_for_clones(form);
        // The disk reads ahead what nobody needs, and where the files' blocks are.
        let most = allocated(&files) + (128 << 10);
        assert!((DATA..=most).contains(&read), "{read} of {most} bytes");
    }
}
