//! Slot indexes: the one that has been free the longest comes first, so that an address is not handed out again soon.

use std::collections::VecDeque;

/// The highest index: twice it and one is the last address of a range.
pub const LAST: u16 = 32_767;

/// The free indexes among 1 to [`LAST`]. Both operations take constant time.
#[derive(Debug)]
pub struct SlotIndexes {
    free: VecDeque<u16>,
    in_use: Vec<bool>,
}

impl SlotIndexes {
    /// All indexes but those in use. What is out of bounds is ignored.
    pub fn new(in_use: impl IntoIterator<Item = u16>) -> Self {
        let mut taken = vec![false; usize::from(LAST) + 1];
        for index in in_use {
            if let Some(slot) = taken.get_mut(usize::from(index)) {
                *slot = true;
            }
        }
        let free = (1..=LAST)
            .filter(|index| !taken[usize::from(*index)])
            .collect();
        Self {
            free,
            in_use: taken,
        }
    }

    /// Takes the index that has been free the longest; `None` when all are in use.
    pub fn allocate(&mut self) -> Option<u16> {
        let index = self.free.pop_front()?;
        self.in_use[usize::from(index)] = true;
        Some(index)
    }

    /// How many are in use.
    pub fn used(&self) -> usize {
        usize::from(LAST) - self.free.len()
    }

    /// Gives an index back. One that is not in use is left alone.
    pub fn release(&mut self, index: u16) {
        if index == 0 {
            return;
        }
        if let Some(in_use) = self.in_use.get_mut(usize::from(index))
            && std::mem::take(in_use)
        {
            self.free.push_back(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn all_are_handed_out_once_and_the_oldest_comes_back_first() {
        let mut indexes = SlotIndexes::new([]);
        let all: HashSet<_> = std::iter::from_fn(|| indexes.allocate()).collect();
        assert_eq!(all, (1..=LAST).collect());
        for index in [9, 4, 9, 0, 40_000, 7] {
            indexes.release(index);
        }
        assert_eq!(
            [(); 4].map(|()| indexes.allocate()),
            [Some(9), Some(4), Some(7), None]
        );
    }

    #[test]
    fn what_is_in_use_is_not_handed_out() {
        let mut indexes = SlotIndexes::new([1, 3, 3, 0, 65_535]);
        assert_eq!(indexes.used(), 2);
        assert_eq!(indexes.allocate(), Some(2));
        assert_eq!(indexes.allocate(), Some(4));
        assert_eq!(indexes.used(), 4);
        indexes.release(3);
        assert_eq!(indexes.used(), 3);
        assert_eq!(std::iter::from_fn(|| indexes.allocate()).last(), Some(3));
    }

    proptest! {
        #[test]
        fn no_index_is_ever_out_twice(steps in proptest::collection::vec(any::<Option<u16>>(), 0..400)) {
            let mut indexes = SlotIndexes::new([5, 6]);
            let mut out = HashSet::from([5, 6]);
            for step in steps {
                match step {
                    None => {
                        let index = indexes.allocate().unwrap();
                        prop_assert!((1..=LAST).contains(&index));
                        prop_assert!(out.insert(index));
                    }
                    Some(pick) => {
                        let index = out.iter().copied().nth(usize::from(pick) % out.len().max(1)).unwrap_or(pick);
                        indexes.release(index);
                        out.remove(&index);
                    }
                }
            }
        }
    }
}
