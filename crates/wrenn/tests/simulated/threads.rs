//! Whether anything goes on beside this thread: databases, journals and file work have threads of their own, and time must
//! not pass while one of them is at work.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

const TASKS: &str = "/proc/self/task";

/// `clock_nanosleep` as the kernel numbers it here, which is how SQLite waits for another connection's lock: it will go on, and
/// soon.
const PAUSES: &[u8] = if cfg!(target_arch = "x86_64") {
    b"230 "
} else {
    b"115 "
};

/// The threads of this process, this one left out.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    open: BTreeMap<u32, Thread>,
    /// As many links as threads, and two.
    links: u64,
}

/// What the kernel says of one of them.
#[derive(Debug)]
struct Thread {
    stat: File,
    syscall: File,
    schedstat: File,
}

impl Threads {
    /// Whether each of them sleeps until something happens.
    ///
    /// They are looked at one by one, and one that was asleep may be woken by one that is not looked at yet and sleeps when it
    /// is. So all of them are looked at twice: if nobody ran from the first look to the second, and nobody is new, then there
    /// was a moment, between the two, when all slept.
    pub(crate) fn sleep(&mut self) -> bool {
        let links = self::links();
        if links != self.links {
            self.list();
            self.links = links;
        }
        let before = self.asleep();
        before.is_some() && before == self.asleep() && links == self::links()
    }

    /// How often each of them has run, if each is asleep.
    fn asleep(&mut self) -> Option<Vec<u64>> {
        let runs: Vec<_> = self.open.values().map_while(Thread::asleep).collect();
        if runs.iter().any(Result::is_err) {
            // Another one may have come in its place, and have its number.
            self.open.clear();
            self.links = 0;
            return None;
        }
        let all = runs.len() == self.open.len();
        all.then(|| runs.into_iter().flatten().collect())
    }

    fn list(&mut self) {
        let own = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        let mut before = std::mem::take(&mut self.open);
        for entry in fs::read_dir(TASKS).unwrap() {
            let entry = entry.unwrap();
            let Some(id) = entry.file_name().to_str().and_then(|id| id.parse().ok()) else {
                continue;
            };
            if id == own {
                continue;
            }
            let thread = before.remove(&id).map_or_else(
                || {
                    let open = |name| File::open(entry.path().join(name));
                    Ok::<_, std::io::Error>(Thread {
                        stat: open("stat")?,
                        syscall: open("syscall")?,
                        schedstat: open("schedstat")?,
                    })
                },
                Ok,
            );
            if let Ok(thread) = thread {
                self.open.insert(id, thread);
            }
        }
    }
}

impl Thread {
    /// How often it has run, if it is asleep. An error when it has ended.
    fn asleep(&self) -> Option<io::Result<u64>> {
        self.look().transpose()
    }

    fn look(&self) -> io::Result<Option<u64>> {
        // Enough for the state: the name before it has at most 15 characters.
        let mut buffer = [0; 64];
        let length = self.stat.read_at(&mut buffer, 0)?;
        if !sleeps(&buffer[..length]) {
            return Ok(None);
        }
        let length = self.syscall.read_at(&mut buffer, 0)?;
        // It has woken up in between, or will by itself.
        if buffer[..length].starts_with(b"running") || buffer[..length].starts_with(PAUSES) {
            return Ok(None);
        }
        let length = self.schedstat.read_at(&mut buffer, 0)?;
        let times = std::str::from_utf8(&buffer[..length]).unwrap();
        Ok(Some(
            times
                .split_ascii_whitespace()
                .nth(2)
                .unwrap()
                .parse()
                .unwrap(),
        ))
    }
}

fn links() -> u64 {
    fs::metadata(TASKS).unwrap().nlink()
}

/// The state stands behind the name, which is in brackets.
fn sleeps(stat: &[u8]) -> bool {
    let name_ends = stat.iter().rposition(|byte| *byte == b')');
    name_ends.is_some_and(|at| stat.get(at + 2) == Some(&b'S'))
}
