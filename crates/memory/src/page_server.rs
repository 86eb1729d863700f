//! The page server: a restored guest's memory, page by page, as it is touched.
//!
//! Its VMM registers that memory with userfaultfd and sends the descriptor. Whoever touches a page that is not there waits until
//! this has brought it from the image. What was touched first the last time is brought ahead, in the same order; all else that
//! the image has follows while nobody waits. Then the memory is let go: what is still missing reads as zeros, which is what the
//! image has there, and this ends.
//!
//! ```text
//!   faults ──► the page, at once            a page of the image that fails its sum ends all: nobody is given it
//!   nothing to tell ──► what was touched first the last time ──► the rest ──► let go
//!   removed ──► from now on zeros           by a balloon, whatever the image has there
//! ```

mod pages;
mod regions;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wrenn_sys::extents::Extent;
use wrenn_sys::uffd::{Event, Filled, Userfault};

use crate::PAGE;
use crate::sparse::next_data;
use pages::Pages;
pub use regions::{Region, RegionError, parse_regions};

/// How much is brought at once while nobody waits, in bytes: little enough that who waits then does not wait for it.
const PIECE: usize = 64 << 10;
/// How long it is listened for what was begun before all was let go.
const LAST_WORDS: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// How many pages of what was touched first are remembered: 64 MiB.
const REMEMBERED: usize = 16 << 10;

/// Why a page server gave up. Its guest waits for ever then: it has to be ended.
#[derive(Debug, thiserror::Error)]
pub enum PageServerError {
    /// The image could not be read.
    #[error("could not read the memory image at {at:#x}")]
    Image {
        /// Where, as an offset in the image.
        at: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// What stands in the image is not what was written there.
    #[error("the memory image is damaged at {at:#x}")]
    Damaged {
        /// Where, as an offset in the image.
        at: u64,
    },
    /// Somebody waits for a page that is no guest's memory.
    #[error("a fault at {address:#x}, which is in no region")]
    Stray {
        /// The address.
        address: u64,
    },
    /// The kernel refused.
    #[error("could not {doing} the guest's memory")]
    Memory {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, PageServerError>;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All that the image has is there: the memory needs nobody any more.
    Filled,
    /// The VMM has gone.
    Gone,
}

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// How it ended.
    pub end: End,
    /// The offsets of the pages that were touched first, in order: what was told before, and what faulted beside that.
    pub first: Vec<u64>,
    /// How often somebody waited for a page.
    pub faults: u64,
}

/// Says whether these bytes are what was written at this offset of the image.
pub type Check<'a> = dyn Fn(u64, &[u8]) -> bool + 'a;

/// Serves one guest.
#[derive(Debug)]
pub struct PageServer<'a> {
    memory: &'a Userfault,
    regions: &'a [Region],
    image: &'a File,
    check: NoDebug<'a>,
    /// By their number in the image.
    there: Pages,
    removed: Pages,
    first: Vec<u64>,
    faults: u64,
    buffer: Vec<u8>,
}

struct NoDebug<'a>(&'a Check<'a>);

impl std::fmt::Debug for NoDebug<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check")
    }
}

/// What became of a page that was to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    Yes,
    /// Events have to be read first.
    Later,
    Gone,
}

impl<'a> PageServer<'a> {
    /// For the memory in these regions, which begins as this image. `first` is what was touched first the last time, by offset.
    #[must_use]
    pub fn new(
        memory: &'a Userfault,
        regions: &'a [Region],
        image: &'a File,
        check: &'a Check<'a>,
        first: Vec<u64>,
    ) -> Self {
        let end = regions.iter().map(|region| region.offset + region.len);
        let pages = end.max().unwrap_or(0).div_ceil(PAGE);
        let mut first = first;
        first.retain(|at| at % PAGE == 0 && *at < pages * PAGE);
        first.truncate(REMEMBERED);
        Self {
            memory,
            regions,
            image,
            check: NoDebug(check),
            there: Pages::none_of(pages),
            removed: Pages::none_of(pages),
            first,
            faults: 0,
            buffer: vec![0; PIECE],
        }
    }

