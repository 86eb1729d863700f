//! What is brought that nobody has asked for, and in which order.

use wrenn_sys::extents::Extent;

use super::PIECE;
use super::error::{Result, unreadable};
use super::source::{Data, PageSource};
use crate::PAGE;

/// How many pages of a record are sorted together: what is touched early comes early all the same, and the disk is asked for
/// neighbours at once.
const WINDOW: usize = 1024;
/// How many pieces the disk reads ahead of the one that is brought: as many as it has to do at a time, and no fault waits for
/// more than those.
const DEPTH: usize = 1024;
/// How many more of them it is asked for with each that is brought: asking takes time, too, in which somebody may begin to wait.
const ASKED: usize = 2;

/// Pieces of an image, none longer than is brought at once: those of a record, then all that the image has.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    source: &'a dyn PageSource,
    data: Data<'a>,
    record: Vec<Extent>,
    /// The piece that comes next.
    first: Option<Extent>,
    /// How many of the record's pieces came before, it among them, and how many the disk was asked for.
    taken: usize,
    asked: usize,
    /// Where the rest goes on; none when that is left alone.
    rest: Option<u64>,
}

impl<'a> Plan<'a> {
    /// For an image of `size` bytes; `first` are the pages that were touched first the last time.
    pub(super) fn new(source: &'a dyn PageSource, size: u64, first: &[u64], rest: bool) -> Self {
        Self {
            source,
            data: Data::of(source, size),
            record: first.chunks(WINDOW).flat_map(merged).collect(),
            first: None,
            taken: 0,
            asked: 0,
            rest: rest.then_some(0),
        }
    }

    /// What comes next, until that was brought.
    pub(super) fn first(&mut self) -> Result<Option<Extent>> {
        if self.first.is_none() {
            self.first = match self.next_of_record()? {
                Some(piece) => Some(piece),
                None => self.next_of_rest()?,
            };
        }
        Ok(self.first)
    }

    /// Whether what comes next is of the record.
    pub(super) fn is_at_record(&self) -> bool {
        self.taken < self.record.len()
    }

    /// It was brought.
    pub(super) fn first_is_brought(&mut self) {
        self.first = None;
    }

    fn next_of_record(&mut self) -> Result<Option<Extent>> {
        let Some(&piece) = self.record.get(self.taken) else {
            return Ok(None);
        };
        self.taken += 1;
        self.ask_ahead()?;
        Ok(Some(piece))
    }

    fn ask_ahead(&mut self) -> Result<()> {
        let end = self.record.len().min(self.taken + DEPTH);
        let end = end.min(self.asked.max(self.taken) + ASKED);
        for &piece in self.record.get(self.asked..end).unwrap_or_default() {
            if self.data.is_in(piece).map_err(unreadable(piece.start))? {
                self.source.expect(piece);
            }
        }
        self.asked = end;
        Ok(())
    }

    fn next_of_rest(&mut self) -> Result<Option<Extent>> {
        let Some(rest) = self.rest else {
            return Ok(None);
        };
        let Some(data) = self.data.after(rest).map_err(unreadable(rest))? else {
            self.rest = None;
            return Ok(None);
        };
        let start = data.start & !(PAGE - 1);
        let len = (data.end() - start).min(PIECE as u64);
        let piece = Extent {
            start,
            len: len.next_multiple_of(PAGE),
        };
        self.rest = Some(piece.end());
        Ok(Some(piece))
    }
}

/// These pages as pieces, in ascending order.
fn merged(pages: &[u64]) -> Vec<Extent> {
    let mut pages = pages.to_vec();
    pages.sort_unstable();
    let mut pieces: Vec<Extent> = Vec::new();
    for start in pages {
        match pieces.last_mut() {
            Some(last) if last.end() == start && last.len < PIECE as u64 => last.len += PAGE,
            _ => pieces.push(Extent { start, len: PAGE }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    const LEN: u64 = 4096 * PAGE;

    /// An image with data in every second stretch of 40 pages.
    fn image() -> File {
        let image = tempfile::tempfile().unwrap();
        image.set_len(LEN).unwrap();
        for page in (0..4096).filter(|page| page / 40 % 2 == 0) {
            image.write_all_at(&[1; 4096], page * PAGE).unwrap();
        }
        image
    }

    fn pages(pieces: &[Extent]) -> Vec<u64> {
        let each = |piece: &Extent| (piece.start / PAGE)..(piece.end() / PAGE);
        pieces.iter().flat_map(each).collect()
    }

    fn all(mut plan: Plan<'_>) -> Vec<Extent> {
        std::iter::from_fn(|| {
            let piece = plan.first().unwrap();
            plan.first_is_brought();
            piece
        })
        .collect()
    }

    #[test]
    fn a_record_comes_first_and_in_its_order_by_windows() {
        let image = image();
        // Two windows and a bit, far apart and near each other.
        let first: Vec<u64> = (0..2500).map(|turn| turn * 1709 % 4096 * PAGE).collect();
        let pieces = all(Plan::new(&image, LEN, &first, false));
        let planned = pages(&pieces);
        assert_eq!(planned.len(), first.len());
        for (planned, wanted) in planned.chunks(WINDOW).zip(first.chunks(WINDOW)) {
            assert!(planned.is_sorted());
            let wanted: BTreeSet<u64> = wanted.iter().map(|at| at / PAGE).collect();
            assert_eq!(planned.iter().copied().collect::<BTreeSet<_>>(), wanted);
        }
        assert!(pieces.iter().all(|piece| piece.len <= PIECE as u64));
    }

    #[test]
    fn the_rest_is_all_data_and_no_hole() {
        let image = image();
        let pieces = all(Plan::new(&image, LEN, &[50 * PAGE], true));
        assert_eq!(pieces[0].start, 50 * PAGE);
        let data: Vec<u64> = (0..4096).filter(|page| page / 40 % 2 == 0).collect();
        assert_eq!(pages(&pieces[1..]), data);
        assert!(pieces.iter().all(|piece| piece.len <= PIECE as u64));
    }

    #[test]
    fn neighbours_are_one_piece() {
        let at = [7, 3, 2, 8, 40, 1];
        let pieces = merged(&at.map(|page| page * PAGE));
        let shape: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.start / PAGE, piece.len / PAGE))
            .collect();
        assert_eq!(shape, [(1, 3), (7, 2), (40, 1)]);
        let many: Vec<u64> = (0..40).map(|page| page * PAGE).collect();
        assert_eq!(merged(&many).len(), 3);
    }
}
