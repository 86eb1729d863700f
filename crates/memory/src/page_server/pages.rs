//! A set of pages of an image.

use wrenn_sys::extents::Extent;

use crate::PAGE;

/// One bit for each page.
#[derive(Debug)]
pub(super) struct Pages {
    words: Vec<u64>,
    len: u64,
}

impl Pages {
    /// None of so many.
    pub(super) fn none_of(len: u64) -> Self {
        let words = usize::try_from(len.div_ceil(64)).unwrap_or(usize::MAX);
        Self {
            words: vec![0; words],
            len,
        }
    }

    /// Whether the page at this offset is among them.
    pub(super) fn has(&self, at: u64) -> bool {
        let (word, bit) = place(at / PAGE);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn insert(&mut self, offsets: Extent) {
        self.each(offsets, |word, bit| *word |= bit);
    }

    pub(super) fn remove(&mut self, offsets: Extent) {
        self.each(offsets, |word, bit| *word &= !bit);
    }

    fn each(&mut self, offsets: Extent, mut change: impl FnMut(&mut u64, u64)) {
        for page in offsets.start / PAGE..offsets.end().div_ceil(PAGE).min(self.len) {
            let (word, bit) = place(page);
            if let Some(word) = self.words.get_mut(word) {
                change(word, bit);
            }
        }
    }
}

fn place(page: u64) -> (usize, u64) {
    let word = usize::try_from(page / 64).unwrap_or(usize::MAX);
    (word, 1 << (page % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(acts in proptest::collection::vec((any::<bool>(), 0..200_u64, 0..80_u64), 0..40)) {
            const LEN: u64 = 190;
            let (mut pages, mut model) = (Pages::none_of(LEN), BTreeSet::new());
            for (insert, start, len) in acts {
                let offsets = Extent { start: start * PAGE, len: len * PAGE };
                for page in start..(start + len).min(LEN) {
                    if insert { model.insert(page); } else { model.remove(&page); }
                }
                if insert { pages.insert(offsets); } else { pages.remove(offsets); }
            }
            let found: BTreeSet<_> = (0..LEN + 70).filter(|page| pages.has(page * PAGE)).collect();
            prop_assert_eq!(found, model);
        }
    }
}