    /// Serves until all is there or the VMM, at the other end of `peer`, has gone.
    ///
    /// # Errors
    /// Nobody is served any more, and the guest has to be ended.
    pub fn serve(mut self, peer: impl AsFd) -> Result<Served> {
        let end = self.run(peer.as_fd())?;
        Ok(Served {
            end,
            first: self.first,
            faults: self.faults,
        })
    }

    fn run(&mut self, peer: BorrowedFd<'_>) -> Result<End> {
        let mut waiting = VecDeque::new();
        let mut events = Vec::new();
        let mut ahead = self.first.clone().into_iter();
        let (mut rest, mut piece) = (0, None);
        loop {
            if self.has_gone(peer)? {
                return Ok(End::Gone);
            }
            self.listen(&mut events, &mut waiting)?;
            if let Some(address) = waiting.pop_front() {
                match self.answer(address)? {
                    Brought::Yes => {}
                    Brought::Later => waiting.push_front(address),
                    Brought::Gone => return Ok(End::Gone),
                }
                continue;
            }
            // One that could not be brought whole is tried again: at the end nothing of the image may be missing.
            let next = match piece.take() {
                Some(again) => Some(again),
                None => self.next_piece(&mut ahead, &mut rest)?,
            };
            let Some(next) = next else {
                return self.let_go();
            };
            match self.bring(next)? {
                Brought::Yes => {}
                Brought::Later => piece = Some(next),
                Brought::Gone => return Ok(End::Gone),
            }
        }
    }

    /// Reads what is told. What is removed counts before what is waited for: a page that is both is zeros.
    fn listen(&mut self, events: &mut Vec<Event>, waiting: &mut VecDeque<u64>) -> Result<()> {
        events.clear();
        let read = self.memory.events(events);
        read.map_err(memory("hear of"))?;
        for event in events {
            match *event {
                Event::Fault { address } => waiting.push_back(address & !(PAGE - 1)),
                Event::Removed(range) => self.forget(range),
                Event::Other => {}
            }
        }
        Ok(())
    }

    fn forget(&mut self, range: Extent) {
        for region in self.regions {
            if let Some(offsets) = region.offsets(range) {
                self.there.remove(offsets);
                self.removed.insert(offsets);
            }
        }
    }

    /// Somebody waits for this page.
    fn answer(&mut self, address: u64) -> Result<Brought> {
        let offset = self
            .regions
            .iter()
            .find_map(|region| region.offset_of(address));
        let at = offset.ok_or(PageServerError::Stray { address })?;
        self.faults += 1;
        if self.there.has(at) {
            // It came while they began to wait.
            self.memory
                .wake(page(address))
                .map_err(memory("wake who waits for"))?;
            return Ok(Brought::Yes);
        }
        if self.first.len() < REMEMBERED {
            self.first.push(at);
        }
        if self.removed.has(at) || self.is_hole(page(at))? {
            return self.zero(address, at);
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        let brought = self
            .read(page(at), &mut bytes)
            .and_then(|bytes| self.copy(address, at, bytes));
        self.buffer = bytes;
        brought
    }

    /// Brings what of a piece is missing, with nobody waiting.
    fn bring(&mut self, piece: Extent) -> Result<Brought> {
        let mut bytes = std::mem::take(&mut self.buffer);
        let brought = self.bring_pages(piece, &mut bytes);
        self.buffer = bytes;
        brought
    }

    fn bring_pages(&mut self, piece: Extent, buffer: &mut [u8]) -> Result<Brought> {
        let bytes = self.read(piece, buffer)?;
        let pages = bytes.chunks(usize::try_from(PAGE).unwrap_or(usize::MAX));
        for (at, page) in (piece.start..)
            .step_by(usize::try_from(PAGE).unwrap_or(1))
            .zip(pages)
        {
            if self.there.has(at) || self.removed.has(at) {
                continue;
            }
            let address = self.regions.iter().find_map(|region| region.address_of(at));
            let Some(address) = address else { continue };
            match self.copy(address, at, page)? {
                Brought::Yes => {}
                other => return Ok(other),
            }
        }
        Ok(Brought::Yes)
    }

    /// The bytes of a piece, each page of which is what was written there.
    fn read<'b>(&self, piece: Extent, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        let len = usize::try_from(piece.len)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let bytes = &mut buffer[..len];
        let at = piece.start;
        let read = self.image.read_exact_at(bytes, at);
        read.map_err(|source| PageServerError::Image { at, source })?;
        match (self.check.0)(at, bytes) {
            true => Ok(bytes),
            false => Err(PageServerError::Damaged { at }),
        }
    }

