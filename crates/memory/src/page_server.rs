//! The page server: a restored guest's memory, page by page, as it is touched.
//!
//! Its VMM registers that memory with userfaultfd and sends the descriptor. Whoever touches a page that is not there waits until
//! this has brought it from the image. What was touched first the last time is brought ahead, in about that order; all else that
//! the image has follows while nobody waits. Then the memory is let go: what is still missing reads as zeros, which is what the
//! image has there, and this ends.
//!
//! ```text
//!   faults ──► the page, at once            a page of the image that fails its sum ends all: nobody is given it
//!   nothing to tell ──► what was touched first the last time ──► the rest ──► let go
//!   removed ──► from now on zeros           by a balloon, whatever the image has there
//! ```

mod error;
mod memory;
mod pages;
mod plan;
mod regions;
mod source;
mod waiting;

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wrenn_sys::extents::Extent;
use wrenn_sys::uffd::{Event, Userfault};

use crate::PAGE;
use crate::blocks::{Run, runs};
use error::{Result, refused, unreadable};
use memory::{Brought, Memory, STEP, Stretch};
use pages::Pages;
use plan::Plan;
use source::Data;
use waiting::Waiting;

pub use error::PageServerError;
pub use regions::{Region, RegionError, parse_regions};
pub use source::PageSource;

/// How much is brought at once while nobody waits, in bytes: little enough that who waits then does not wait for it.
const PIECE: usize = 64 << 10;
/// How many pages of what was touched first are remembered: 64 MiB.
const REMEMBERED: usize = 16 << 10;
/// How long until it is tried again to fill what could not be filled: as long as it takes to remove what is being removed.
const AGAIN: Timespec = of_nanoseconds(100_000);
/// How long it is listened for what was begun before all was let go.
const LAST_WORDS: Timespec = of_nanoseconds(100_000_000);
const AT_ONCE: Timespec = of_nanoseconds(0);

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
    /// The offsets of the pages that were touched first, each once, in order: what was told before, and what faulted beside that.
    pub first: Vec<u64>,
    /// How often somebody waited for a page.
    pub faults: u64,
}

/// Says whether these bytes are what was written at this offset of the image.
pub type Check<'a> = dyn Fn(u64, &[u8]) -> bool + 'a;

/// Serves one guest.
#[derive(Debug)]
pub struct PageServer<'a> {
    userfault: &'a Userfault,
    memory: Memory<'a>,
    image: &'a dyn PageSource,
    check: NoDebug<'a>,
    data: Data<'a>,
    /// How much of the image the regions have, in bytes.
    size: u64,
    on_demand: bool,
    remembered: Pages,
    first: Vec<u64>,
    faults: u64,
    events: Vec<Event>,
    waiting: Waiting,
    buffer: Vec<u8>,
}

struct NoDebug<'a>(&'a Check<'a>);

impl std::fmt::Debug for NoDebug<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check")
    }
}

/// What there is to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
    Gone,
}

impl<'a> PageServer<'a> {
    /// For the memory in these regions, which begins as this image: a sparse file, or packs. `first` is what was touched first the
    /// last time, by offset; what of it makes no sense is left out. What the image says is a hole is not checked.
    #[must_use]
    pub fn new(
        memory: &'a Userfault,
        regions: &'a [Region],
        image: &'a dyn PageSource,
        check: &'a Check<'a>,
        first: Vec<u64>,
    ) -> Self {
        let ends = regions.iter().map(|region| region.offset + region.len);
        let size = ends.max().unwrap_or(0).next_multiple_of(PAGE);
        let mut server = Self {
            userfault: memory,
            memory: Memory::new(memory, regions, size),
            image,
            check: NoDebug(check),
            data: Data::of(image, size),
            size,
            on_demand: false,
            remembered: Pages::none_of(size / PAGE),
            first: Vec::new(),
            faults: 0,
            events: Vec::new(),
            waiting: Waiting::nobody(size / PAGE),
            buffer: vec![0; PIECE],
        };
        for at in first {
            server.remember(at);
        }
        server
    }

    /// Leaves alone what is neither touched nor in the record, so that a guest takes no more memory than it works with. It is served
    /// as long as there is a VMM.
    #[must_use]
    pub fn on_demand(mut self) -> Self {
        self.on_demand = true;
        self
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
        let mut plan = Plan::new(self.image, self.size, &self.first, !self.on_demand);
        loop {
            let is_idle = self.waiting.first().is_none() && plan.first()?.is_none();
            let heard = self.hear(peer, is_idle && self.on_demand)?;
            if heard == Heard::Gone {
                return Ok(End::Gone);
            }
            let mut brought = self.answer_all()?;
            // What is recorded is as urgent: it will be waited for next.
            if brought == Brought::Yes && (heard == Heard::Nothing || plan.is_at_record()) {
                match plan.first()? {
                    Some(_) => brought = self.go_on(&mut plan)?,
                    None if self.on_demand => {}
                    None => return self.let_go(),
                }
            }
            match brought {
                Brought::Yes => {}
                Brought::Later => self.make_way()?,
                Brought::Gone => return Ok(End::Gone),
            }
        }
    }

    /// Whether the VMM has gone, and what is told. Who may sleep does so until something is.
    fn hear(&mut self, peer: BorrowedFd<'_>, may_sleep: bool) -> Result<Heard> {
        let within = (!may_sleep).then_some(&AT_ONCE);
        if self.poll(peer, within)? {
            return Ok(Heard::Gone);
        }
        let is_told = self.listen()?;
        Ok(if is_told {
            Heard::Something
        } else {
            Heard::Nothing
        })
    }

