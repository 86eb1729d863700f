//! The page server beside others that serve the same memory to the same client, one thread each.
//!
//! Faults a second, with nothing brought but what is touched: ours, a loop that does nothing but UFFDIO_COPY out of a mapped
//! file, and, if `UFFD_HANDLER` names a program, that: Firecracker's example `uffd_on_demand_handler`, or another that takes a
//! socket and a memory file. Beside these, pages a second that the same client touches where we serve as we serve guests, with
//! the rest brought while nobody waits.
//!
//! How long until a guest has touched its working set, 64 MiB scattered over 2 GiB: with and without its record, with the image in
//! the page cache and on the disk.
//!
//! The images are made in `TMPDIR`, which wants to be on a disk.
#![allow(unsafe_code, reason = "the loop by hand copies out of a mapped file")]

use std::error::Error;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use rustix::io::ioctl_fionbio;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use wrenn_memory::page_server::{PageServer, Region};
use wrenn_sys::uffd::Event;
use wrenn_testkit::guest_memory::GuestMemory;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// What is touched whole.
const SMALL: u64 = 128 * MIB;
const SMALL_ROUNDS: usize = 25;
/// What has a working set.
const LARGE: u64 = 2048 * MIB;
/// How many pages that has.
const WORKING_SET: u64 = 64 * MIB / PAGE;
const ROUNDS: usize = 7;
/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// A prime, so that a walk by it comes to every page once.
const STRIDE: u64 = 40_009;

fn main() -> Result<()> {
    let folder = std::env::temp_dir();
    let handler = std::env::var_os("UFFD_HANDLER");
    faults(&folder, handler.as_deref().map(Path::new))?;
    if std::env::var_os("FAULTS").is_some() {
        return Ok(());
    }
    working_set(&folder)
}

/// A file no block of which is like another, and none zero.
fn image(folder: &Path, len: u64) -> Result<tempfile::NamedTempFile> {
    let mut image = tempfile::NamedTempFile::new_in(folder)?;
    let mut word = 0x9E37_79B9_7F4A_7C15_u64;
    let mut piece = Vec::with_capacity(usize::try_from(MIB)?);
    for _ in 0..len / MIB {
        piece.clear();
        while (piece.len() as u64) < MIB {
            // Xorshift, by Marsaglia.
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            piece.extend(word.to_ne_bytes());
        }
        image.write_all(&piece)?;
    }
    image.as_file().sync_all()?;
    image.rewind()?;
    Ok(image)
}

fn faults(folder: &Path, handler: Option<&Path>) -> Result<()> {
    let image = image(folder, SMALL)?;
    let (mut ours, mut whole, mut bare, mut theirs) = (vec![], vec![], vec![], vec![]);
    // Whatever has to be read first is.
    by_hand(image.as_file())?;
    for _ in 0..SMALL_ROUNDS {
        ours.push(by_us(image.as_file(), Rest::Left)?);
        whole.push(by_us(image.as_file(), Rest::Brought)?);
        bare.push(by_hand(image.as_file())?);
        if let Some(handler) = handler {
            theirs.push(by_handler(handler, image.path())?);
        }
    }
    println!("faults a second: {:.0}", rate(&ours));
    println!("pages a second, the rest brought: {:.0}", rate(&whole));
    let beside = |name, others: &[Duration]| {
        let (alone, with_rest) = (ratio(others, &ours), ratio(others, &whole));
        println!(
            "  by {name}: {:.0}, ratio {alone:.2}, with the rest brought {with_rest:.2}",
            rate(others)
        );
    };
    beside("hand", &bare);
    match handler {
        Some(_) => beside("the handler", &theirs),
        None => println!("  by another handler: not measured, UFFD_HANDLER names none"),
    }
    Ok(())
}

fn rate(times: &[Duration]) -> f64 {
    (SMALL / PAGE) as f64 / median(times.iter().map(Duration::as_secs_f64))
}

/// How many times as long the first took, each beside the one that ran next to it.
fn ratio(first: &[Duration], second: &[Duration]) -> f64 {
    let pairs = first.iter().zip(second);
    median(pairs.map(|(first, second)| first.as_secs_f64() / second.as_secs_f64()))
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn working_set(folder: &Path) -> Result<()> {
    let image = image(folder, LARGE)?;
    let image = image.as_file();
    let touched: Vec<u64> = (0..WORKING_SET)
        .map(|turn| turn * STRIDE % (LARGE / PAGE) * PAGE)
        .collect();
    for cold in [false, true] {
        let (mut with, mut without) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            for (record, times) in [(&[][..], &mut without), (&touched[..], &mut with)] {
                prepare(image, cold)?;
                times.push(touch_all(image, &touched, record)?);
            }
        }
        let place = if cold {
            "on the disk"
        } else {
            "in the page cache"
        };
        let milliseconds =
            |times: &[Duration]| 1000.0 * median(times.iter().map(Duration::as_secs_f64));
        println!(
            "64 MiB of 2 GiB touched, {place}: {:.0} ms with a record, {:.0} ms without, ratio {:.1}",
            milliseconds(&with),
            milliseconds(&without),
            ratio(&without, &with)
        );
    }
    Ok(())
}

