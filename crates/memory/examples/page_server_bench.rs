//! The page server beside a loop that does nothing but UFFDIO_COPY, both with one thread that serves and one that touches, page by
//! page in an order that is nobody's; and how long until a working set of 64 MiB is touched, with and without its record.
#![allow(unsafe_code, reason = "the memory of a guest has to be mapped")]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use wrenn_memory::page_server::{PageServer, Region, Served};
use wrenn_sys::extents::Extent;
use wrenn_sys::uffd::{Event, Userfault};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PAGE: u64 = 4096;
const LEN: u64 = 512 << 20;
const ROUNDS: usize = 5;
/// A prime, so that a walk by it comes to every page once.
const STRIDE: u64 = 40_009;

/// A guest's memory, mapped here and registered.
struct Guest {
    start: *mut u8,
    memory: Userfault,
}

// SAFETY: the memory is anyone's to read, and nobody writes to it.
unsafe impl Sync for Guest {}

impl Guest {
    fn new() -> Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        let len = usize::try_from(LEN)?;
        // SAFETY: new memory at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, protection, flags) }?;
        let guest = Self {
            start: start.cast(),
            memory: Userfault::new()?,
        };
        guest.memory.register(Extent {
            start: guest.address(),
            len: LEN,
        })?;
        Ok(guest)
    }

    fn address(&self) -> u64 {
        self.start.addr() as u64
    }

    fn touch(&self, page: u64) {
        let at = usize::try_from(page % (LEN / PAGE) * PAGE).unwrap_or(0);
        // SAFETY: it is within what is mapped.
        unsafe { self.start.add(at).read_volatile() };
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: it is what was mapped, and nobody uses it any more.
        let unmapped = unsafe { munmap(self.start.cast(), usize::try_from(LEN).unwrap_or(0)) };
        debug_assert!(unmapped.is_ok());
    }
}

fn main() -> Result<()> {
    let image = tempfile::tempfile()?;
    let piece = vec![7; 1 << 20];
    for at in (0..LEN).step_by(piece.len()) {
        image.write_all_at(&piece, at)?;
    }
    // Whatever has to be read first has been.
    by_hand(&image)?;
    let (mut ours, mut bare, mut with, mut without) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        ours.push(whole(&image)?);
        bare.push(by_hand(&image)?);
        let (took, served) = working_set(&image, Vec::new())?;
        without.push(took);
        with.push(working_set(&image, served.first)?.0);
    }
    let rate = |took: Duration| (LEN / PAGE) as f64 / took.as_secs_f64();
    let (ours, bare) = (median(ours), median(bare));
    println!(
        "{:.0} pages a second, by hand {:.0}, ratio {:.2}",
        rate(ours),
        rate(bare),
        bare.as_secs_f64() / ours.as_secs_f64()
    );
    let (with, without) = (median(with), median(without));
    println!(
        "a working set of 64 MiB is touched after {with:.1?} with its record, {without:.1?} without, ratio {:.1}",
        without.as_secs_f64() / with.as_secs_f64()
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// How long until every page was touched.
fn whole(image: &File) -> Result<Duration> {
    let guest = Guest::new()?;
    let touch = |guest: &Guest| (0..LEN / PAGE).for_each(|turn| guest.touch(turn * STRIDE));
    Ok(served(&guest, image, Vec::new(), touch)?.0)
}

/// How long until a guest has touched what it works with, which it begins with a moment after it was restored.
fn working_set(image: &File, first: Vec<u64>) -> Result<(Duration, Served)> {
    const MOMENT: Duration = Duration::from_millis(100);
    let guest = Guest::new()?;
    let touch = |guest: &Guest| {
        std::thread::sleep(MOMENT);
        (0..16_384).for_each(|turn| guest.touch(turn * STRIDE));
    };
    let (took, served) = served(&guest, image, first, touch)?;
    Ok((took.saturating_sub(MOMENT), served))
}

fn served(
    guest: &Guest,
    image: &File,
    first: Vec<u64>,
    touch: impl FnOnce(&Guest),
) -> Result<(Duration, Served)> {
    let (_vmm, peer) = UnixStream::pair()?;
    let regions = [Region {
        address: guest.address(),
        len: LEN,
        offset: 0,
    }];
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            PageServer::new(&guest.memory, &regions, image, &|_, _| true, first).serve(&peer)
        });
        let began = Instant::now();
        touch(guest);
        let took = began.elapsed();
        let served = server.join().map_err(|_| "the server panicked")??;
        Ok((took, served))
    })
}

/// The same with nothing around the requests.
fn by_hand(image: &File) -> Result<Duration> {
    let guest = Guest::new()?;
    std::thread::scope(|scope| {
        let server = scope.spawn(|| -> Result<()> {
            let (mut events, mut page) = (Vec::new(), [0; 4096]);
            let mut left = LEN / PAGE;
            while left > 0 {
                poll(&mut [PollFd::new(&guest.memory, PollFlags::IN)], None)?;
                events.clear();
                guest.memory.events(&mut events)?;
                for event in &events {
                    if let Event::Fault { address } = event {
                        let address = address & !(PAGE - 1);
                        image.read_exact_at(&mut page, address - guest.address())?;
                        guest.memory.copy(address, &page)?;
                        left -= 1;
                    }
                }
            }
            Ok(())
        });
        let began = Instant::now();
        (0..LEN / PAGE).for_each(|turn| guest.touch(turn * STRIDE));
        let took = began.elapsed();
        server.join().map_err(|_| "the loop panicked")??;
        Ok(took)
    })
}
