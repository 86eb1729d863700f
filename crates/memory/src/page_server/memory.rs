//! A guest's memory, and what of it is there.

use wrenn_sys::extents::Extent;
use wrenn_sys::uffd::{Filled, Userfault};

use super::error::{PageServerError, Result, refused};
use super::pages::Pages;
use super::regions::Region;
use crate::PAGE;

/// What became of pages that were to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    Yes,
    /// Events have to be read first.
    Later,
    /// There is no process any more that has the memory.
    Gone,
}

/// Neighbouring pages of one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Where its VMM has them.
    pub(super) address: u64,
    /// Where they stand in the image.
    pub(super) at: u64,
    pub(super) len: u64,
}

impl Stretch {
    pub(super) fn addresses(self) -> Extent {
        Extent {
            start: self.address,
            len: self.len,
        }
    }

    pub(super) fn offsets(self) -> Extent {
        Extent {
            start: self.at,
            len: self.len,
        }
    }

    /// So much of it, from there on.
    pub(super) fn part(self, from: u64, len: u64) -> Self {
        Self {
            address: self.address + from,
            at: self.at + from,
            len,
        }
    }

    fn each_page(self) -> impl Iterator<Item = Self> {
        (0..self.len)
            .step_by(STEP)
            .map(move |from| self.part(from, PAGE))
    }
}

/// A page, as slices are counted.
#[expect(clippy::cast_possible_truncation, reason = "it is 4096")]
pub(super) const STEP: usize = PAGE as usize;

/// The memory of one guest.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    userfault: &'a Userfault,
    regions: &'a [Region],
    /// By their number in the image.
    there: Pages,
    removed: Pages,
}

impl<'a> Memory<'a> {
    /// None of which is there, in regions that lie in the first `size` bytes of an image.
    pub(super) fn new(userfault: &'a Userfault, regions: &'a [Region], size: u64) -> Self {
        let pages = size.div_ceil(PAGE);
        Self {
            userfault,
            regions,
            there: Pages::none_of(pages),
            removed: Pages::none_of(pages),
        }
    }

    /// The page at this address.
    pub(super) fn page(&self, address: u64) -> Result<Stretch> {
        let mut regions = self.regions.iter();
        let at = regions.find_map(|region| region.offset_of(address));
        let at = at.ok_or(PageServerError::Stray { address })?;
        Ok(Stretch {
            address,
            at,
            len: PAGE,
        })
    }

    /// Whether the page at this offset was brought.
    pub(super) fn has(&self, at: u64) -> bool {
        self.there.has(at)
    }

    /// Whether the page at this offset was given back, so that it is zeros now.
    pub(super) fn was_removed(&self, at: u64) -> bool {
        self.removed.has(at)
    }

    /// The first pages in this piece of the image that are to be brought.
    pub(super) fn missing(&self, piece: Extent) -> Option<Stretch> {
        let is_missing = |at: &u64| !self.there.has(*at) && !self.removed.has(*at);
        let mut pages = (piece.start..piece.end()).step_by(STEP).filter(is_missing);
        let (at, address, region) = pages.find_map(|at| {
            let mut regions = self.regions.iter();
            regions.find_map(|region| Some((at, region.address_of(at)?, region)))
        })?;
        let end = piece.end().min(region.offset + region.len);
        let pages = (at..end).step_by(STEP).take_while(is_missing);
        let len = pages.count() as u64 * PAGE;
        Some(Stretch { address, at, len })
    }

    /// Fills pages with these bytes.
    pub(super) fn copy(&mut self, pages: Stretch, bytes: &[u8]) -> Result<Brought> {
        let copied = self.userfault.copy(pages.address, bytes);
        match copied.map_err(refused("fill"))? {
            // One of them was there, or something is to be read: one by one shows which.
            Filled::There | Filled::Later if pages.len > PAGE => {
                let mut each = pages.each_page().zip(bytes.chunks(STEP));
                all(|| each.next().map(|(page, bytes)| self.copy(page, bytes)))
            }
            filled => self.filled(filled, pages),
        }
    }

    /// Fills pages with zeros, which take no memory.
    pub(super) fn zero(&mut self, pages: Stretch) -> Result<Brought> {
        let zeroed = self.userfault.zero(pages.addresses());
        match zeroed.map_err(refused("fill"))? {
            Filled::There | Filled::Later if pages.len > PAGE => {
                let mut each = pages.each_page();
                all(|| each.next().map(|page| self.zero(page)))
            }
            filled => self.filled(filled, pages),
        }
    }

    fn filled(&mut self, filled: Filled, pages: Stretch) -> Result<Brought> {
        match filled {
            Filled::Done => {}
            // Who waits for it is not woken by that.
            Filled::There => self.wake(pages.addresses())?,
            Filled::Later => return Ok(Brought::Later),
            Filled::Gone => return Ok(Brought::Gone),
        }
        self.there.insert(pages.offsets());
        Ok(Brought::Yes)
    }

    /// Lets who waits for a page in this range look again.
    pub(super) fn wake(&self, addresses: Extent) -> Result<()> {
        let woken = self.userfault.wake(addresses);
        woken.map_err(refused("wake who waits for"))
    }

    /// What was given back is zeros from now on.
    pub(super) fn forget(&mut self, range: Extent) {
        for region in self.regions {
            if let Some(offsets) = region.offsets(range) {
                self.there.remove(offsets);
                self.removed.insert(offsets);
            }
        }
    }

    /// What is missing now is zeros and needs nobody to bring it.
    pub(super) fn let_go(&self) -> Result<Brought> {
        for region in self.regions {
            let Err(error) = self.userfault.unregister(region.addresses()) else {
                continue;
            };
            // The kernel does not say so when the process has ended.
            let page = Extent {
                start: region.address,
                len: PAGE,
            };
            return match self.userfault.zero(page) {
                Ok(Filled::Gone) => Ok(Brought::Gone),
                _ => Err(refused("let go of")(error)),
            };
        }
        Ok(Brought::Yes)
    }
}

/// Brings one after the other, as far as that goes.
fn all(mut bring: impl FnMut() -> Option<Result<Brought>>) -> Result<Brought> {
    while let Some(brought) = bring() {
        let brought = brought?;
        if brought != Brought::Yes {
            return Ok(brought);
        }
    }
    Ok(Brought::Yes)
}
