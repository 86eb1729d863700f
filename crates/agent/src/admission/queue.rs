//! Who waits for a turn: a bounded queue that is fair between owners.
//!
//! Owners take turns, one each, however many wait for one of them. An owner's own come in their order, of creations that in which
//! they were asked for, but what wakes and what is created alternate, so that neither can starve the other. When the queue is full, a newcomer takes the place of
//! the last in the longest line, if its own line is shorter by more than itself; so an owner who fills the queue shuts
//! nobody else out.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use wrenn_sys::wall;

/// How long anybody waits: whoever is not called by then is better told than kept.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new sandbox.
    Create,
    /// One that was paused.
    Wake,
}

/// When somebody asked for what they wait for: on its way here one request may overtake another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked(SystemTime);

impl Asked {
    pub(crate) fn now() -> Self {
        Self(wall::now())
    }

    /// So many milliseconds after the epoch. What is none, or is yet to come, is now; what is longer ago than anybody waits is
    /// no more than that: whoever says it may have another clock.
    pub(crate) fn at_unix_ms(ms: i64) -> Self {
        let since = u64::try_from(ms).ok().filter(|ms| *ms > 0);
        let at = since.and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
        let now = wall::now();
        let first = now.checked_sub(LONGEST_WAIT).unwrap_or(now);
        Self(at.map_or(now, |at| at.clamp(first, now)))
    }
}

/// A place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    owner: String,
    purpose: Purpose,
    number: u64,
}

/// A bounded queue of `T`.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    lines: HashMap<String, Line<T>>,
    /// Owners of lines, the one whose turn it is first.
    round: VecDeque<String>,
    len: usize,
    most: usize,
    next: u64,
}

/// An owner's own: of each kind who asked first stands first.
#[derive(Debug)]
struct Line<T> {
    creates: VecDeque<Place<T>>,
    wakes: VecDeque<Place<T>>,
    /// Who came last of the two kinds.
    before: Purpose,
}

#[derive(Debug)]
struct Place<T> {
    number: u64,
    asked: Asked,
    item: T,
}

impl<T> FairQueue<T> {
    /// An empty one for so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            lines: HashMap::new(),
            round: VecDeque::new(),
            len: 0,
            most,
            next: 0,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many may.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Takes a place. The second is whoever had to give theirs up for it.
    ///
    /// # Errors
    /// The item, when the queue is full and nobody waits who has more places than the rest.
    pub(super) fn push(
        &mut self,
        owner: &str,
        purpose: Purpose,
        asked: Asked,
        item: T,
    ) -> Result<(Ticket, Option<T>), T> {
        let evicted = if self.len >= self.most {
            match self.evict(owner) {
                Some(last) => Some(last),
                None => return Err(item),
            }
        } else {
            None
        };
        let number = self.next;
        self.next += 1;
        let line = self.lines.entry(owner.to_owned()).or_insert_with(|| {
            self.round.push_back(owner.to_owned());
            Line::new()
        });
        let waiting = line.of(purpose);
        let behind = waiting.partition_point(|one| one.asked <= asked);
        waiting.insert(
            behind,
            Place {
                number,
                asked,
                item,
            },
        );
        self.len += 1;
        let ticket = Ticket {
            owner: owner.to_owned(),
            purpose,
            number,
        };
        Ok((ticket, evicted))
    }

    /// Whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let owner = self.round.pop_front()?;
        let line = self.lines.get_mut(&owner)?;
        let item = line.next();
        if line.len() == 0 {
            self.lines.remove(&owner);
        } else {
            self.round.push_back(owner);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    /// Gives a place up. One that was called or had to go already is none.
    pub(super) fn remove(&mut self, ticket: &Ticket) -> Option<T> {
        let line = self.lines.get_mut(&ticket.owner)?;
        let waiting = line.of(ticket.purpose);
        let at = waiting.iter().position(|one| one.number == ticket.number)?;
        let gone = waiting.remove(at)?;
        self.left(&ticket.owner);
        Some(gone.item)
    }

    /// The last in the longest line goes, if that line is longer than this owner's will be.
    fn evict(&mut self, newcomer: &str) -> Option<T> {
        let own = self.lines.get(newcomer).map_or(0, Line::len);
        let (owner, line) = self.lines.iter_mut().max_by_key(|(_, line)| line.len())?;
        if line.len() <= own + 1 {
            return None;
        }
        let owner = owner.clone();
        let longer = if line.wakes.len() > line.creates.len() {
            Purpose::Wake
        } else {
            Purpose::Create
        };
        let last = line.of(longer).pop_back()?;
        self.left(&owner);
        Some(last.item)
    }

    /// One of this owner's has left.
    fn left(&mut self, owner: &str) {
        self.len -= 1;
        if self.lines.get(owner).is_some_and(|line| line.len() == 0) {
            self.lines.remove(owner);
            self.round.retain(|one| one != owner);
        }
    }
}

impl<T> Line<T> {
    fn new() -> Self {
        Self {
            creates: VecDeque::new(),
            wakes: VecDeque::new(),
            before: Purpose::Create,
        }
    }

