//! A named pipe that a VMM writes to and we read: the kernel bounds what it holds, nobody blocks on it, and the next agent can
//! open it again. It has no end for as long as the VMM lives, since that holds its reading end, too.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::CWD;

/// The most that is read at once, in bytes: what a pipe holds.
const LONGEST: u64 = 64 << 10;

/// Our end.
#[derive(Debug)]
pub(crate) struct Pipe(File);

impl Pipe {
    /// Makes it.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        rustix::fs::mkfifoat(CWD, path, 0o600.into())?;
        Self::open(path)
    }

    /// Takes up one that is there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        open(path).map(Self)
    }

    /// Reads what there is.
    pub(crate) fn drain(&mut self) -> io::Result<Vec<u8>> {
        let mut new = Vec::new();
        match (&self.0).take(LONGEST).read_to_end(&mut new) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(new),
        }
    }
}

/// For both directions: a pipe whose last reader goes would fail its writers.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    options.open(path)
}