/// Has the page cache have none of the image, or all.
fn prepare(image: &File, cold: bool) -> Result<()> {
    if cold {
        fadvise(image, 0, None, Advice::DontNeed)?;
        return Ok(());
    }
    let mut piece = vec![0; usize::try_from(MIB)?];
    for at in (0..LARGE).step_by(piece.len()) {
        image.read_exact_at(&mut piece, at)?;
    }
    Ok(())
}

fn region(guest: &GuestMemory) -> [Region; 1] {
    [Region {
        address: guest.address(),
        len: guest.len(),
        offset: 0,
    }]
}

/// How long a guest that begins at once takes to touch these pages.
fn touch_all(image: &File, touched: &[u64], record: &[u64]) -> Result<Duration> {
    let guest = GuestMemory::of(LARGE);
    let (vmm, peer) = UnixStream::pair()?;
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let regions = region(&guest);
            let record = record.to_vec();
            PageServer::new(guest.userfault(), &regions, image, &|_, _| true, record).serve(&peer)
        });
        let began = Instant::now();
        touched.iter().for_each(|at| guest.touch(*at));
        let took = began.elapsed();
        drop(vmm);
        server.join().map_err(|_| "the server panicked")??;
        Ok(took)
    })
}

/// How long until all pages were touched, in an order that is nobody's. The first shows that there is somebody who serves.
fn walk(guest: &GuestMemory) -> Duration {
    guest.touch(0);
    let began = Instant::now();
    (1..SMALL / PAGE).for_each(|turn| guest.touch(turn * STRIDE % (SMALL / PAGE) * PAGE));
    began.elapsed()
}

/// What becomes of what nobody has touched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Left,
    Brought,
}

fn by_us(image: &File, rest: Rest) -> Result<Duration> {
    let guest = GuestMemory::of(SMALL);
    let (vmm, peer) = UnixStream::pair()?;
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let regions = region(&guest);
            let server =
                PageServer::new(guest.userfault(), &regions, image, &|_, _| true, Vec::new());
            match rest {
                Rest::Left => server.on_demand().serve(&peer),
                Rest::Brought => server.serve(&peer),
            }
        });
        let took = walk(&guest);
        drop(vmm);
        let served = server.join().map_err(|_| "the server panicked")??;
        assert!(rest == Rest::Brought || served.faults == SMALL / PAGE);
        Ok(took)
    })
}

/// A mapped file.
struct Mapped<'a>(&'a [u8]);

impl Mapped<'_> {
    fn all_of(file: &File) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        let len = usize::try_from(SMALL)?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, flags, file, 0) }?;
        // SAFETY: it is mapped until this is dropped, and nobody writes to the file.
        Ok(Self(unsafe {
            std::slice::from_raw_parts(start.cast_const().cast(), len)
        }))
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        // SAFETY: it is what was mapped, and nobody uses it any more.
        let unmapped = unsafe { munmap(self.0.as_ptr().cast_mut().cast(), self.0.len()) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The same with nothing around the requests.
fn by_hand(image: &File) -> Result<Duration> {
    let guest = GuestMemory::of(SMALL);
    let mapped = Mapped::all_of(image)?;
    // Reading it is waiting for it.
    ioctl_fionbio(guest.userfault(), false)?;
    thread::scope(|scope| {
        let server = scope.spawn(|| -> Result<()> {
            let mut events = Vec::new();
            let mut left = SMALL / PAGE;
            while left > 0 {
                events.clear();
                guest.userfault().events(&mut events)?;
                for event in &events {
                    if let Event::Fault { address } = event {
                        let address = address & !(PAGE - 1);
                        let at = usize::try_from(address - guest.address())?;
                        guest.userfault().copy(address, &mapped.0[at..at + 4096])?;
                        left -= 1;
                    }
                }
            }
            Ok(())
        });
        let took = walk(&guest);
        server.join().map_err(|_| "the loop panicked")??;
        Ok(took)
    })
}

/// A program that is ended when this is.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs this says which program"
)]
fn by_handler(handler: &Path, image: &Path) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("socket");
    let guest = GuestMemory::of(SMALL);
    let _running = Running(Command::new(handler).arg(&socket).arg(image).spawn()?);
    let began = Instant::now();
    let stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    };
    guest.hand_over(&stream);
    Ok(walk(&guest))
}
