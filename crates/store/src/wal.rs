//! The write-ahead log beside a database: SQLite takes one that it can not read for one that is empty, and says nothing.
//!
//! A log begins with a header of 32 bytes, a sum over it at its end (sqlite.org/fileformat2.html, "WAL File Format"). A
//! power cut may leave it short or zero, and any frame after it torn; nothing but damage makes it something else.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::StoreError;

const HEADER: usize = 32;
/// The first four bytes, but for the last bit: that says in which byte order the sums are counted.
const MAGIC: u32 = 0x377f_0682;

/// Refuses a database whose log has no header that SQLite wrote.
pub(crate) fn check(database: &Path) -> Result<(), StoreError> {
    let header = header(database)?;
    match header.map(|header| is_header(&header)) {
        Some(false) => Err(StoreError::damaged(
            &path(database),
            "it is no write-ahead log, and what was in it can not be read",
        )),
        Some(true) | None => Ok(()),
    }
}

/// Refuses to begin with an empty database where a log is left of another: it would be taken for the new one's.
pub(crate) fn check_alone(database: &Path) -> Result<(), StoreError> {
    match header(database)? {
        Some(_) => Err(StoreError::Lost {
            path: database.to_owned(),
            wal: path(database),
        }),
        None => Ok(()),
    }
}

fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// The beginning of the log; none where nothing was ever written to it.
fn header(database: &Path) -> Result<Option<[u8; HEADER]>, StoreError> {
    let mut header = [0; HEADER];
    let read = File::open(path(database)).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) => Ok((header != [0; HEADER]).then_some(header)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
            Ok(None)
        }
        Err(error) => Err(sqlx::Error::Io(error).into()),
    }
}

fn is_header(header: &[u8; HEADER]) -> bool {
    let big = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
    let counted = |at: usize| {
        if big(0) & 1 == 1 {
            big(at)
        } else {
            big(at).swap_bytes()
        }
    };
    let sum = (0..24).step_by(8).fold((0_u32, 0_u32), |(a, b), at| {
        let a = a.wrapping_add(counted(at)).wrapping_add(b);
        (a, b.wrapping_add(counted(at + 4)).wrapping_add(a))
    });
    big(0) & !1 == MAGIC && sum == (big(24), big(28))
}
