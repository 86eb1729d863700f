//! Turns to start a virtual machine: so many at a time, all others wait in a fair queue.
//!
//! A start is work for a processor, under emulation for one alone and for seconds. More at once than there are processors
//! would only all take longer, and guests that run would feel it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use wrenn_model::{ErrorKind, Fault};

use super::load::Share;
use super::pace::{Pace, seconds};
use super::queue::{Asked, FairQueue, LONGEST_WAIT, Purpose, Ticket};

/// How many may wait.
const MOST_WAITING: usize = 256;
/// How long a start takes before one was measured.
const UNKNOWN_START: Duration = Duration::from_secs(2);
/// The most seconds that anybody is sent away for.
const LONGEST_RETRY_SEC: u32 = 120;

/// The turns of a host.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: usize,
    longest_wait: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    free: usize,
    queue: FairQueue<oneshot::Sender<Turn>>,
    /// How long turns are held.
    held: Pace,
}

/// The right to start a virtual machine now. Dropping it calls the next.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    since: Instant,
}

/// Somebody who waits for a turn. Dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    turns: Arc<Turns>,
    /// None for who was called at once.
    ticket: Option<Ticket>,
    call: oneshot::Receiver<Turn>,
    since: Instant,
}

impl Turns {
    /// So many turns at once.
    pub(super) fn new(at_once: usize) -> Self {
        Self::with_bounds(at_once, MOST_WAITING, LONGEST_WAIT)
    }

    fn with_bounds(at_once: usize, most: usize, longest_wait: Duration) -> Self {
        Self {
            at_once,
            longest_wait,
            inner: Mutex::new(Inner {
                free: at_once,
                queue: FairQueue::new(most),
                held: Pace::default(),
            }),
        }
    }

    /// Takes a place in the queue, or a turn when one is free.
    ///
    /// # Errors
    /// `host_busy` when the queue is full.
    pub(super) fn enter(
        self: &Arc<Self>,
        owner: &str,
        purpose: Purpose,
        asked: Asked,
    ) -> Result<Waiting, Fault> {
        let (sender, call) = oneshot::channel();
        let mut waiting = Waiting {
            turns: self.clone(),
            ticket: None,
            call,
            since: Instant::now(),
        };
        let evicted = {
            let mut inner = self.lock();
            if inner.free > 0 {
                inner.free -= 1;
                drop(inner);
                self.call(sender);
                return Ok(waiting);
            }
            match inner.queue.push(owner, purpose, asked, sender) {
                Ok((ticket, evicted)) => {
                    waiting.ticket = Some(ticket);
                    evicted
                }
                Err(_) => return Err(inner.busy(self.at_once, "too many sandboxes wait to start")),
            }
        };
        // Who had to go hears of it by this.
        drop(evicted);
        Ok(waiting)
    }

    /// How many wait of how many that may, and how many turns are held of how many there are.
    pub(super) fn load(&self) -> (Share, Share) {
        let inner = self.lock();
        (
            Share::of(inner.queue.len(), inner.queue.most()),
            Share::of(self.at_once - inner.free, self.at_once),
        )
    }

    /// Gives a turn that is nobody's to whoever waits behind this. One that has gone passes it on by dropping it.
    fn call(self: &Arc<Self>, waiting: oneshot::Sender<Turn>) {
        let turn = Turn {
            turns: self.clone(),
            since: Instant::now(),
        };
        drop(waiting.send(turn));
    }

