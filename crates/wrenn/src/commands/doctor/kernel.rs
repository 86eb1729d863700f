//! What the kernel has to offer, and what of it this process is granted.

use std::path::Path;

use rustix::thread::CapabilitySet;
use wrenn_sys::cgroup::Hierarchies;
use wrenn_sys::extents::Extent;
use wrenn_sys::pagemap;

use super::finding::Finding;
use super::told;

/// Before it, processes can't be held and ended safely, nor descriptors be closed by range.
const NEEDED: (u32, u32) = (5, 9);
/// What Debian 12 has, and the oldest that Wrenn is tested with.
const TESTED: (u32, u32) = (6, 1);

/// What root needs of its rights, by their names in capabilities(7).
const RIGHTS: [(CapabilitySet, &str); 9] = [
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    (CapabilitySet::KILL, "CAP_KILL"),
    (CapabilitySet::MKNOD, "CAP_MKNOD"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETPCAP, "CAP_SETPCAP"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
];

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    release: String,
    /// How groups of processes are bounded, or why they can't be.
    cgroups: Result<&'static str, String>,
    /// What root lacks, as in a container; `None` for who is not root.
    lacking: Option<Vec<&'static str>>,
    /// Whether a pause asks the kernel for written pages at once.
    page_scan: bool,
    seccomp: bool,
    tun: bool,
    loop_devices: bool,
    xfs: bool,
}

impl Facts {
    pub(super) fn look() -> Self {
        let release = told("/proc/sys/kernel/osrelease").unwrap_or_default();
        let root = rustix::process::geteuid().is_root();
        Self {
            cgroups: match Hierarchies::find() {
                Ok(found) if root && !found.is_writable() => Err("they can't be written".into()),
                Ok(found) if found.is_unified() => Ok("v2"),
                Ok(_) => Ok("v1"),
                Err(error) => Err(error.to_string()),
            },
            lacking: root.then(lacking),
            page_scan: page_scan(),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            tun: Path::new("/dev/net/tun").exists(),
            loop_devices: Path::new("/dev/loop-control").exists(),
            xfs: told("/proc/filesystems")
                .is_some_and(|all| all.lines().any(|l| l.trim() == "xfs"))
                || module(&release, "fs/xfs/xfs.ko"),
            release,
        }
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = vec![self.judge_release(), self.judge_cgroups()];
        findings.extend(self.judge_rights());
        let devices = [
            (
                self.seccomp,
                "seccomp",
                "this kernel has no seccomp filters",
                "use a kernel with CONFIG_SECCOMP_FILTER, as Debian's",
            ),
            (
                self.tun,
                "TAP",
                "there is no /dev/net/tun",
                "`modprobe tun`, or hand the device in where this is a container",
            ),
        ];
        for (there, check, found, remedy) in devices {
            if !there {
                findings.push(Finding::problem(check, found, remedy));
            }
        }
        if !(self.loop_devices && self.xfs) {
            let found = "there are no loop devices or no XFS: data must lie on a file system that shares blocks";
            let remedy =
                "`modprobe loop xfs`, or choose a data directory on XFS or Btrfs with --dir";
            findings.push(Finding::warning("store", found, remedy));
        }
        findings
    }

    fn judge_release(&self) -> Finding {
        const CHECK: &str = "kernel";
        const REMEDY: &str = "use the kernel of Debian 12 or newer";
        let release = &self.release;
        match version(release) {
            None => Finding::unknown(CHECK, format!("{release:?} is no version"), REMEDY),
            Some(version) if version < NEEDED => {
                Finding::problem(CHECK, format!("{release} is too old"), REMEDY)
            }
            Some(version) if version < TESTED => Finding::warning(
                CHECK,
                format!("{release} is older than what Wrenn is tested with"),
                REMEDY,
            ),
            Some(_) if !self.page_scan => Finding::ok(
                CHECK,
                format!("{release}; pauses of large guests take longer than with 6.7 and newer"),
            ),
            Some(_) => Finding::ok(CHECK, release),
        }
    }

    /// Nothing to say of a root that is one.
    fn judge_rights(&self) -> Option<Finding> {
        const CHECK: &str = "rights";
        match self.lacking.as_deref() {
            None => Some(Finding::hidden(
                CHECK,
                "Wrenn needs root; this is another user",
            )),
            Some([]) => None,
            Some(lacking) => Some(Finding::problem(
                CHECK,
                format!("this root lacks {}", lacking.join(", ")),
                "run Wrenn on the host itself, or in a container that is privileged",
            )),
        }
    }

    fn judge_cgroups(&self) -> Finding {
        match &self.cgroups {
            Ok(version) => Finding::ok("cgroups", format!("{version}, with memory, cpu and pids")),
            Err(why) => Finding::problem(
                "cgroups",
                why,
                "boot with systemd.unified_cgroup_hierarchy=1; in a container, mount /sys/fs/cgroup writable",
            ),
        }
    }
}

fn lacking() -> Vec<&'static str> {
    let Ok(sets) = rustix::thread::capabilities(None) else {
        return Vec::new();
    };
    let lacks = |right: &CapabilitySet| !sets.effective.contains(*right);
    let lacking = RIGHTS.iter().filter(|(right, _)| lacks(right));
    lacking.map(|(_, name)| *name).collect()
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether the kernel names written pages when asked, tried on a page of our own.
fn page_scan() -> bool {
    let Ok(own) = i32::try_from(std::process::id()) else {
        return false;
    };
    const PAGE: u64 = 4096;
    let here = (&raw const own) as u64;
    let page = Extent {
        start: here - here % PAGE,
        len: PAGE,
    };
    pagemap::private_by(pagemap::Method::Scan, own, page).is_ok()
}

/// Whether a release has a module, by its path below `kernel`.
pub(super) fn module(release: &str, name: &str) -> bool {
    let path = format!("/lib/modules/{release}/kernel/{name}");
    ["", ".xz", ".zst", ".gz"]
        .iter()
        .any(|packed| Path::new(&format!("{path}{packed}")).exists())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn facts(release: &str) -> Facts {
        Facts {
            release: release.into(),
            cgroups: Ok("v2"),
            lacking: Some(Vec::new()),
            page_scan: true,
            seccomp: true,
            tun: true,
            loop_devices: true,
            xfs: true,
        }
    }

    #[test]
    fn releases_are_told_apart() {
        let verdict = |release| facts(release).judge_release().verdict;
        assert_eq!(verdict("6.1.0-31-amd64"), Verdict::Ok);
        assert_eq!(verdict("10.0-rc1"), Verdict::Ok);
        assert_eq!(verdict("5.15.167.4-microsoft"), Verdict::Warning);
        assert_eq!(verdict("5.4.0"), Verdict::Problem);
        assert_eq!(verdict("strange"), Verdict::Unknown);
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(facts("6.8").judge().len(), 2);
        let mut poor = facts("6.8");
        poor.tun = false;
        poor.xfs = false;
        poor.cgroups = Err("no controller".into());
        poor.lacking = Some(vec!["CAP_SYS_ADMIN"]);
        let verdicts: Vec<_> = poor.judge().iter().map(|f| (f.check, f.verdict)).collect();
        let expected = [
            ("kernel", Verdict::Ok),
            ("cgroups", Verdict::Problem),
            ("rights", Verdict::Problem),
            ("TAP", Verdict::Problem),
            ("store", Verdict::Warning),
        ];
        assert_eq!(verdicts, expected);
    }
}
