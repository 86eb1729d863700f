//! What can be wrong with a backup, and what can come in the way of making or using one.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::VERSION;

/// Why a backup was not written or not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is something else.
    #[error("it is no backup")]
    Foreign,
    /// It has another version.
    #[error("it has version {0}, and {VERSION} is known")]
    Version(u32),
    /// It ends too early.
    #[error("it is truncated")]
    Truncated,
    /// It goes on behind its end.
    #[error("something follows behind its end")]
    Trailing,
    /// It is not what was written.
    #[error("its sum is not that of its contents")]
    Sum,
    /// It says what no backup says.
    #[error("it is damaged: its {0} makes no sense")]
    Invalid(&'static str),
    /// It could not be read.
    #[error("it could not be read")]
    Read(#[source] io::Error),
    /// It could not be written.
    #[error("it could not be written")]
    Write(#[source] io::Error),
    /// One of the files that go into it or come out of it.
    #[error("{path}")]
    File {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Read(error),
        }
    }

    /// For `map_err`.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