    /// A turn has ended: the next one is called.
    fn pass_on(self: &Arc<Self>, held: Duration) {
        let next = {
            let mut inner = self.lock();
            inner.held.note(held);
            let next = inner.queue.pop();
            if next.is_none() {
                inner.free += 1;
            }
            next
        };
        if let Some(next) = next {
            self.call(next);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn busy(&self, at_once: usize, message: &str) -> Fault {
        let ahead = u32::try_from(self.queue.len() / at_once).unwrap_or(u32::MAX);
        let wait = self
            .held
            .mean(UNKNOWN_START)
            .saturating_mul(ahead.saturating_add(1));
        Fault::new(
            ErrorKind::HostBusy,
            message,
            "try again when `Retry-After` says, or ask for fewer at once",
        )
        .retry_after(seconds(wait, LONGEST_RETRY_SEC))
    }
}

impl Waiting {
    /// Waits for the turn; the second is how long that took.
    ///
    /// # Errors
    /// `host_busy` after the longest wait, or when the place went to an owner who has fewer.
    pub(crate) async fn turn(mut self) -> Result<(Turn, Duration), Fault> {
        let deadline = self.since + self.turns.longest_wait;
        let message = match tokio::time::timeout_at(deadline, &mut self.call).await {
            Ok(Ok(turn)) => return Ok((turn, self.since.elapsed())),
            Ok(Err(_)) => "others, who have fewer that wait, came first",
            Err(_) => "it waited too long for its turn to start",
        };
        Err(self.turns.lock().busy(self.turns.at_once, message))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A turn that has been given already ends with the channel.
        let left = self
            .ticket
            .take()
            .and_then(|ticket| self.turns.lock().queue.remove(&ticket));
        drop(left);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.pass_on(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(at_once: usize, most: usize) -> Arc<Turns> {
        Arc::new(Turns::with_bounds(at_once, most, Duration::from_secs(60)))
    }

    fn free_and_waiting(turns: &Turns) -> (usize, usize) {
        let inner = turns.lock();
        (inner.free, inner.queue.len())
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_at_a_time_and_the_rest_in_turn() {
        let turns = turns(2, 8);
        let enter = |owner| turns.enter(owner, Purpose::Create, Asked::now()).unwrap();
        let (one, _) = enter("a").turn().await.unwrap();
        let (_two, waited) = enter("a").turn().await.unwrap();
        assert_eq!(waited, Duration::ZERO);
        let (third, fourth) = (enter("a"), enter("b"));
        let third = tokio::spawn(third.turn());
        let fourth = tokio::spawn(fourth.turn());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!third.is_finished() && !fourth.is_finished());
        drop(one);
        let (three, waited) = third.await.unwrap().unwrap();
        assert_eq!(waited, Duration::from_secs(3));
        assert!(!fourth.is_finished());
        drop(three);
        fourth.await.unwrap().unwrap();
        assert_eq!(turns.lock().free, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_the_queue_and_takes_no_turn_along() {
        let turns = turns(1, 8);
        let enter = || turns.enter("a", Purpose::Wake, Asked::now()).unwrap();
        let (turn, _) = enter().turn().await.unwrap();
        let (gone, called, next) = (enter(), enter(), enter());
        assert_eq!(turns.lock().queue.len(), 3);
        drop(gone);
        assert_eq!(turns.lock().queue.len(), 2);
        drop(turn);
        // The turn was given to it, and it never looked.
        drop(called);
        let (turn, _) = next.turn().await.unwrap();
        drop(turn);
        assert_eq!(free_and_waiting(&turns), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_has_an_end_and_a_full_queue_says_when() {
        let turns = turns(1, 2);
        let enter = |owner| turns.enter(owner, Purpose::Create, Asked::now());
        let (turn, _) = enter("a").unwrap().turn().await.unwrap();
        let (first, second) = (enter("a").unwrap(), enter("a").unwrap());
        let full = enter("a").unwrap_err();
        assert_eq!(
            (full.kind, full.retry_after_sec),
            (ErrorKind::HostBusy, Some(6))
        );
        // Somebody else's comes in place of the last.
        let other = enter("b").unwrap();
        let told = second.turn().await.unwrap_err();
        assert_eq!(told.kind, ErrorKind::HostBusy);
        let late = first.turn().await.unwrap_err();
        assert!(late.message.contains("too long"), "{late}");
        assert!(late.retry_after_sec.is_some());
        drop(turn);
        other.turn().await.unwrap();
    }

    /// However many come and go at once, no turn is lost and never are more held than there are.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_turn_is_lost_in_a_crowd() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        let turns = turns(3, 1000);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut crowd = tokio::task::JoinSet::new();
        for number in 0..300_u64 {
            let (turns, now, most) = (turns.clone(), now.clone(), most.clone());
            crowd.spawn(async move {
                let owner = (number % 7).to_string();
                let waiting = turns.enter(&owner, Purpose::Create, Asked::now()).unwrap();
                if number % 3 == 0 {
                    // It loses patience.
                    let patience = Duration::from_micros(number * 13 % 500);
                    drop(tokio::time::timeout(patience, waiting.turn()).await);
                    return;
                }
                let (turn, _) = waiting.turn().await.unwrap();
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                drop(turn);
            });
        }
        while let Some(ended) = crowd.join_next().await {
            ended.unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(free_and_waiting(&turns), (3, 0));
    }
}
