//! The production path: Firecracker in its jailer under KVM, disks that are layers of the device mapper, memory that arrives
//! page by page. Where a part of it is missing QEMU runs guests, which needs none of them.

use std::path::Path;

use wrenn_model::chain;
use wrenn_sys::dm::Mapper;
use wrenn_vmm::firecracker::install::{self, Installed};

use super::finding::{Finding, Verdict};
use super::told;

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    root: bool,
    firecracker: Result<Installed, String>,
    mapper: Mapping,
    userfaultfd: Faults,
    loop_devices: bool,
}

/// What is known of the device mapper.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mapping {
    /// It answers, and has snapshots.
    Works,
    /// It answers, and knows no snapshots.
    WithoutSnapshots,
    /// It can't be spoken with, and why.
    Closed(String),
}

/// How a jailed process comes by a userfaultfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    /// By a device that it is given, and others are not.
    Device,
    /// As every process does (`vm.unprivileged_userfaultfd`); the value says whether there is a device, too.
    Everybody { device: bool },
    /// Not at all.
    Missing,
}

impl Facts {
    pub(super) async fn look() -> Self {
        let device = Path::new("/dev/userfaultfd").exists();
        let everybody =
            told("/proc/sys/vm/unprivileged_userfaultfd").is_some_and(|allowed| allowed == "1");
        Self {
            root: rustix::process::geteuid().is_root(),
            firecracker: install::installed(None)
                .await
                .map_err(|error| chain(&error)),
            mapper: Mapping::look(),
            userfaultfd: match (device, everybody) {
                (device, true) => Faults::Everybody { device },
                (true, false) => Faults::Device,
                (false, false) => Faults::Missing,
            },
            loop_devices: Path::new("/dev/loop-control").exists(),
        }
    }

    /// Whether all of it is there; `kvm`: a guest gets somewhere under it.
    pub(super) fn is_whole(&self, kvm: bool) -> bool {
        let is_there = |part: &Finding| part.verdict == Verdict::Ok;
        kvm && self.parts().iter().all(is_there)
    }

    /// What runs guests, and what of the path is there. `kvm`: a guest gets somewhere under it; `otherwise`: what runs guests
    /// where this path is not whole, if anything does.
    pub(super) fn judge(&self, kvm: bool, otherwise: Option<&str>) -> Vec<Finding> {
        const CHECK: &str = "driver";
        let parts = self.parts();
        let mut lacking = Vec::new();
        if !kvm {
            lacking.push("KVM");
        }
        let missing = parts.iter().filter(|part| part.verdict != Verdict::Ok);
        lacking.extend(missing.map(|part| part.check));
        let driver = match (lacking.as_slice(), otherwise) {
            ([], _) => Finding::ok(CHECK, "Firecracker"),
            (lacking, Some(other)) => Finding::ok(
                CHECK,
                format!("{other}; Firecracker wants {}", lacking.join(", ")),
            ),
            (lacking, None) => Finding::unknown(
                CHECK,
                format!("none; Firecracker wants {}", lacking.join(", ")),
                "see what is said of QEMU, or of these",
            ),
        };
        let mut findings = vec![driver];
        findings.extend(parts.into_iter().map(Finding::not_needed));
        findings
    }

    /// A finding for each part of the path, a problem where it is missing.
    pub(super) fn parts(&self) -> Vec<Finding> {
        vec![
            self.judge_firecracker(),
            self.judge_mapper(),
            self.judge_faults(),
            self.judge_loops(),
        ]
    }

    /// What has to be beyond that where guests mean harm.
    pub(super) fn hardening(&self) -> Vec<Finding> {
        vec![self.judge_filter(), self.judge_faults_of_others()]
    }

    fn judge_firecracker(&self) -> Finding {
        const CHECK: &str = "Firecracker";
        match &self.firecracker {
            Ok(found) => {
                let Installed { version, .. } = found;
                Finding::ok(CHECK, format!("{version}, {}", found.firecracker.display()))
            }
            Err(why) => {
                let remedy = "see docs/production.md, \"Firecracker\"";
                Finding::problem(CHECK, why, remedy)
            }
        }
    }

    fn judge_filter(&self) -> Finding {
        const CHECK: &str = "seccomp";
        const REMEDY: &str = "take the binaries of a release, which are built for musl";
        match &self.firecracker {
            Ok(found) if found.own_filter => Finding::ok(
                CHECK,
                "Firecracker has its list of system calls compiled in",
            ),
            Ok(_) => Finding::warning(
                CHECK,
                "this Firecracker is built for glibc, with a list of system calls that lets all pass: it is given Wrenn's own, \
                 which its makers have not looked at",
                REMEDY,
            ),
            Err(_) => Finding::unknown(CHECK, "there is no Firecracker to look at", REMEDY),
        }
    }

    fn judge_mapper(&self) -> Finding {
        const CHECK: &str = "device mapper";
        match &self.mapper {
            Mapping::Works => Finding::ok(CHECK, "with snapshots"),
            Mapping::Closed(_) if !self.root => Finding::hidden(CHECK, "it answers root alone"),
            Mapping::Closed(why) => Finding::problem(
                CHECK,
                format!("it does not answer: {why}"),
                "`modprobe dm-snapshot`, and the same word in /etc/modules-load.d/wrenn.conf",
            ),
            Mapping::WithoutSnapshots => Finding::problem(
                CHECK,
                "this kernel has no dm-snapshot",
                "use a kernel with CONFIG_DM_SNAPSHOT, as Debian's",
            ),
        }
    }

