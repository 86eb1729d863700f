//! Whether anything goes on beside this thread: databases, journals and file work have threads of their own, and time must
//! not pass while one of them is at work.

use std::collections::BTreeMap;
use std::fs::{self, File};
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
}

impl Threads {
    /// Whether each of them sleeps until something happens.
    pub(crate) fn sleep(&mut self) -> bool {
        let links = fs::metadata(TASKS).unwrap().nlink();
        if links != self.links {
            self.list();
            self.links = links;
        }
        // The name has at most 15 characters.
        let mut buffer = [0; 48];
        let mut gone = false;
        for thread in self.open.values() {
            match thread.stat.read_at(&mut buffer, 0) {
                Ok(length) if sleeps(&buffer[..length]) => {}
                Ok(_) => return false,
                Err(_) => gone = true,
            }
            match thread.syscall.read_at(&mut buffer, 0) {
                // It has woken up in between.
                Ok(length) if buffer[..length].starts_with(b"running") => return false,
                Ok(length) if buffer[..length].starts_with(PAUSES) => return false,
                Ok(_) => {}
                Err(_) => gone = true,
            }
        }
        if gone {
            // Another one may have come in its place, and have its number.
            self.open.clear();
            self.links = 0;
        }
        !gone
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

/// The state stands behind the name, which is in brackets.
fn sleeps(stat: &[u8]) -> bool {
    let name_ends = stat.iter().rposition(|byte| *byte == b')');
    name_ends.is_some_and(|at| stat.get(at + 2) == Some(&b'S'))
}
