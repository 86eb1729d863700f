//! Decisions that follow from a seed: each thing that is decided has a sequence of its own, by its name, so that one that is
//! asked more often changes nothing for the others.

use std::time::Duration;

/// What everything follows from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// The decisions about the thing of this name.
    pub(crate) fn dice(self, name: &str) -> Dice {
        // FNV-1a: the same on every machine and in every release.
        let named = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Dice(named ^ self.0.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }
}

/// One sequence of decisions (splitmix64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Yes in so many of a hundred cases.
    pub(crate) fn percent(&mut self, of: u64) -> bool {
        self.below(100) < of
    }

    /// One of them; none of none.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let index = self.below(of.len() as u64);
        of.get(usize::try_from(index).unwrap_or_default())
    }

    /// So many milliseconds, short ones more often than long ones.
    pub(crate) fn millis(&mut self, most: u64) -> Duration {
        let most = 1 + self.below(most);
        Duration::from_millis(self.below(most))
    }
}
