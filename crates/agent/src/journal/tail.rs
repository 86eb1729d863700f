//! The journal's open file: made anew aside, or taken up, and written at its end.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use wrenn_sys::durable;

use super::frames::{FRAME, log};
use super::{Error, is_full};

/// How far ahead of its end the file is filled, in bytes.
const AHEAD: usize = 1 << 20;

/// Why an append failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no room, and nothing was touched.
    Full,
    /// Nobody knows what the disk has.
    Broken(String),
}

/// The open file, and where it goes on.
pub(super) struct Tail {
    pub(super) file: File,
    pub(super) end: u64,
    /// How far there are blocks to overwrite.
    filled: u64,
}

impl Tail {
    /// A new log with these records, in the place of whatever was at `path`.
    pub(super) fn create(
        path: &Path,
        live: &HashMap<String, serde_json::Value>,
    ) -> Result<Self, Error> {
        let aside = path.with_extension("new");
        let mut bytes = log(live)?;
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + AHEAD, 0);
        let written = Self::write_aside(&aside, &bytes).inspect_err(|_| {
            // The error that led here is the one to tell.
            drop(durable::remove(&aside));
        });
        let file = written.map_err(Error::io(path))?;
        durable::publish(&aside, path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            file,
            end,
            filled: bytes.len() as u64,
        })
    }

    fn write_aside(aside: &Path, bytes: &[u8]) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(aside)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        Ok(file)
    }

    /// The log that is there, from its end on.
    pub(super) fn reopen(path: &Path, end: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let filled = file.metadata()?.len();
        let rest = usize::try_from(filled.saturating_sub(end)).unwrap_or(0);
        // A torn frame would stick out behind a shorter one.
        file.write_all_at(&vec![0; rest], end)?;
        file.sync_all()?;
        Ok(Self { file, end, filled })
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let broken = |error: io::Error| Failure::Broken(error.to_string());
        let end = self.end + bytes.len() as u64;
        if end + FRAME as u64 > self.filled {
            let zeros = vec![0; bytes.len() + AHEAD];
            match self.file.write_all_at(&zeros, self.filled) {
                Err(error) if is_full(&error) => return Err(Failure::Full),
                written => written.map_err(broken)?,
            }
            self.file.sync_all().map_err(broken)?;
            self.filled += zeros.len() as u64;
        }
        self.file.write_all_at(bytes, self.end).map_err(broken)?;
        self.file.sync_data().map_err(broken)?;
        self.end = end;
        Ok(())
    }
}