    fn judge_faults(&self) -> Finding {
        const CHECK: &str = "userfaultfd";
        match self.userfaultfd {
            Faults::Device | Faults::Everybody { device: true } => {
                Finding::ok(CHECK, "/dev/userfaultfd")
            }
            Faults::Everybody { device: false } => Finding::ok(CHECK, "for every process"),
            Faults::Missing => Finding::problem(
                CHECK,
                "there is no /dev/userfaultfd",
                "use a kernel of 6.1 or newer with CONFIG_USERFAULTFD, as Debian's",
            ),
        }
    }

    /// Whoever has one can hold the kernel up in the middle of what it does, which makes races in it easy to win.
    fn judge_faults_of_others(&self) -> Finding {
        const CHECK: &str = "userfaultfd";
        match self.userfaultfd {
            Faults::Everybody { .. } => Finding::problem(
                CHECK,
                "every process may have one",
                "`sysctl -w vm.unprivileged_userfaultfd=0`, and the same in /etc/sysctl.d; VMMs have the device",
            ),
            Faults::Device | Faults::Missing => self.judge_faults(),
        }
    }

    fn judge_loops(&self) -> Finding {
        const CHECK: &str = "loop devices";
        if self.loop_devices {
            return Finding::ok(CHECK, "/dev/loop-control");
        }
        Finding::problem(
            CHECK,
            "there is no /dev/loop-control",
            "`modprobe loop`, and the same word in /etc/modules-load.d/wrenn.conf",
        )
    }
}

impl Mapping {
    fn look() -> Self {
        if let Err(error) = Mapper::open() {
            return Self::Closed(error.to_string());
        }
        let release = told("/proc/sys/kernel/osrelease").unwrap_or_default();
        // The kernel loads it by itself when a table names it.
        let there = Path::new("/sys/module/dm_snapshot").exists()
            || super::kernel::module(&release, "drivers/md/dm-snapshot.ko");
        if there {
            Self::Works
        } else {
            Self::WithoutSnapshots
        }
    }
}

#[cfg(test)]
impl Facts {
    /// A host that has all of it.
    pub(super) fn whole() -> Self {
        Self {
            root: true,
            firecracker: Ok(Installed {
                firecracker: "/usr/local/bin/firecracker".into(),
                jailer: "/usr/local/bin/jailer".into(),
                version: install::Version::new(1, 16, 1),
                own_filter: true,
            }),
            mapper: Mapping::Works,
            userfaultfd: Faults::Device,
            loop_devices: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The driver's line, and the verdicts of all others.
    fn judged(facts: &Facts, kvm: bool, qemu: Option<&str>) -> (String, Vec<Verdict>) {
        let mut findings = facts.judge(kvm, qemu).into_iter();
        let driver = findings.next().unwrap();
        (driver.found, findings.map(|f| f.verdict).collect())
    }

    #[test]
    fn a_host_that_has_all_of_it_takes_firecracker() {
        let (driver, parts) = judged(&Facts::whole(), true, Some("QEMU with KVM"));
        assert_eq!(
            (driver.as_str(), parts),
            ("Firecracker", vec![Verdict::Ok; 4])
        );
    }

    #[test]
    fn a_host_that_lacks_some_is_content_with_qemu_and_says_what() {
        let mut facts = Facts::whole();
        facts.firecracker = Err("there is none".into());
        facts.mapper = Mapping::Closed("no such file".into());
        let (driver, parts) = judged(&facts, false, Some("QEMU, emulated"));
        assert_eq!(
            driver,
            "QEMU, emulated; Firecracker wants KVM, Firecracker, device mapper"
        );
        let expected = [Verdict::Absent, Verdict::Absent, Verdict::Ok, Verdict::Ok];
        assert_eq!(parts, expected);
        let (_, parts) = judged(&facts, false, None);
        assert_eq!(parts, expected, "what is wrong then is said of QEMU");
    }

    #[test]
    fn each_part_that_is_missing_says_what_to_do() {
        let facts = Facts {
            root: true,
            firecracker: Err("there is none".into()),
            mapper: Mapping::WithoutSnapshots,
            userfaultfd: Faults::Missing,
            loop_devices: false,
        };
        for part in facts.parts() {
            assert_eq!(part.verdict, Verdict::Problem, "{part:?}");
            assert!(part.remedy.is_some(), "{part:?}");
        }
        let hidden = Facts {
            root: false,
            mapper: Mapping::Closed("permission denied".into()),
            ..Facts::whole()
        };
        assert_eq!(hidden.judge_mapper().verdict, Verdict::Unknown);
    }

    #[test]
    fn a_build_without_a_filter_and_faults_for_everybody_are_no_hardening() {
        let mut facts = Facts::whole();
        let verdicts = |facts: &Facts| {
            facts
                .hardening()
                .iter()
                .map(|f| f.verdict)
                .collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&facts), [Verdict::Ok; 2]);
        facts.userfaultfd = Faults::Everybody { device: true };
        facts.firecracker.as_mut().unwrap().own_filter = false;
        assert_eq!(verdicts(&facts), [Verdict::Warning, Verdict::Problem]);
        assert!(facts.parts().iter().all(|part| part.verdict == Verdict::Ok));
    }
}
