//! `wrenn doctor --production`: the hardening checklist of docs/production.md, line by line.
//!
//! Most lines are findings that are made for everybody. What is only wished for there has to be here: a warning is a problem.

use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use wrenn_sys::cgroup::Hierarchies;
use wrenn_sys::reflink;

use super::finding::{Finding, Verdict};
use super::told;

/// The lines, by name, in the checklist's order.
pub(crate) const LINES: [&str; 19] = [
    "KVM",
    "nesting",
    "Firecracker",
    "seccomp",
    "device mapper",
    "loop devices",
    "userfaultfd",
    "kernel",
    "cgroups",
    "CPU flaws",
    "SMT",
    "page merging",
    "swap",
    "core files",
    "data directory",
    "store",
    "mount",
    "firewalls",
    "clock",
];

/// What only the checklist asks for.
#[derive(Debug)]
pub(super) struct Facts {
    dir: PathBuf,
    /// Whether guests may be hypervisors themselves (parameter `nested` of KVM's module).
    nesting: Option<bool>,
    /// Whether all controllers are cgroup v2's, or why that is not known.
    unified: Result<bool, String>,
    merging: Option<bool>,
    core_pattern: Option<String>,
    /// Whether files in the data directory can share blocks; `None` where that can't be tried.
    reflinks: Option<bool>,
    /// How the file system of the data directory is mounted.
    mount: Option<StatVfsMountFlags>,
}

impl Facts {
    pub(super) fn look(dir: &Path) -> Self {
        let standing = dir.ancestors().find(|path| path.exists());
        let mount = standing.and_then(|path| rustix::fs::statvfs(path).ok());
        let nested = |module| told(&format!("/sys/module/{module}/parameters/nested"));
        Self {
            dir: dir.to_owned(),
            nesting: nested("kvm_intel")
                .or_else(|| nested("kvm_amd"))
                .map(|on| matches!(on.as_str(), "Y" | "1")),
            unified: Hierarchies::find()
                .map(|found| found.is_unified())
                .map_err(|error| error.to_string()),
            merging: told("/sys/kernel/mm/ksm/run").map(|run| run != "0"),
            core_pattern: told("/proc/sys/kernel/core_pattern"),
            reflinks: reflink::supports_reflink(dir).ok(),
            mount: mount.map(|found| found.f_flag),
        }
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        vec![
            self.judge_nesting(),
            self.judge_cgroups(),
            self.judge_merging(),
            self.judge_cores(),
            self.judge_store(),
            self.judge_mount(),
        ]
    }

    fn judge_nesting(&self) -> Finding {
        const CHECK: &str = "nesting";
        match self.nesting {
            Some(false) => Finding::ok(CHECK, "off"),
            Some(true) => Finding::problem(
                CHECK,
                "guests may be hypervisors: the part of KVM that serves those has had the most holes",
                "`options kvm_intel nested=0` (or kvm_amd) in /etc/modprobe.d/wrenn.conf, and load the module anew",
            ),
            None => Finding::unknown(
                CHECK,
                "KVM is not loaded",
                "`modprobe kvm_intel` or kvm_amd",
            ),
        }
    }

    fn judge_cgroups(&self) -> Finding {
        const CHECK: &str = "cgroups";
        const REMEDY: &str = "boot with systemd.unified_cgroup_hierarchy=1";
        match &self.unified {
            Ok(true) => Finding::ok(CHECK, "v2, with memory, cpu and pids"),
            Ok(false) => Finding::problem(
                CHECK,
                "v1 has controllers: a VM's memory, processor and end are in several hands",
                REMEDY,
            ),
            Err(why) => Finding::problem(CHECK, why, REMEDY),
        }
    }

    fn judge_merging(&self) -> Finding {
        const CHECK: &str = "page merging";
        if self.merging == Some(true) {
            return Finding::problem(
                CHECK,
                "on: whoever shares a page can tell it from the time that a write takes",
                "`echo 2 > /sys/kernel/mm/ksm/run`, which also parts what is merged, and disable ksm.service and ksmtuned",
            );
        }
        Finding::ok(CHECK, "off")
    }

    fn judge_cores(&self) -> Finding {
        const CHECK: &str = "core files";
        let Some(pattern) = &self.core_pattern else {
            return Finding::unknown(
                CHECK,
                "the kernel does not tell",
                "run `sudo wrenn doctor --production`",
            );
        };
        if is_nowhere(pattern) {
            return Finding::ok(CHECK, "written nowhere");
        }
        Finding::problem(
            CHECK,
            format!(
                "a VMM that dies may leave its guest's memory on a disk: the pattern is {pattern:?}"
            ),
            "`sysctl -w kernel.core_pattern='|/bin/false'`, and the same in /etc/sysctl.d",
        )
    }

    fn judge_store(&self) -> Finding {
        const CHECK: &str = "store";
        let dir = self.dir.display();
        match self.reflinks {
            Some(true) => Finding::ok(CHECK, "files there share blocks"),
            Some(false) => Finding::problem(
                CHECK,
                format!(
                    "files in {dir} can't share blocks: the store would be a file that is a file system"
                ),
                format!("mount XFS (`mkfs.xfs -m reflink=1`) or Btrfs at {dir}"),
            ),
            None => Finding::unknown(
                CHECK,
                format!("{dir} is not there, or root's alone"),
                format!("mount XFS or Btrfs at {dir}, and run `sudo wrenn doctor --production`"),
            ),
        }
    }

