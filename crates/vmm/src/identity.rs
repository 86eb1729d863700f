//! By what a VMM's process is recognised after the agent was started anew: never by its number alone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wrenn_model::{Isolation, MiB, VmId};
use wrenn_sys::cgroup::Cgroup;
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
    /// Who brings its memory, where that is a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Helper>,
}

/// A process beside a VMM that the VM cannot go on without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    /// The process number, as the agent sees it.
    pub pid: i32,
    /// The host's boot and the time in it at which the process began.
    pub birth: Birth,
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

    /// The same, told apart from one that the kernel ended for want of memory: its group tells for as long as it stands.
    pub(crate) fn process_in(&self, cgroup: &Cgroup) -> Result<Process, Error> {
        match self.process() {
            Err(Error::Gone) if cgroup.oom_kills() > 0 => Err(Error::OutOfMemory),
            other => other,
        }
    }

    /// Whether the process ran before the host was last started, so that it can't live any more.
    #[must_use]
    pub fn of_former_boot(&self) -> bool {
        wrenn_sys::process::boot_id().is_ok_and(|now| now != self.birth.boot_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wrenn_sys::cgroup::{Hierarchies, Limits};

    /// A program in a group of its own.
    fn begin(group: &Cgroup) -> std::process::Child {
        let limits = Limits {
            memory: 64 << 20,
            cpu_milli: 1000,
            pids: 8,
        };
        group.create(limits).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a process to be recognised")]
        let child = std::process::Command::new("sleep").arg("600").spawn();
        let child = child.unwrap();
        for door in group.doors() {
            std::fs::write(door, child.id().to_string()).unwrap();
        }
        child
    }

    fn of(child: &std::process::Child, group: &Cgroup) -> Identity {
        let pid = child.id().try_into().unwrap();
        Identity {
            vm: VmId::random(),
            dir: PathBuf::from("/nowhere"),
            isolation: Isolation::Emulated,
            pid,
            birth: process::birth(pid).unwrap().unwrap(),
            exe: process::exe(pid).unwrap().unwrap(),
            cgroup: group.path(),
            memory: None,
            pages: None,
        }
    }

    /// Whoever has the number of a VMM that has ended is neither taken for it nor ended with it.
    #[tokio::test]
    async fn another_process_with_the_same_number_is_somebody_else() {
        let parent = format!("wrenn-test-identity-{}", std::process::id());
        let hierarchies = Hierarchies::find().unwrap();
        let [ours, other] = ["ours", "other"].map(|name| hierarchies.group(&parent, name));
        let mut child = begin(&ours);
        let identity = of(&child, &ours);
        let own = process::exe(std::process::id().try_into().unwrap());
        let former_boot = Birth {
            boot_id: "11111111-2222-3333-4444-555555555555".into(),
            ..identity.birth.clone()
        };
        let earlier = Birth {
            start_time: identity.birth.start_time - 1,
            ..identity.birth.clone()
        };
        for (what, reused) in [
            (
                "a birth",
                Identity {
                    birth: earlier,
                    ..identity.clone()
                },
            ),
            (
                "a boot",
                Identity {
                    birth: former_boot,
                    ..identity.clone()
                },
            ),
            (
                "a program",
                Identity {
                    exe: own.unwrap().unwrap(),
                    ..identity.clone()
                },
            ),
            (
                "a group",
                Identity {
                    cgroup: other.path(),
                    ..identity.clone()
                },
            ),
            (
                "a number",
                Identity {
                    pid: i32::MAX,
                    ..identity.clone()
                },
            ),
        ] {
            let process = reused.process();
            assert!(matches!(process, Err(Error::Gone)), "{what}: {process:?}");
            assert_eq!(reused.of_former_boot(), what == "a boot");
            // What is ended of a VM is what is in its group.
            other.end(Duration::from_secs(5)).await.unwrap();
            assert!(child.try_wait().unwrap().is_none(), "{what} ended it");
        }
        assert_eq!(identity.process().unwrap().pid(), identity.pid);
        ours.end(Duration::from_secs(5)).await.unwrap();
        assert!(matches!(identity.process(), Err(Error::Gone)));
        drop(child.wait());
    }
}
