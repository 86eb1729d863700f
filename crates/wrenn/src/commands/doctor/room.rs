//! What there is of disk, memory, descriptors and time.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use wrenn_sys::clock;

use super::finding::Finding;
use super::{folder, told};

const GIB: u64 = 1 << 30;
/// What the first start writes: the store's image, a template, the cache.
const FIRST_START: u64 = 6 * GIB;
/// Below it the store soon can't grow.
const SCARCE_DISK: u64 = 4 * GIB;
/// Below it a guest of the usual size is refused.
const SCARCE_MEMORY: u64 = GIB;
/// A guest, its VMM and what they share take some files each, and a build of a template thousands.
const SCARCE_INODES: u64 = 20_000;
/// What a sandbox takes of them.
const DESCRIPTORS_EACH: u64 = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    folder: folder::Facts,
    /// In bytes; `None` where the file system says nothing.
    disk: Option<u64>,
    inodes: Option<u64>,
    memory: Option<Memory>,
    descriptors: u64,
    clock_kept: Option<bool>,
}

/// Of the host, in bytes.
#[derive(Debug, Clone, Copy)]
struct Memory {
    total: u64,
    available: u64,
}

impl Facts {
    pub(super) fn look(dir: &Path) -> Self {
        let standing = dir.ancestors().find(|path| path.exists());
        let space = standing.and_then(|path| rustix::fs::statvfs(path).ok());
        let space = space.as_ref();
        Self {
            folder: folder::Facts::look(dir),
            disk: space.map(|space| space.f_bavail * space.f_frsize),
            // A file system that makes inodes as they come has none to run out of.
            inodes: space
                .filter(|space| space.f_files > 0)
                .map(|space| space.f_favail),
            memory: told("/proc/meminfo").and_then(|text| Memory::parse(&text)),
            descriptors: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            clock_kept: clock::is_synchronised().ok(),
        }
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = self.folder.judge();
        findings.extend(self.judge_disk());
        findings.extend(self.judge_memory());
        findings.extend([self.judge_descriptors(), self.judge_clock()]);
        findings
    }

    fn judge_disk(&self) -> Vec<Finding> {
        const REMEDY: &str = "make room, or choose a data directory on another disk with --dir";
        let mut findings = Vec::new();
        if let Some(free) = self.disk {
            let found = format!("{} are free", gib(free));
            findings.push(if self.folder.is_new() && free < FIRST_START {
                let found = format!("{found}; the first start takes {}", gib(FIRST_START));
                Finding::problem("disk", found, REMEDY)
            } else if free < SCARCE_DISK {
                Finding::warning("disk", format!("{found}: creates are refused soon"), REMEDY)
            } else {
                Finding::ok("disk", found)
            });
        }
        if let Some(free) = self.inodes.filter(|free| *free < SCARCE_INODES) {
            let found = format!(
                "{free} inodes are free: no files can be made soon, whatever room there is"
            );
            findings.push(Finding::warning("inodes", found, REMEDY));
        }
        findings
    }

    fn judge_memory(&self) -> Option<Finding> {
        let Memory { total, available } = self.memory?;
        let found = format!("{} of {} are available", gib(available), gib(total));
        Some(if available < SCARCE_MEMORY {
            let remedy = "end something, or use a machine with more";
            Finding::warning(
                "memory",
                format!("{found}: creates are refused soon"),
                remedy,
            )
        } else {
            Finding::ok("memory", found)
        })
    }

    fn judge_descriptors(&self) -> Finding {
        const CHECK: &str = "open files";
        let sandboxes = self.descriptors / DESCRIPTORS_EACH;
        if self.descriptors == u64::MAX {
            return Finding::ok(CHECK, "without a limit");
        }
        let found = format!(
            "at most {}, enough for some {sandboxes} sandboxes",
            self.descriptors
        );
        if sandboxes < 250 {
            let remedy = "raise the hard limit where Wrenn is started: `ulimit -Hn 65536`, or LimitNOFILE of its unit";
            return Finding::warning(CHECK, found, remedy);
        }
        Finding::ok(CHECK, found)
    }

    fn judge_clock(&self) -> Finding {
        const CHECK: &str = "clock";
        match self.clock_kept {
            Some(true) => Finding::ok(CHECK, "kept right"),
            Some(false) => Finding::warning(
                CHECK,
                "nobody keeps it right, as far as the kernel knows; guests take their time from it",
                "`apt-get install systemd-timesyncd`, or chrony",
            ),
            None => Finding::hidden(CHECK, "the kernel does not tell"),
        }
    }
}

impl Memory {
    fn parse(meminfo: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib << 10)
        };
        Some(Self {
            total: field("MemTotal:")?,
            available: field("MemAvailable:")?,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn facts() -> Facts {
        Facts {
            folder: folder::Facts::usual(),
            disk: Some(100 * GIB),
            inodes: Some(1 << 20),
            memory: Some(Memory {
                total: 16 * GIB,
                available: 12 * GIB,
            }),
            descriptors: 1 << 20,
            clock_kept: Some(true),
        }
    }

    fn worst(facts: &Facts) -> Vec<(&'static str, Verdict)> {
        let findings = facts.judge().into_iter();
        let bad = findings.filter(|finding| finding.verdict != Verdict::Ok);
        bad.map(|finding| (finding.check, finding.verdict))
            .collect()
    }

    #[test]
    fn a_host_with_room_raises_nothing() {
        assert_eq!(worst(&facts()), []);
    }

    #[test]
    fn what_is_scarce_is_named() {
        let mut facts = facts();
        facts.disk = Some(3 * GIB);
        facts.inodes = Some(12);
        facts.memory = Some(Memory {
            total: 2 * GIB,
            available: GIB / 2,
        });
        facts.descriptors = 1024;
        facts.clock_kept = Some(false);
        let checks: Vec<_> = worst(&facts).into_iter().map(|(check, _)| check).collect();
        assert_eq!(checks, ["disk", "inodes", "memory", "open files", "clock"]);
        facts.folder = folder::Facts::absent();
        assert!(worst(&facts).contains(&("disk", Verdict::Problem)));
    }
}
