//! Control groups: limits on a group of processes, and the surest way to end all of them.
//!
//! A host has one hierarchy for everything (v2), one for each controller (v1), or both (hybrid, where v2 has no
//! controllers but can still kill). A group here is one directory of the same name in each hierarchy that is needed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::process;

mod hierarchies;

pub use hierarchies::Hierarchies;

/// The controllers that limits need.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// The window of time in which `cpu.max` is counted.
const CPU_PERIOD_US: u64 = 100_000;
/// How often a group's directories are made anew when a neighbour's end takes the parent away.
const CREATE_TRIES: u32 = 16;

/// What can go wrong with a control group.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host does not offer a controller.
    #[error("this host has no cgroup controller {controller:?}; is /sys/fs/cgroup mounted?")]
    NoController {
        /// The controller.
        controller: &'static str,
    },
    /// The kernel refused.
    #[error("{}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something in the group does not end.
    #[error("the cgroup {name} still has processes after {limit:?}")]
    Busy {
        /// The group.
        name: String,
        /// How long it was tried.
        limit: Duration,
    },
}

/// What a group may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory in bytes, without swap.
    pub memory: u64,
    /// Thousandths of a CPU.
    pub cpu_milli: u32,
    /// Processes and threads.
    pub pids: u32,
}

/// How much of the processors a group gets where others want them too. One that is alone has all that its limit lets it have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CpuShare {
    /// As much as any other.
    #[default]
    Usual,
    /// What the others leave, and a sixteenth of what each of them gets.
    Background,
}

impl CpuShare {
    /// `cpu.shares` of v1, 1024 as a rule (kernel doc `scheduler/sched-design-CFS.rst`).
    fn shares(self) -> &'static str {
        match self {
            Self::Usual => "1024",
            Self::Background => "64",
        }
    }

    /// `cpu.weight` of v2, 100 as a rule (kernel doc `admin-guide/cgroup-v2.rst`).
    fn weight(self) -> &'static str {
        match self {
            Self::Usual => "100",
            Self::Background => "6",
        }
    }
}

/// How a process gets into a group without the kernel's lock on all forks, which only the move of a whole process takes
/// (`cgroup_procs_write_start` in `kernel/cgroup/cgroup.c`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The files of v1 into which a thread writes `0` to join alone. For a process with one thread that is all of it.
    pub tasks: Vec<PathBuf>,
    /// The directory of v2, where a thread can't join alone: the process is born there (`CLONE_INTO_CGROUP`, clone(2)).
    pub birthplace: Option<PathBuf>,
}

/// A group of processes. It is made by [`Cgroup::create`] and unmade by [`Cgroup::end`], never by dropping it.
#[derive(Debug, Clone)]
pub struct Cgroup {
    hierarchies: Hierarchies,
    parent: String,
    name: String,
}

