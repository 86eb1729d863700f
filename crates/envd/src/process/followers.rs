//! Who reads a command's output. Each follower has a short queue; a full one holds the command's pipes back.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::lock::lock;

/// How many pieces wait for a follower at most, each of one pipe read.
const QUEUE: usize = 4;

/// What a follower hears.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Output(Channel, Bytes),
    /// The last event.
    End(Arc<End>),
}

/// One of a command's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Stdout,
    Stderr,
    /// What its terminal shows, which is both.
    Terminal,
}

/// How a command ended, as its followers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It ended by itself or by a signal.
    Ended {
        /// -1 if a signal ended it.
        exit_code: i32,
        exited: bool,
        status: String,
        /// What went wrong beside the command.
        error: Option<String>,
    },
    /// Its time was over, and it was killed.
    TimedOut,
}

/// The followers of one command.
#[derive(Debug, Default)]
pub(crate) struct Followers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    queues: Vec<mpsc::Sender<Event>>,
    end: Option<Arc<End>>,
}

impl Followers {
    /// Hears all that happens from now on; of a command that has ended, its end.
    pub(crate) fn join(&self) -> mpsc::Receiver<Event> {
        let (queue, events) = mpsc::channel(QUEUE);
        let mut state = lock(&self.0);
        match &state.end {
            // The queue is new and has room.
            Some(end) => drop(queue.try_send(Event::End(Arc::clone(end)))),
            None => state.queues.push(queue),
        }
        events
    }

    /// Hands a piece of output to every follower, and waits for the slowest. Without followers it is dropped.
    pub(crate) async fn output(&self, channel: Channel, data: Bytes) {
        let queues = lock(&self.0).queues.clone();
        self.send(queues, &Event::Output(channel, data)).await;
    }

    /// Tells every follower the end, also those that join later.
    pub(crate) async fn end(&self, end: End) {
        let end = Arc::new(end);
        let queues = {
            let mut state = lock(&self.0);
            state.end = Some(Arc::clone(&end));
            std::mem::take(&mut state.queues)
        };
        self.send(queues, &Event::End(end)).await;
    }

    async fn send(&self, queues: Vec<mpsc::Sender<Event>>, event: &Event) {
        let mut gone = false;
        for queue in &queues {
            gone |= queue.send(event.clone()).await.is_err();
        }
        if gone {
            lock(&self.0).queues.retain(|queue| !queue.is_closed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> End {
        End::Ended {
            exit_code: 0,
            exited: true,
            status: "exit status 0".to_owned(),
            error: None,
        }
    }

    #[tokio::test]
    async fn a_late_follower_hears_the_end() {
        let followers = Followers::default();
        followers
            .output(Channel::Stdout, Bytes::from_static(b"nobody listens"))
            .await;
        followers.end(end()).await;
        assert!(matches!(followers.join().recv().await, Some(Event::End(_))));
    }

    #[tokio::test]
    async fn the_slowest_follower_holds_the_output_back() {
        let followers = Arc::new(Followers::default());
        let mut slow = followers.join();
        for _ in 0..QUEUE {
            followers
                .output(Channel::Stdout, Bytes::from_static(b"x"))
                .await;
        }
        let own = Arc::clone(&followers);
        let blocked =
            tokio::spawn(
                async move { own.output(Channel::Stdout, Bytes::from_static(b"y")).await },
            );
        tokio::task::yield_now().await;
        assert!(!blocked.is_finished());
        slow.recv().await.unwrap();
        blocked.await.unwrap();
    }

    #[tokio::test]
    async fn a_follower_that_left_holds_nothing_back() {
        let followers = Followers::default();
        drop(followers.join());
        for _ in 0..=QUEUE {
            followers
                .output(Channel::Stderr, Bytes::from_static(b"x"))
                .await;
        }
        assert!(lock(&followers.0).queues.is_empty());
    }
}
