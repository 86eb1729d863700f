//! What can go wrong with generations.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::{GenerationId, archive, manifest};

/// Why something could not be done with a generation, or what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its manifest is damaged, or another's.
    #[error("the manifest is damaged")]
    Manifest(#[from] manifest::Invalid),
    /// It is there no more, or never was.
    #[error("there is no generation {0} any more")]
    Removed(GenerationId),
    /// A file is not there.
    #[error("its {file} is missing")]
    Missing {
        /// Which.
        file: &'static str,
    },
    /// The device state is not the one that was saved.
    #[error("the device state is not the one that was saved")]
    State,
    /// A file has another length than when it was saved.
    #[error("its {file} has {len} bytes, not {expected}")]
    Size {
        /// Which.
        file: &'static str,
        /// Its length, in bytes.
        len: u64,
        /// What it was when it was saved, in bytes.
        expected: u64,
    },
    /// A file has data in other places than when it was saved.
    #[error("its {file} has data in other places than when it was saved")]
    Extents {
        /// Which.
        file: &'static str,
    },
    /// A block of a file does not hold what was saved.
    #[error("its {file} is damaged at byte {offset}")]
    Data {
        /// Which.
        file: &'static str,
        /// Where the first such block begins, in bytes.
        offset: u64,
    },
    /// A file is in itself right, but it is not the one that was saved.
    #[error("its {file} is not the one that was saved")]
    Root {
        /// Which.
        file: &'static str,
    },
    /// The sums of a file are damaged; the file itself is what was saved.
    #[error("the sums of its {file} are damaged")]
    Sums {
        /// Of which.
        file: &'static str,
    },
    /// It was found to be damaged before.
    #[error("it was found to be damaged: {0}")]
    Damaged(String),
    /// A device state is longer than any is.
    #[error("the device state has {0} bytes, more than any has")]
    StateTooLong(usize),
    /// It was to be published without a part of it.
    #[error("it has no {0} yet")]
    Incomplete(&'static str),
    /// The memory image that the VM maps is not that of the generation that it is said to come from, or holds data and
    /// comes from none.
    #[error("the image {} is not that of the generation it should be", image.display())]
    Unrelated {
        /// What the VM maps.
        image: PathBuf,
    },
    /// Whoever asked wants to know no more.
    #[error("it was stopped before its end")]
    Stopped,
    /// An archive is not one, or is damaged.
    #[error("the archive is not usable")]
    Archive(#[from] archive::Invalid),
    /// The memory image.
    #[error("the image could not be read or written")]
    Memory(#[from] wrenn_memory::Error),
    /// The disk layer.
    #[error("the disk's layer could not be kept")]
    Disk(#[from] wrenn_disk::Error),
    /// The kernel refused.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// Whether it says that a generation is damaged, rather than that something could not be done with it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Manifest(_)
            | Self::Missing { .. }
            | Self::State
            | Self::Size { .. }
            | Self::Extents { .. }
            | Self::Data { .. }
            | Self::Root { .. }
            | Self::Sums { .. }
            | Self::Damaged(_) => true,
            Self::Removed(_)
            | Self::Incomplete(_)
            | Self::Unrelated { .. }
            | Self::StateTooLong(_)
            | Self::Stopped
            | Self::Archive(_)
            | Self::Memory(_)
            | Self::Disk(_)
            | Self::Io { .. } => false,
        }
    }

    /// Whether the file system had no room.
    #[must_use]
    pub fn no_space(&self) -> bool {
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                );
            }
            cause = error.source();
        }
        false
    }

    /// What turns the kernel's answer into an error that says what was tried on which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}