    fn copy(&mut self, address: u64, at: u64, page: &[u8]) -> Result<Brought> {
        let filled = self.memory.copy(address, page);
        self.filled(filled.map_err(memory("fill"))?, address, at)
    }

    fn zero(&mut self, address: u64, at: u64) -> Result<Brought> {
        let filled = self.memory.zero(page(address));
        self.filled(filled.map_err(memory("fill"))?, address, at)
    }

    fn filled(&mut self, filled: Filled, address: u64, at: u64) -> Result<Brought> {
        match filled {
            Filled::Done => {}
            // Who waits for it is not woken by that.
            Filled::There => {
                let woken = self.memory.wake(page(address));
                woken.map_err(memory("wake who waits for"))?;
            }
            Filled::Later => return Ok(Brought::Later),
            Filled::Gone => return Ok(Brought::Gone),
        }
        self.there.insert(page(at));
        Ok(Brought::Yes)
    }

    fn is_hole(&self, page: Extent) -> Result<bool> {
        let data = next_data(self.image, page.start, page.end());
        let failed = |source| PageServerError::Image {
            at: page.start,
            source,
        };
        Ok(data.map_err(failed)?.is_none())
    }

    /// What comes next that nobody has asked for: a page that was touched first the last time, then what the image has, no more
    /// of it than is brought at once.
    fn next_piece(
        &self,
        ahead: &mut std::vec::IntoIter<u64>,
        rest: &mut u64,
    ) -> Result<Option<Extent>> {
        for at in ahead {
            // It may be a hole now.
            if !self.is_hole(page(at))? {
                return Ok(Some(page(at)));
            }
        }
        let end = self.there.len() * PAGE;
        let failed = |source| PageServerError::Image { at: *rest, source };
        let Some(data) = next_data(self.image, *rest, end).map_err(failed)? else {
            return Ok(None);
        };
        let start = data.start & !(PAGE - 1);
        let len = (data.end().next_multiple_of(PAGE) - start).min(PIECE as u64);
        *rest = start + len;
        Ok(Some(Extent { start, len }))
    }

    /// What is missing now is zeros, as in the image, and needs nobody to bring it.
    fn let_go(&self) -> Result<End> {
        for region in self.regions {
            let range = Extent {
                start: region.address,
                len: region.len,
            };
            self.memory.unregister(range).map_err(memory("let go of"))?;
        }
        // Who removed something waits until that is read, and may have begun to a moment ago.
        while self.is_told(LAST_WORDS)? {
            let read = self.memory.events(&mut Vec::new());
            read.map_err(memory("hear of"))?;
        }
        Ok(End::Filled)
    }

    /// Whether something is told within this time.
    fn is_told(&self, within: Timespec) -> Result<bool> {
        let mut asked = [PollFd::new(self.memory, PollFlags::IN)];
        poll(&mut asked, Some(&within)).map_err(|errno| memory("hear of")(errno.into()))?;
        Ok(asked[0].revents().contains(PollFlags::IN))
    }

    fn has_gone(&self, peer: BorrowedFd<'_>) -> Result<bool> {
        let mut asked = [PollFd::from_borrowed_fd(peer, PollFlags::empty())];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut asked, Some(&at_once)).map_err(|errno| memory("watch over")(errno.into()))?;
        let ended = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(asked[0].revents().intersects(ended))
    }
}

/// The page that begins here, at an address or in the image.
fn page(start: u64) -> Extent {
    Extent { start, len: PAGE }
}

fn memory(doing: &'static str) -> impl Fn(io::Error) -> PageServerError {
    move |source| PageServerError::Memory { doing, source }
}
