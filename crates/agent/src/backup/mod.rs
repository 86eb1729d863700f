//! An installation's data directory into a backup, beside an agent that runs or without one, and out of it again.
//!
//! ```text
//!   fit      which sandboxes a backup has, and as what
//!   trees    folders opened as they are at one moment
//!   gather   all that belongs in a backup, opened: what is open stays as it is, whatever becomes of its name
//!   target   where files are made aside, and how they come to their place
//!   restore  a data directory out of a backup
//! ```
//!
//! A sandbox is in a backup by its newest generation, whose files nobody ever writes again. One that runs has a virtual
//! machine that goes on writing, so that of it there is its last pause, if it has one, and nothing else.

mod fit;
mod gather;
mod restore;
mod target;
mod trees;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wrenn_model::{InstanceId, SandboxId, Status};

pub use gather::Backup;
pub use restore::{Restore, Restored, restore};

use wrenn_model::chain;

/// The version of the head that is written and read.
const VERSION: u32 = 1;
/// The tree of a data directory.
const DATA: &str = "data";
/// The tree of a control plane's own folder.
const STATE: &str = "state";

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    /// Milliseconds since the epoch.
    made_ms: i64,
    release: String,
    instance: InstanceId,
    /// Whether it has the folder of a control plane that runs by itself.
    state: bool,
    sandboxes: Vec<SandboxId>,
    left_out: Vec<LeftOut>,
}

/// A sandbox that a backup does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Which.
    pub id: SandboxId,
    /// What it was then.
    pub status: Status,
    /// Why it is not in it.
    pub why: String,
}

/// Why there is no backup, or nothing came of one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The Wrenn that has the directory has not mounted its store yet, or no more.
    #[error("the store of {path} is not mounted: its Wrenn is starting or ending")]
    NotMounted {
        /// The data directory.
        path: PathBuf,
    },
    /// A record was written by another release.
    #[error("the record of sandbox {id} cannot be read: {why}")]
    Unreadable {
        /// The sandbox.
        id: String,
        /// What is wrong with the record.
        why: String,
    },
    /// Something was replaced as often as it was looked at.
    #[error("{what} does not stand still for long enough to be read")]
    Restless {
        /// Its path.
        what: PathBuf,
    },
    /// The stream itself.
    #[error(transparent)]
    Stream(#[from] wrenn_backup::Error),
    /// The backup's head is not what its version says.
    #[error("its head is not one of a Wrenn installation: {0}")]
    Head(String),
    /// There is something where a backup should be restored to.
    #[error("{path} is not empty")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// Another restore works there.
    #[error("another restore works on {path}")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The kernel has what bears the name of the installation that is to be restored.
    #[error("{instance} is up on this machine, or left something here: {found}")]
    Standing {
        /// The installation.
        instance: InstanceId,
        /// Something that was found.
        found: String,
    },
    /// Anything else that was in the way.
    #[error("{what}: {}", chain(source.as_ref()))]
    Failed {
        /// What could not be done.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BackupError {
    /// Whether a disk without room is behind it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let io = match self {
            Self::Stream(wrenn_backup::Error::File { source, .. }) => Some(source),
            Self::Stream(wrenn_backup::Error::Write(source)) => Some(source),
            Self::Failed { source, .. } => match source.downcast_ref() {
                Some(wrenn_disk::Error::HostFull { .. }) => return true,
                _ => source.downcast_ref(),
            },
            _ => None,
        };
        io.is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::StorageFull)
    }

    /// Whether a backup is not what was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use wrenn_backup::Error as Stream;
        matches!(
            self,
            Self::Head(_)
                | Self::Stream(
                    Stream::Truncated | Stream::Trailing | Stream::Sum | Stream::Invalid(_)
                )
        )
    }
}

/// For `map_err`: what could not be done.
fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &'static str,
) -> impl Fn(E) -> BackupError {
    move |error| BackupError::Failed {
        what,
        source: error.into(),
    }
}
