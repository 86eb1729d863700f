//! What can go wrong with a VM.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use wrenn_model::Mismatch;
use wrenn_sys::{cgroup, program};

use crate::RunState;

/// Why a VM could not be started, adopted, asked or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no QEMU on this host.
    #[error(
        "QEMU is not installed: no {name} in PATH. Install qemu-system-x86 from bookworm-backports \
         (apt-get install -t bookworm-backports qemu-system-x86)"
    )]
    Missing {
        /// What was looked for.
        name: String,
    },
    /// The QEMU of this host is too old.
    #[error(
        "{} is QEMU {found}; Wrenn needs {needed} or newer. Install qemu-system-x86 from bookworm-backports \
         (apt-get install -t bookworm-backports qemu-system-x86)",
        path.display()
    )]
    TooOld {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The oldest that will do, as a major version.
        needed: u32,
    },
    /// The QEMU of this host is not what we take it for: its version, libraries or firmware could not be found.
    #[error("{} can not be used: {why}", path.display())]
    Unusable {
        /// Where it is.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// There is no Firecracker on this host that will do.
    #[error("Firecracker can not be used on this host")]
    Firecracker(#[from] crate::firecracker::install::Error),
    /// Hardware virtualisation was asked for and is not there, or no guest gets anywhere under it.
    #[error("KVM can not be used on this host: {why}")]
    NoKvm {
        /// What was tried.
        why: String,
    },
    /// Memory can not be brought to Firecracker page by page.
    #[error(
        "this host's kernel offers no userfaultfd to a process without rights: there is no /dev/userfaultfd (Linux 6.1 has it), and \
         vm.unprivileged_userfaultfd is 0"
    )]
    NoUserfault,
    /// What was asked for is impossible.
    #[error("the VM's description is wrong: {0}")]
    Spec(String),
    /// The jail could not be made.
    #[error("the jail could not be made: {0}")]
    Jail(String),
    /// The VMM ended right after its start.
    #[error("the VMM did not start: {said}")]
    Start {
        /// The end of what it said, or how it ended.
        said: String,
    },
    /// The saved state belongs to another platform.
    #[error("the saved state can not be loaded here")]
    Mismatch(#[from] Mismatch),
    /// The saved state was not accepted.
    #[error("the saved state can not be loaded: {said}")]
    Restore {
        /// The end of what the VMM said, or how it ended.
        said: String,
    },
    /// Only a VM that stands still can be captured.
    #[error("the VM does not stand still: it is {0:?}")]
    NotFrozen(RunState),
    /// The VMM lives no more.
    #[error("the VM is gone")]
    Gone,
    /// The kernel ended the VMM for want of memory while nobody watched it.
    #[error("the VM ran out of memory")]
    OutOfMemory,
    /// The VMM refused a command.
    #[error("the VMM refused {command}: {said}")]
    Refused {
        /// The command.
        command: &'static str,
        /// Its reason, shortened.
        said: String,
    },
    /// The VMM does not speak as it should.
    #[error("the VMM's answer makes no sense: {0}")]
    Protocol(String),
    /// It took too long.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// What.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// The kernel's limits and accounting could not be set up or taken down.
    #[error("the VM's cgroup")]
    Cgroup(#[from] cgroup::Error),
    /// A program of the host failed.
    #[error("a program of the host")]
    Program(#[from] program::Error),
    /// The kernel refused.
    #[error("{what}")]
    Io {
        /// What was done.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: says what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