    fn len(&self) -> usize {
        self.creates.len() + self.wakes.len()
    }

    fn of(&mut self, purpose: Purpose) -> &mut VecDeque<Place<T>> {
        match purpose {
            Purpose::Create => &mut self.creates,
            Purpose::Wake => &mut self.wakes,
        }
    }

    fn next(&mut self) -> Option<T> {
        let first = match self.before {
            Purpose::Create => Purpose::Wake,
            Purpose::Wake => Purpose::Create,
        };
        let purpose = if self.of(first).is_empty() {
            self.before
        } else {
            first
        };
        self.before = purpose;
        self.of(purpose).pop_front().map(|one| one.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn owners_take_turns_and_an_owner_s_own_come_in_their_order() {
        let mut queue = FairQueue::new(16);
        for (owner, item) in [
            ("a", "a1"),
            ("a", "a2"),
            ("a", "a3"),
            ("b", "b1"),
            ("c", "c1"),
        ] {
            queue
                .push(owner, Purpose::Create, Asked::now(), item)
                .unwrap();
        }
        assert_eq!(drain(&mut queue), ["a1", "b1", "c1", "a2", "a3"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn waking_and_creating_alternate() {
        let mut queue = FairQueue::new(16);
        for item in ["c1", "c2", "c3"] {
            queue.push("", Purpose::Create, Asked::now(), item).unwrap();
        }
        for item in ["w1", "w2"] {
            queue.push("", Purpose::Wake, Asked::now(), item).unwrap();
        }
        assert_eq!(drain(&mut queue), ["w1", "c1", "w2", "c2", "c3"]);
    }

    #[test]
    fn who_fills_the_queue_makes_room_for_others_but_not_for_itself() {
        let mut queue = FairQueue::new(3);
        for item in ["a1", "a2", "a3"] {
            queue
                .push("a", Purpose::Create, Asked::now(), item)
                .unwrap();
        }
        assert_eq!(
            queue
                .push("a", Purpose::Create, Asked::now(), "a4")
                .unwrap_err(),
            "a4"
        );
        assert_eq!(
            queue
                .push("b", Purpose::Create, Asked::now(), "b1")
                .unwrap()
                .1,
            Some("a3")
        );
        // Two beside one: a third owner's takes from the two, and then all are even.
        assert_eq!(
            queue
                .push("c", Purpose::Wake, Asked::now(), "c1")
                .unwrap()
                .1,
            Some("a2")
        );
        assert_eq!(
            queue
                .push("d", Purpose::Create, Asked::now(), "d1")
                .unwrap_err(),
            "d1"
        );
        assert_eq!(drain(&mut queue), ["a1", "b1", "c1"]);
    }

    #[test]
    fn a_place_that_is_given_up_is_nobody_s() {
        let mut queue = FairQueue::new(4);
        let (first, _) = queue
            .push("a", Purpose::Create, Asked::now(), "a1")
            .unwrap();
        queue
            .push("b", Purpose::Create, Asked::now(), "b1")
            .unwrap();
        assert_eq!(queue.remove(&first), Some("a1"));
        assert_eq!(queue.remove(&first), None);
        assert_eq!(drain(&mut queue), ["b1"]);
    }

    #[test]
    fn an_owner_s_own_come_in_the_order_in_which_they_were_asked_for() {
        let mut queue = FairQueue::new(8);
        let now = wall::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_millis()).unwrap();
        let mut push = |owner, asked, item| {
            let asked = Asked::at_unix_ms(asked);
            queue.push(owner, Purpose::Create, asked, item).unwrap().0
        };
        push("a", now - 30, "a3");
        push("a", now - 50, "a1");
        // What somebody else asked for before is no matter of a's.
        push("b", now - 60, "b1");
        let gone = push("a", now - 45, "gone");
        push("a", now - 40, "a2");
        push("a", now - 40, "a2 again");
        // Nobody has asked for anything yet to come, nor before there was time.
        push("a", i64::MAX, "a4");
        push("a", -1, "a5");
        assert_eq!(queue.remove(&gone), Some("gone"));
        let called = ["a1", "b1", "a2", "a2 again", "a3", "a4", "a5"];
        assert_eq!(drain(&mut queue), called);
    }

    #[test]
    fn another_clock_puts_nobody_before_those_who_have_waited_for_longest() {
        let long = wall::now() - LONGEST_WAIT;
        assert!(Asked::at_unix_ms(1) >= Asked(long));
        assert!(Asked::at_unix_ms(1) < Asked::now());
    }

    #[derive(Debug, Clone)]
    enum Act {
        Push(u8, bool),
        Pop,
        Remove(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..5_u8, any::<bool>()).prop_map(|(owner, wake)| Act::Push(owner, wake)),
            2 => Just(Act::Pop),
            1 => (0..64_usize).prop_map(Act::Remove),
        ]
    }

    proptest! {
        /// Whatever happens, who is in the queue is in it once, it is bounded, and nobody waits longer than a round of the
        /// owners for each of their own before them, twice as long where both kinds wait.
        #[test]
        fn nobody_is_lost_and_nobody_starves(acts in proptest::collection::vec(act(), 1..200)) {
            const MOST: usize = 12;
            let mut queue = FairQueue::new(MOST);
            // Number, owner, place, and how many were called since it came.
            let mut waiting: Vec<(usize, u8, Ticket, usize)> = Vec::new();
            for (number, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Push(owner, wake) => {
                        let purpose = if wake { Purpose::Wake } else { Purpose::Create };
                        let full = queue.len() == MOST;
                        match queue.push(&owner.to_string(), purpose, Asked::now(), number) {
                            Ok((ticket, evicted)) => {
                                prop_assert_eq!(evicted.is_some(), full);
                                waiting.retain(|(number, ..)| Some(*number) != evicted);
                                waiting.push((number, owner, ticket, 0));
                            }
                            Err(back) => {
                                prop_assert!(full && back == number);
                                // Nobody has more than one place beyond what this owner would have.
                                let own = waiting.iter().filter(|(_, o, ..)| *o == owner).count();
                                for other in 0..5_u8 {
                                    let has = waiting.iter().filter(|(_, o, ..)| *o == other).count();
                                    prop_assert!(has <= own + 1);
                                }
                            }
                        }
                    }
                    Act::Pop => {
                        let called = queue.pop();
                        prop_assert_eq!(called.is_none(), waiting.is_empty());
                        if let Some(called) = called {
                            let at = waiting.iter().position(|(number, ..)| *number == called);
                            prop_assert!(at.is_some(), "called twice");
                            waiting.remove(at.unwrap_or_default());
                        }
                        for (.., passed) in &mut waiting {
                            *passed += 1;
                            prop_assert!(*passed < 5 * 2 * MOST);
                        }
                    }
                    Act::Remove(index) => {
                        if !waiting.is_empty() {
                            let (number, _, ticket, _) = waiting.remove(index % waiting.len());
                            prop_assert_eq!(queue.remove(&ticket), Some(number));
                        }
                    }
                }
                prop_assert_eq!(queue.len(), waiting.len());
                prop_assert!(queue.len() <= MOST);
            }
        }

        /// An owner who comes alone beside one with many is called before the second of those.
        #[test]
        fn a_newcomer_is_next_but_one(many in 2..40_usize) {
            let mut queue = FairQueue::new(40);
            for number in 0..many {
                queue.push("greedy", Purpose::Create, Asked::now(), number).unwrap();
            }
            queue.push("new", Purpose::Create, Asked::now(), 1000).unwrap();
            let first_two = [queue.pop(), queue.pop()];
            prop_assert_eq!(first_two, [Some(0), Some(1000)]);
        }
    }
}
