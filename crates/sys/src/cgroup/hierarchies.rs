//! Where the kernel's hierarchies of control groups are mounted, and which of them has which controller.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{CONTROLLERS, Cgroup, Error, at, read};

/// Where the hierarchies of this host are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchies {
    /// Of v2.
    pub(super) unified: Option<PathBuf>,
    /// Of the controllers that v1 has.
    legacy: Vec<(&'static str, PathBuf)>,
}

impl Hierarchies {
    /// Finds them. Every controller that [`Limits`] needs must be there.
    pub fn find() -> Result<Self, Error> {
        let mounts = Path::new("/proc/self/mountinfo");
        let found = Self::parse(&read(mounts)?);
        let offered = match &found.unified {
            Some(root) => read(&root.join("cgroup.controllers"))?,
            None => String::new(),
        };
        for controller in CONTROLLERS {
            let here = found.legacy_of(controller).is_some()
                || offered.split_ascii_whitespace().any(|c| c == controller);
            if !here {
                return Err(Error::NoController { controller });
            }
        }
        Ok(found)
    }

    fn parse(mountinfo: &str) -> Self {
        let mut found = Self {
            unified: None,
            legacy: Vec::new(),
        };
        for line in mountinfo.lines() {
            let Some((mount, kind)) = line.split_once(" - ") else {
                continue;
            };
            let (Some(at), mut kind) = (mount.split(' ').nth(4), kind.split(' ')) else {
                continue;
            };
            match (kind.next(), kind.nth(1)) {
                (Some("cgroup2"), _) => found.unified = Some(at.into()),
                (Some("cgroup"), Some(options)) => {
                    for controller in CONTROLLERS {
                        if options.split(',').any(|option| option == controller)
                            && found.legacy_of(controller).is_none()
                        {
                            found.legacy.push((controller, at.into()));
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Whether every controller that limits need is v2's.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.legacy.is_empty()
    }

    /// Whether groups can be made by this process: in a container the hierarchies are often mounted read-only.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let may = |root: &Path| rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_ok();
        self.roots().into_iter().all(may)
    }

    pub(super) fn legacy_of(&self, controller: &str) -> Option<&Path> {
        let (_, root) = self.legacy.iter().find(|(name, _)| *name == controller)?;
        Some(root)
    }

    /// The roots, each once.
    pub(super) fn roots(&self) -> BTreeSet<&Path> {
        let legacy = self.legacy_roots().into_iter();
        legacy.chain(self.unified.as_deref()).collect()
    }

    /// Those of v1, each once: one may have several controllers.
    pub(super) fn legacy_roots(&self) -> BTreeSet<&Path> {
        self.legacy.iter().map(|(_, root)| root.as_path()).collect()
    }

    /// The group of this name; nothing is made yet.
    #[must_use]
    pub fn group(&self, parent: &str, name: &str) -> Cgroup {
        Cgroup {
            hierarchies: self.clone(),
            parent: parent.to_owned(),
            name: name.to_owned(),
        }
    }

    /// How much memory that is no file's all groups below a parent have together, in bytes; 0 when there is no such parent.
    pub fn anonymous(&self, parent: &str) -> Result<u64, Error> {
        let (root, field) = match (self.legacy_of("memory"), &self.unified) {
            (Some(root), _) => (root, "total_rss "),
            (None, Some(root)) => (root.as_path(), "anon "),
            (None, None) => return Ok(0),
        };
        let text = match read(&root.join(parent).join("memory.stat")) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(0);
            }
            other => other?,
        };
        let told = text.lines().find_map(|line| line.strip_prefix(field));
        Ok(told
            .and_then(|bytes| bytes.trim().parse().ok())
            .unwrap_or(0))
    }

    /// The names of all groups below a parent, also of those that are half made.
    pub fn children(&self, parent: &str) -> Result<BTreeSet<String>, Error> {
        let mut names = BTreeSet::new();
        for root in self.roots() {
            let dir = root.join(parent);
            let entries = match fs::read_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(at(&dir))?,
            };
            for entry in entries {
                let entry = entry.map_err(at(&dir))?;
                if entry.file_type().map_err(at(&dir))?.is_dir() {
                    names.extend(entry.file_name().into_string());
                }
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_v2_has_one_root() {
        let found = Hierarchies::parse(
            "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             25 21 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(found.roots(), BTreeSet::from([Path::new("/sys/fs/cgroup")]));
        let group = found.group("wrenn-abc", "vm-1");
        assert_eq!(
            group.doors(),
            [PathBuf::from("/sys/fs/cgroup/wrenn-abc/vm-1/cgroup.procs")]
        );
        assert!(!group.is_legacy("memory"));
    }

    #[test]
    fn hybrid_takes_controllers_from_v1_and_shares_a_joint_mount() {
        let found = Hierarchies::parse(
            "30 25 0:23 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n\
             31 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             32 25 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             33 25 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
             34 25 0:27 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n",
        );
        assert_eq!(found.roots().len(), 4);
        assert_eq!(
            found.group("w", "v").dir_of("cpu"),
            Path::new("/sys/fs/cgroup/cpu,cpuacct/w/v")
        );
        assert!(found.legacy_of("memory").is_some());
    }
}