impl Cgroup {
    /// Its path below the mount points, as `/proc/PID/cgroup` ends.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/{}", self.parent, self.name)
    }

    /// The files into which a process writes `0` to join it. For each process that moves, the kernel makes every fork and
    /// every exit of the host wait, and itself for all CPUs: 10 to 20 ms. [`Cgroup::entry`] is the quick way.
    #[must_use]
    pub fn doors(&self) -> Vec<PathBuf> {
        let dirs = self.dirs().into_iter();
        dirs.map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// The way in for a process that is about to be made.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let legacy = self.hierarchies.legacy_roots().into_iter();
        let unified = self.hierarchies.unified.as_deref();
        Entry {
            tasks: legacy.map(|root| self.dir_in(root).join("tasks")).collect(),
            birthplace: unified.map(|root| self.dir_in(root)),
        }
    }

    /// Makes it, with its limits, and its parent when that is not there yet.
    pub fn create(&self, limits: Limits) -> Result<(), Error> {
        for root in self.hierarchies.roots() {
            self.create_in(root)?;
        }
        self.limit(limits)
    }

    /// Says how much of the processors it gets beside its neighbours. A group that was just made has the usual share.
    pub fn share(&self, share: CpuShare) -> Result<(), Error> {
        let dir = self.dir_of("cpu");
        if self.is_legacy("cpu") {
            write(&dir.join("cpu.shares"), share.shares())
        } else {
            write(&dir.join("cpu.weight"), share.weight())
        }
    }

    fn create_in(&self, root: &Path) -> Result<(), Error> {
        let parent = root.join(&self.parent);
        let dir = parent.join(&self.name);
        let mut tries = 0;
        loop {
            make(&parent)?;
            if Some(root) == self.hierarchies.unified.as_deref() {
                self.delegate(root)?;
                self.delegate(&parent)?;
            }
            match make(&dir) {
                // The end of a neighbour took the parent away.
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && tries < CREATE_TRIES =>
                {
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// Lets the groups below `dir` of v2 have the controllers that v1 does not have.
    fn delegate(&self, dir: &Path) -> Result<(), Error> {
        let wanted = CONTROLLERS
            .iter()
            .filter(|controller| self.hierarchies.legacy_of(controller).is_none())
            .map(|controller| format!("+{controller}"))
            .collect::<Vec<_>>();
        if wanted.is_empty() {
            return Ok(());
        }
        write(&dir.join("cgroup.subtree_control"), &wanted.join(" "))
    }

    fn limit(&self, limits: Limits) -> Result<(), Error> {
        let quota = CPU_PERIOD_US * u64::from(limits.cpu_milli) / 1000;
        let memory = limits.memory.to_string();
        let dir = self.dir_of("memory");
        if self.is_legacy("memory") {
            write(&dir.join("memory.limit_in_bytes"), &memory)?;
            let with_swap = dir.join("memory.memsw.limit_in_bytes");
            if with_swap.exists() {
                write(&with_swap, &memory)?;
            } else {
                write(&dir.join("memory.swappiness"), "0")?;
            }
        } else {
            write(&dir.join("memory.max"), &memory)?;
            write_if_there(&dir.join("memory.swap.max"), "0")?;
            write(&dir.join("memory.oom.group"), "1")?;
        }
        let dir = self.dir_of("cpu");
        if self.is_legacy("cpu") {
            let period = CPU_PERIOD_US.to_string();
            write(&dir.join("cpu.cfs_period_us"), &period)?;
            write(&dir.join("cpu.cfs_quota_us"), &quota.to_string())?;
        } else {
            write(&dir.join("cpu.max"), &format!("{quota} {CPU_PERIOD_US}"))?;
        }
        let dir = self.dir_of("pids");
        write(&dir.join("pids.max"), &limits.pids.to_string())
    }

    /// How often the kernel ended a process of the group for want of memory; 0 when there is no such group.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let dir = self.dir_of("memory");
        let events = if self.is_legacy("memory") {
            "memory.oom_control"
        } else {
            "memory.events"
        };
        let text = fs::read_to_string(dir.join(events)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Whether anything of it stands.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.dirs().iter().any(|dir| dir.exists())
    }

    /// Sends every process in it the signal that can't be refused. A group that is not there is fine.
    pub fn kill(&self) -> Result<(), Error> {
        if let Some(root) = &self.hierarchies.unified {
            write_if_there(&self.dir_in(root).join("cgroup.kill"), "1")?;
        }
        // Who has not joined every hierarchy yet, or lives on a kernel before 5.14.
        for door in self.doors() {
            for pid in processes(&door)? {
                process::kill_if(pid, || processes(&door).is_ok_and(|now| now.contains(&pid)))
                    .map_err(at(&door))?;
            }
        }
        Ok(())
    }

    /// Ends every process in it and removes it; returns when it is gone. A group that is not there is fine.
    pub async fn end(&self, limit: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        while self.exists() {
            self.kill()?;
            if self.remove()? {
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::Busy {
                    name: self.path(),
                    limit,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        self.remove_parent();
        Ok(())
    }

    /// One try; `false` when some directory is still busy.
    fn remove(&self) -> Result<bool, Error> {
        let mut gone = true;
        for dir in self.dirs() {
            match fs::remove_dir(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => gone = false,
                Err(error) => return Err(at(&dir)(error)),
            }
        }
        Ok(gone)
    }

    /// The last one out takes the parent along; it is busy for everybody else.
    fn remove_parent(&self) {
        for root in self.hierarchies.roots() {
            drop(fs::remove_dir(root.join(&self.parent)));
        }
    }

    fn dirs(&self) -> Vec<PathBuf> {
        let roots = self.hierarchies.roots().into_iter();
        roots.map(|root| self.dir_in(root)).collect()
    }

    fn dir_in(&self, root: &Path) -> PathBuf {
        root.join(&self.parent).join(&self.name)
    }

    fn is_legacy(&self, controller: &str) -> bool {
        self.hierarchies.legacy_of(controller).is_some()
    }

    /// The directory in which a controller's files are.
    fn dir_of(&self, controller: &str) -> PathBuf {
        let legacy = self.hierarchies.legacy_of(controller);
        let root = legacy.or(self.hierarchies.unified.as_deref());
        self.dir_in(root.unwrap_or(Path::new("/sys/fs/cgroup")))
    }
}

fn processes(door: &Path) -> Result<Vec<i32>, Error> {
    match fs::read_to_string(door) {
        // One of a process namespace above is 0 here: under KVM a thread of the kernel's own, which ends with its VM.
        Ok(text) => {
            let pids = text.lines().filter_map(|line| line.parse().ok());
            Ok(pids.filter(|pid| *pid != 0).collect())
        }
        // ENODEV: the directory went away while the file was open.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc::ENODEV) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(at(door)(error)),
    }
}

fn make(dir: &Path) -> Result<(), Error> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(at(dir)),
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(at(path))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    // Not fs::write: a file of a cgroup is there or not, it is never made.
    let opened = fs::OpenOptions::new().write(true).open(path);
    let written = opened.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(at(path))
}

fn write_if_there(path: &Path, text: &str) -> Result<(), Error> {
    match write(path, text) {
        Err(Error::Io { source, .. })
            if source.kind() == io::ErrorKind::NotFound
                || source.raw_os_error() == Some(libc::ENODEV) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[tokio::test]
    async fn a_group_ends_what_is_in_it_and_leaves_nothing() {
        let hierarchies = Hierarchies::find().unwrap();
        let parent = format!("wrenn-test-{}", std::process::id());
        let group = hierarchies.group(&parent, "g");
        let limits = Limits {
            memory: 64 << 20,
            cpu_milli: 500,
            pids: 8,
        };
        group.create(limits).unwrap();
        group.create(limits).unwrap();
        assert_eq!(
            hierarchies.children(&parent).unwrap(),
            BTreeSet::from(["g".to_owned()])
        );
        #[expect(clippy::disallowed_methods, reason = "a process to end")]
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        for door in group.doors() {
            write(&door, &child.id().to_string()).unwrap();
        }
        let pid = child.id().try_into().unwrap();
        assert!(
            process::cgroups(pid)
                .unwrap()
                .iter()
                .any(|path| path.ends_with(&group.path()))
        );
        group.end(Duration::from_secs(5)).await.unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!group.exists());
        assert!(
            hierarchies
                .roots()
                .iter()
                .all(|r| !r.join(&parent).exists())
        );
        group.end(Duration::from_secs(5)).await.unwrap();
        group.kill().unwrap();
    }

    #[tokio::test]
    async fn a_group_in_the_background_gets_what_its_neighbour_leaves() {
        let parent = format!("wrenn-test-share-{}", std::process::id());
        let hierarchies = Hierarchies::find().unwrap();
        let limits = Limits {
            memory: 64 << 20,
            cpu_milli: 4000,
            pids: 8,
        };
        // Both on one processor, so that each has what the other does not get.
        let busy = |name: &str, share: CpuShare| {
            let group = hierarchies.group(&parent, name);
            group.create(limits).unwrap();
            group.share(share).unwrap();
            #[expect(clippy::disallowed_methods, reason = "a process that never rests")]
            let child = std::process::Command::new("taskset")
                .args(["-c", "0", "sh", "-c", "while :; do :; done"])
                .spawn()
                .unwrap();
            for door in group.doors() {
                write(&door, &child.id().to_string()).unwrap();
            }
            (group, child)
        };
        let (usual, mut first) = busy("usual", CpuShare::Usual);
        let (behind, mut second) = busy("behind", CpuShare::Background);
        let used = |child: &std::process::Child| {
            let pid = child.id().try_into().unwrap();
            process::usage(pid).unwrap().unwrap().cpu
        };
        let before = (used(&first), used(&second));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let took = (used(&first) - before.0, used(&second) - before.1);
        // As usual again.
        behind.share(CpuShare::Usual).unwrap();
        for group in [usual, behind] {
            group.end(Duration::from_secs(5)).await.unwrap();
        }
        assert!(!first.wait().unwrap().success() && !second.wait().unwrap().success());
        assert!(took.0 > took.1 * 4, "{took:?}");
    }

    #[tokio::test]
    async fn a_process_over_the_memory_limit_is_ended_and_counted() {
        let hierarchies = Hierarchies::find().unwrap();
        let group = hierarchies.group(&format!("wrenn-test-oom-{}", std::process::id()), "g");
        group
            .create(Limits {
                memory: 16 << 20,
                cpu_milli: 1000,
                pids: 8,
            })
            .unwrap();
        let join = group
            .doors()
            .iter()
            .map(|door| format!("echo $$ > {};", door.display()))
            .collect::<String>();
        #[expect(clippy::disallowed_methods, reason = "a process that wants too much")]
        let status = std::process::Command::new("sh")
            .args([
                "-c",
                &format!("{join} head -c 134217728 /dev/zero | tail -c 67108864 >/dev/null"),
            ])
            .status()
            .unwrap();
        let kills = group.oom_kills();
        let parent = format!("wrenn-test-oom-{}", std::process::id());
        assert_eq!(hierarchies.anonymous("wrenn-test-never").unwrap(), 0);
        assert!(hierarchies.anonymous(&parent).unwrap() < 16 << 20);
        group.end(Duration::from_secs(5)).await.unwrap();
        assert!(!status.success());
        assert!(kills >= 1, "{kills}");
    }
}
