//! What runs virtual machines: KVM, QEMU and the programs around them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use wrenn_vmm::{Error, qemu};

use super::finding::Finding;
use super::packages;

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    root: bool,
    kvm: Kvm,
    qemu: Result<(PathBuf, String), Unfit>,
    packages: Option<BTreeSet<String>>,
}

/// What is known of KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kvm {
    Absent,
    /// The device can't be opened, and why.
    Closed(String),
    /// It opens, and no guest was tried since the host's boot.
    Untried,
    /// A guest ran.
    Works,
    /// A guest was tried, and why it came to nothing.
    Fails(String),
}

/// Why a QEMU will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unfit {
    Missing,
    Old { found: String, needed: u32 },
    Other(String),
}

const INSTALL: &str = "install Debian's qemu-system-x86, 10 or newer: `apt-get install -t \
                       bookworm-backports qemu-system-x86` on Debian 12, or `make run`, which does that";

impl Facts {
    pub(super) async fn look(cache: &Path) -> Self {
        Self {
            root: rustix::process::geteuid().is_root(),
            kvm: look_at_kvm(cache),
            qemu: qemu::installed().await.map_err(|error| match error {
                Error::Missing { .. } => Unfit::Missing,
                Error::TooOld { found, needed, .. } => Unfit::Old { found, needed },
                other => Unfit::Other(other.to_string()),
            }),
            packages: packages::installed(),
        }
    }

    /// Whether a guest gets somewhere under KVM, as far as is known.
    pub(super) fn has_kvm(&self) -> bool {
        matches!(self.kvm, Kvm::Works | Kvm::Untried)
    }

    /// How QEMU runs guests, if it can.
    pub(super) fn by_qemu(&self) -> Option<&'static str> {
        let how = if self.has_kvm() {
            "QEMU with KVM"
        } else {
            "QEMU, which emulates"
        };
        self.qemu.is_ok().then_some(how)
    }

    /// `firecracker`: it can run guests, so that QEMU need not be there.
    pub(super) fn judge(&self, firecracker: bool) -> Vec<Finding> {
        let mut findings = vec![self.judge_kvm(), self.judge_qemu(firecracker)];
        findings.extend(packages::judge(self.packages.as_ref()));
        findings
    }

    fn judge_kvm(&self) -> Finding {
        const CHECK: &str = "KVM";
        const EMULATED: &str = "guests are emulated, several times slower, and the jail alone is the \
                                wall between them and the host";
        match &self.kvm {
            Kvm::Works => Finding::ok(CHECK, "a trial guest ran under it since this boot"),
            Kvm::Untried if self.root => Finding::ok(
                CHECK,
                "/dev/kvm opens; the next start tries a guest under it",
            ),
            Kvm::Closed(_) | Kvm::Untried if !self.root => Finding::hidden(
                CHECK,
                "whether a guest gets anywhere under it is root's to know",
            ),
            Kvm::Untried => Finding::ok(CHECK, "/dev/kvm opens"),
            Kvm::Absent => Finding::warning(
                CHECK,
                format!("there is no /dev/kvm: {EMULATED}"),
                "turn virtualisation on in the firmware, or nested virtualisation where this machine is a \
                 virtual one itself; then `modprobe kvm_intel` or `modprobe kvm_amd`",
            ),
            Kvm::Closed(why) => Finding::warning(
                CHECK,
                format!("/dev/kvm can't be opened ({why}): {EMULATED}"),
                "allow it: in a container, hand in the device (`--device /dev/kvm`)",
            ),
            Kvm::Fails(why) => Finding::warning(
                CHECK,
                format!("a trial guest got nowhere under it ({why}): {EMULATED}"),
                "look for why in the kernel's log; nested virtualisation that is itself emulated does that. \
                 It is tried again after a reboot",
            ),
        }
    }

    fn judge_qemu(&self, firecracker: bool) -> Finding {
        const CHECK: &str = "QEMU";
        match &self.qemu {
            Ok((path, version)) => Finding::ok(CHECK, format!("{version}, {}", path.display())),
            Err(Unfit::Missing) if firecracker => {
                Finding::ok(CHECK, "there is none, and Firecracker needs none")
            }
            Err(Unfit::Missing) => Finding::problem(CHECK, "there is none", INSTALL),
            Err(Unfit::Old { found, needed }) => Finding::problem(
                CHECK,
                format!("{found} is too old: {needed} is the first that will do"),
                INSTALL,
            ),
            Err(Unfit::Other(why)) => Finding::problem(CHECK, why, INSTALL),
        }
    }
}

fn look_at_kvm(cache: &Path) -> Kvm {
    let opened = File::options().read(true).write(true).open("/dev/kvm");
    match opened.map_err(|error| (error.kind(), error.to_string())) {
        Err((ErrorKind::NotFound, _)) => Kvm::Absent,
        Err((_, why)) => Kvm::Closed(why),
        Ok(_) => match qemu::kvm_verdict(cache) {
            None => Kvm::Untried,
            Some(Ok(())) => Kvm::Works,
            Some(Err(why)) => Kvm::Fails(why),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn facts(root: bool, kvm: Kvm) -> Facts {
        Facts {
            root,
            kvm,
            qemu: Ok(("/usr/bin/qemu".into(), "10.0.2".into())),
            packages: None,
        }
    }

    #[test]
    fn kvm_is_wished_for_and_not_needed() {
        let verdict = |root, kvm| facts(root, kvm).judge_kvm().verdict;
        assert_eq!(verdict(true, Kvm::Works), Verdict::Ok);
        assert_eq!(verdict(true, Kvm::Untried), Verdict::Ok);
        assert_eq!(verdict(false, Kvm::Untried), Verdict::Unknown);
        assert_eq!(verdict(false, Kvm::Closed("no".into())), Verdict::Unknown);
        for bad in [
            Kvm::Absent,
            Kvm::Closed("no".into()),
            Kvm::Fails("hangs".into()),
        ] {
            assert_eq!(verdict(true, bad), Verdict::Warning);
        }
        let hangs = facts(true, Kvm::Fails("it hangs".into())).judge_kvm();
        assert!(hangs.found.contains("it hangs"), "{hangs:?}");
    }

    #[test]
    fn without_a_qemu_that_will_do_nothing_runs() {
        let mut facts = facts(true, Kvm::Works);
        assert_eq!(facts.judge_qemu(false).found, "10.0.2, /usr/bin/qemu");
        let old = Unfit::Old {
            found: "7.2".into(),
            needed: 10,
        };
        assert_eq!(facts.by_qemu(), Some("QEMU with KVM"));
        for unfit in [Unfit::Missing, old, Unfit::Other("it is broken".into())] {
            facts.qemu = Err(unfit);
            assert_eq!(facts.by_qemu(), None);
            assert_eq!(facts.judge_qemu(false).verdict, Verdict::Problem);
        }
        facts.qemu = Err(Unfit::Missing);
        assert_eq!(
            facts.judge_qemu(true).verdict,
            Verdict::Ok,
            "another does it"
        );
    }
}