    /// Whether the VMM has gone, as soon as something is told or that is so.
    fn poll(&self, peer: BorrowedFd<'_>, within: Option<&Timespec>) -> Result<bool> {
        let mut asked = [
            PollFd::from_borrowed_fd(peer, PollFlags::empty()),
            PollFd::new(self.userfault, PollFlags::IN),
        ];
        match poll(&mut asked, within) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(refused("watch over")(errno.into())),
        }
        let ended = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(asked[0].revents().intersects(ended))
    }

    /// Reads what is told, and whether that is anything.
    fn listen(&mut self) -> Result<bool> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let read = self.userfault.events(&mut events);
        read.map_err(refused("hear of"))?;
        for event in &events {
            match *event {
                Event::Fault { address } => {
                    let page = self.memory.page(address & !(PAGE - 1))?;
                    self.waiting.add(page);
                }
                Event::Removed(range) => self.memory.forget(range),
                Event::Other => {}
            }
        }
        self.events = events;
        Ok(!self.events.is_empty())
    }

    /// Reads what has to be read before anything can be filled. Who removes something does so a moment after that was read.
    fn make_way(&mut self) -> Result<()> {
        if self.is_told(AGAIN)? {
            self.listen()?;
        }
        Ok(())
    }

    /// Whether something is told within this time.
    fn is_told(&self, within: Timespec) -> Result<bool> {
        let mut asked = [PollFd::new(self.userfault, PollFlags::IN)];
        match poll(&mut asked, Some(&within)) {
            Ok(told) => Ok(told > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(refused("hear of")(errno.into())),
        }
    }

    /// Brings all pages that somebody waits for.
    fn answer_all(&mut self) -> Result<Brought> {
        while let Some(page) = self.waiting.first() {
            let brought = self.answer(page)?;
            if brought != Brought::Yes {
                return Ok(brought);
            }
            self.waiting.first_is_served();
        }
        Ok(Brought::Yes)
    }

    fn answer(&mut self, page: Stretch) -> Result<Brought> {
        // One that was brought came while they began to wait, or went again at that moment: if it is missing, it is zeros.
        let was_there = self.memory.has(page.at);
        let brought = if was_there || self.memory.was_removed(page.at) {
            self.memory.zero(page)?
        } else {
            self.fill(page)?
        };
        if brought == Brought::Yes {
            self.faults += 1;
            if !was_there {
                self.remember(page.at);
            }
        }
        Ok(brought)
    }

    fn remember(&mut self, at: u64) {
        let is_page = at.is_multiple_of(PAGE) && at < self.size;
        if is_page && self.first.len() < REMEMBERED && !self.remembered.has(at) {
            self.remembered.insert(Extent {
                start: at,
                len: PAGE,
            });
            self.first.push(at);
        }
    }

    /// Brings what comes next, as much as is brought at once. What could not be brought whole is tried again: at the end nothing of
    /// the image may be missing.
    fn go_on(&mut self, plan: &mut Plan<'_>) -> Result<Brought> {
        let mut done = 0;
        while let Some(piece) = plan.first()?.filter(|_| done < PIECE as u64) {
            let brought = self.bring(piece)?;
            if brought != Brought::Yes {
                return Ok(brought);
            }
            plan.first_is_brought();
            done += piece.len;
        }
        Ok(Brought::Yes)
    }

    /// Brings what of a piece is missing, with nobody waiting.
    fn bring(&mut self, piece: Extent) -> Result<Brought> {
        while let Some(missing) = self.memory.missing(piece) {
            let brought = self.fill(missing)?;
            if brought != Brought::Yes {
                return Ok(brought);
            }
        }
        Ok(Brought::Yes)
    }

    /// Fills pages, no more than a piece, with what the image has.
    fn fill(&mut self, pages: Stretch) -> Result<Brought> {
        let has_data = self.data.is_in(pages.offsets());
        if !has_data.map_err(unreadable(pages.at))? {
            return self.memory.zero(pages);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let filled = self.fill_through(pages, &mut buffer);
        self.buffer = buffer;
        filled
    }

    fn fill_through(&mut self, pages: Stretch, buffer: &mut [u8]) -> Result<Brought> {
        let at = pages.at;
        let len = usize::try_from(pages.len).unwrap_or(usize::MAX);
        let bytes = &mut buffer[..len];
        self.image.read_at(at, bytes).map_err(unreadable(at))?;
        if !(self.check.0)(at, bytes) {
            return Err(self.damaged(at, bytes));
        }
        let mut done = 0;
        for Run { bytes, zero } in runs(bytes) {
            let part = pages.part(done, bytes.len() as u64);
            let brought = match zero {
                true => self.memory.zero(part)?,
                false => self.memory.copy(part, bytes)?,
            };
            if brought != Brought::Yes {
                return Ok(brought);
            }
            done += part.len;
        }
        Ok(Brought::Yes)
    }

    /// What is wrong with these bytes, which are not what was written: the first page of them that is not.
    fn damaged(&self, at: u64, bytes: &[u8]) -> PageServerError {
        let offsets = (at..).step_by(STEP);
        let mut pages = offsets.zip(bytes.chunks(STEP));
        let page = pages.find(|(at, page)| !(self.check.0)(*at, page));
        let at = page.map_or(at, |(at, _)| at);
        PageServerError::Damaged { at }
    }

    fn let_go(&self) -> Result<End> {
        if self.memory.let_go()? == Brought::Gone {
            return Ok(End::Gone);
        }
        // Who removed something waits until that is read, and may have begun to a moment ago.
        while self.is_told(LAST_WORDS)? {
            let read = self.userfault.events(&mut Vec::new());
            read.map_err(refused("hear of"))?;
        }
        Ok(End::Filled)
    }
}

const fn of_nanoseconds(count: i64) -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: count,
    }
}
