//! Who waits for pages.

use std::collections::VecDeque;

use super::memory::Stretch;
use super::pages::Pages;

/// Pages that somebody waits for, in the order in which they began to. Each is there once: who waits for the same page goes on
/// with it. So there are never more than a guest has, whatever its VMM does.
#[derive(Debug)]
pub(super) struct Waiting {
    order: VecDeque<Stretch>,
    among: Pages,
}

impl Waiting {
    /// Nobody, for so many pages.
    pub(super) fn nobody(pages: u64) -> Self {
        Self {
            order: VecDeque::new(),
            among: Pages::none_of(pages),
        }
    }

    /// Somebody waits for this page.
    pub(super) fn add(&mut self, page: Stretch) {
        if !self.among.has(page.at) {
            self.among.insert(page.offsets());
            self.order.push_back(page);
        }
    }

    /// The page that was waited for first.
    pub(super) fn first(&self) -> Option<Stretch> {
        self.order.front().copied()
    }

    /// Nobody waits for the first one any more.
    pub(super) fn first_is_served(&mut self) {
        if let Some(page) = self.order.pop_front() {
            self.among.remove(page.offsets());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAGE;

    #[test]
    fn a_page_is_waited_for_once() {
        let page = |number: u64| Stretch {
            address: (100 + number) * PAGE,
            at: number * PAGE,
            len: PAGE,
        };
        let mut waiting = Waiting::nobody(8);
        for number in [3, 5, 3, 5, 3] {
            waiting.add(page(number));
        }
        assert_eq!(waiting.first(), Some(page(3)));
        waiting.first_is_served();
        assert_eq!(waiting.first(), Some(page(5)));
        // It may go again.
        waiting.add(page(3));
        waiting.first_is_served();
        assert_eq!(waiting.first(), Some(page(3)));
        waiting.first_is_served();
        assert_eq!(waiting.first(), None);
    }
}
