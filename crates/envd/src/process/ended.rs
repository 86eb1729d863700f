//! The ends of commands, kept for a while: who lost touch with a command, by a pause for example, can still learn how it
//! ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::followers::Followers;
use super::handle::Process;
use crate::lock::lock;

/// How long an end is kept, in the guest's own time: a pause does not count.
const KEPT: Duration = Duration::from_secs(300);

/// How many ends are kept at most; the oldest goes first.
const MOST: usize = 256;

/// The commands that ended lately, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    at: Instant,
    pid: u32,
    tag: Option<String>,
    followers: Arc<Followers>,
}

impl Ended {
    /// Keeps the end of `process`, which its followers may still have to be told.
    pub(super) fn keep(&self, process: &Process) {
        let mut entries = lock(&self.0);
        let now = Instant::now();
        while entries.len() >= MOST || entries.front().is_some_and(|entry| entry.is_over(now)) {
            entries.pop_front();
        }
        entries.push_back(Entry {
            at: now,
            pid: process.pid,
            tag: process.tag.clone(),
            followers: Arc::clone(&process.followers),
        });
    }

    /// The latest command that `is_meant`, by its pid and tag: its pid, and where its end is told.
    pub(super) fn find(
        &self,
        is_meant: impl Fn(u32, Option<&str>) -> bool,
    ) -> Option<(u32, Arc<Followers>)> {
        let now = Instant::now();
        let entries = lock(&self.0);
        let mut kept = entries.iter().rev().filter(|entry| !entry.is_over(now));
        let found = kept.find(|entry| is_meant(entry.pid, entry.tag.as_deref()))?;
        Some((found.pid, Arc::clone(&found.followers)))
    }
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.at) >= KEPT
    }
}