    /// The VMM that runs is a copy in there. A jail's devices are not: its root is a file system of its own.
    fn judge_mount(&self) -> Finding {
        const CHECK: &str = "mount";
        match self.mount {
            None => Finding::unknown(CHECK, "the kernel does not tell", "choose another --dir"),
            Some(flags) if flags.contains(StatVfsMountFlags::NOEXEC) => Finding::problem(
                CHECK,
                format!(
                    "{} is mounted noexec: no VMM can be run from it",
                    self.dir.display()
                ),
                "take noexec out of its line in /etc/fstab, and mount it anew",
            ),
            Some(_) => Finding::ok(CHECK, "with programs"),
        }
    }
}

/// Whether what the kernel makes of a process that dies goes nowhere.
fn is_nowhere(pattern: &str) -> bool {
    let program = pattern.strip_prefix('|').map(|command| {
        let path = command.split_whitespace().next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    });
    pattern.is_empty() || matches!(program, Some("false" | "true"))
}

/// The checklist out of all that was found. Of several findings of one name those count that come first from one area; `accepted`
/// names the lines that somebody answers for: they are warnings.
pub(super) fn lines(areas: Vec<Vec<Finding>>, accepted: &[String]) -> Vec<Finding> {
    let of = |line: &'static str| {
        let mut areas = areas.iter();
        let named = |area: &Vec<Finding>| -> Vec<Finding> {
            area.iter().filter(|f| f.check == line).cloned().collect()
        };
        let found = areas.find_map(|area| Some(named(area)).filter(|found| !found.is_empty()));
        found.unwrap_or_else(|| {
            let remedy = "run `sudo wrenn doctor --production`";
            vec![Finding::unknown(line, "it could not be looked at", remedy)]
        })
    };
    let answered_for = |line: &str| accepted.iter().any(|accepted| accepted == line);
    let strictly = |mut finding: Finding| {
        finding.verdict = match finding.verdict {
            Verdict::Ok => Verdict::Ok,
            _ if answered_for(finding.check) => Verdict::Warning,
            Verdict::Unknown => Verdict::Unknown,
            Verdict::Warning | Verdict::Absent | Verdict::Problem => Verdict::Problem,
        };
        finding
    };
    LINES.into_iter().flat_map(of).map(strictly).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            dir: "/var/lib/wrenn".into(),
            nesting: Some(false),
            unified: Ok(true),
            merging: Some(false),
            core_pattern: Some("|/bin/false".into()),
            reflinks: Some(true),
            mount: Some(StatVfsMountFlags::NOSUID),
        }
    }

    fn wrong(facts: &Facts) -> Vec<&'static str> {
        let findings = facts.judge().into_iter();
        let wrong = findings.filter(|finding| finding.verdict != Verdict::Ok);
        wrong.map(|finding| finding.check).collect()
    }

    /// The document is what an operator reads, and this is what is looked at.
    #[test]
    fn the_document_has_the_lines_that_are_looked_at() {
        let document = include_str!("../../../../../docs/production.md");
        let (_, section) = document.split_once("\n## Hardening checklist\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| **"));
        let names: Vec<_> = rows
            .filter_map(|row| Some(row.split_once("**")?.0))
            .collect();
        assert_eq!(names, LINES);
    }

    #[test]
    fn a_hardened_host_meets_what_only_the_checklist_asks_for() {
        assert_eq!(wrong(&facts()), [""; 0]);
    }

    #[test]
    fn what_is_not_as_it_should_be_is_named_with_what_to_do() {
        let facts = Facts {
            nesting: Some(true),
            unified: Ok(false),
            merging: Some(true),
            core_pattern: Some("|/usr/lib/systemd/systemd-coredump %P".into()),
            reflinks: Some(false),
            mount: Some(StatVfsMountFlags::NODEV | StatVfsMountFlags::NOEXEC),
            ..facts()
        };
        let expected = [
            "nesting",
            "cgroups",
            "page merging",
            "core files",
            "store",
            "mount",
        ];
        assert_eq!(wrong(&facts), expected);
        assert!(facts.judge().iter().all(|finding| finding.remedy.is_some()));
        assert!(facts.judge_mount().found.contains("noexec"));
    }

    #[test]
    fn cores_go_nowhere_where_a_program_throws_them_away() {
        for nowhere in ["", "|/bin/false", "|/usr/bin/true %p"] {
            assert!(is_nowhere(nowhere), "{nowhere}");
        }
        for somewhere in [
            "core",
            "/false/core.%p",
            "|/usr/share/apport/apport %p",
            "|",
        ] {
            assert!(!is_nowhere(somewhere), "{somewhere}");
        }
    }

    #[test]
    fn each_line_is_there_once_and_what_is_wished_for_elsewhere_is_demanded() {
        let areas = vec![
            vec![Finding::ok("store", "shares blocks")],
            vec![
                Finding::warning("SMT", "on", "turn it off"),
                Finding::ok("store", "an image"),
                Finding::problem("QEMU", "is no line", "nothing"),
                Finding::hidden("KVM", "root's to know"),
                Finding::warning("swap", "on a disk", "turn it off"),
            ],
        ];
        let lines = lines(areas, &["SMT".to_owned()]);
        let names: Vec<_> = lines.iter().map(|line| line.check).collect();
        assert_eq!(names, LINES);
        let of = |name| lines.iter().find(|line| line.check == name).unwrap();
        assert_eq!(of("store").found, "shares blocks");
        assert_eq!(of("SMT").verdict, Verdict::Warning, "it is accepted");
        assert_eq!(of("swap").verdict, Verdict::Problem);
        assert_eq!(of("KVM").verdict, Verdict::Unknown);
        assert_eq!(of("mount").verdict, Verdict::Unknown, "nobody looked");
    }
}
