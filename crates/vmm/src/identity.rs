//! By what a VMM's process is recognised after the agent was started anew: never by its number alone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wrenn_model::{Isolation, MiB, VmId};
use wrenn_sys::process::{Birth, FileId};

/// A VM's process, to be kept by the agent. Another process that got its number, another boot of the host, another
/// program or a process outside the VM's cgroup is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The VM.
    pub vm: VmId,
    /// The VM's folder.
    pub dir: PathBuf,
    /// What it runs under.
    pub isolation: Isolation,
    /// The process number, as the agent sees it.
    pub pid: i32,
    /// The host's boot and the time in it at which the process began.
    pub birth: Birth,
    /// The program that it runs.
    pub exe: FileId,
    /// How its cgroup is called, below where cgroups are mounted.
    pub cgroup: String,
    /// The guest's memory. `None` for a VM that was started before there was a use for it: it can't be captured.
    #[serde(default)]
    pub memory: Option<GuestMemory>,
}

/// By what the guest's memory is found among all that a VMM has mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMemory {
    /// The image that the VM was started from.
    pub image: FileId,
    /// Its size.
    pub size: MiB,
}

impl Identity {
    /// Whether the process ran before the host was last started, so that it can't live any more.
    #[must_use]
    pub fn of_former_boot(&self) -> bool {
        wrenn_sys::process::boot_id().is_ok_and(|now| now != self.birth.boot_id)
    }
}
