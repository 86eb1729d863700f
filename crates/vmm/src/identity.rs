//! By what a VMM's process is recognised after the agent was started anew: never by its number alone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wrenn_model::{Isolation, MiB, VmId};
use wrenn_sys::process::{self, Birth, FileId, Process};

use crate::Error;

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
    /// The process, watched, if it is still the same one. Wants a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Gone`] when it lives no more, whoever has its number now.
    pub fn process(&self) -> Result<Process, Error> {
        let look = || Error::io("looking at the VMM's process");
        // First held, then compared: what is compared is what is held, if that still lives afterwards.
        let process = Process::open(self.pid)
            .map_err(look())?
            .ok_or(Error::Gone)?;
        let same = process::birth(self.pid).map_err(look())?.as_ref() == Some(&self.birth)
            && process::exe(self.pid).map_err(look())? == Some(self.exe)
            && process::cgroups(self.pid)
                .map_err(look())?
                .iter()
                .any(|path| path.ends_with(&self.cgroup));
        if same && process::birth(self.pid).map_err(look())?.is_some() {
            Ok(process)
        } else {
            Err(Error::Gone)
        }
    }

    /// Whether the process ran before the host was last started, so that it can't live any more.
    #[must_use]
    pub fn of_former_boot(&self) -> bool {
        wrenn_sys::process::boot_id().is_ok_and(|now| now != self.birth.boot_id)
    }
}
