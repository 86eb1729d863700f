//! What the processor and the kernel's settings leave open between guests, and between guests and the host.

use std::collections::BTreeMap;
use std::fs;

use super::finding::Finding;
use super::told;

const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// What the kernel says of each flaw that it knows; empty where it says nothing.
    vulnerabilities: BTreeMap<String, String>,
    /// Whether cores have several threads that run.
    smt: Option<bool>,
    /// The devices and files that memory is swapped to in clear.
    swaps: Vec<String>,
    /// Whether pages with the same content are merged.
    merging: Option<bool>,
}

impl Facts {
    pub(super) fn look() -> Self {
        let files = fs::read_dir(VULNERABILITIES)
            .into_iter()
            .flatten()
            .flatten();
        let vulnerabilities = files.filter_map(|entry| {
            let state = fs::read_to_string(entry.path()).ok()?;
            Some((
                entry.file_name().into_string().ok()?,
                state.trim().to_owned(),
            ))
        });
        let on = |path| told(path).map(|state| state == "1");
        Self {
            vulnerabilities: vulnerabilities.collect(),
            smt: on("/sys/devices/system/cpu/smt/active"),
            swaps: told("/proc/swaps")
                .map(|text| swaps(&text))
                .unwrap_or_default()
                .into_iter()
                .filter(|name| !is_encrypted(name))
                .collect(),
            merging: on("/sys/kernel/mm/ksm/run"),
        }
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        vec![
            self.judge_vulnerabilities(),
            self.judge_smt(),
            self.judge_swap(),
            self.judge_merging(),
        ]
    }

    fn judge_vulnerabilities(&self) -> Finding {
        const CHECK: &str = "CPU flaws";
        if self.vulnerabilities.is_empty() {
            let found = "this kernel does not say which it knows";
            return Finding::unknown(CHECK, found, "use a current kernel");
        }
        let open: Vec<_> = self
            .vulnerabilities
            .iter()
            .filter(|(_, state)| state.starts_with("Vulnerable"))
            .map(|(name, _)| name.as_str())
            .collect();
        if open.is_empty() {
            let count = self.vulnerabilities.len();
            return Finding::ok(CHECK, format!("each of {count} is absent or mitigated"));
        }
        Finding::warning(
            CHECK,
            format!(
                "not mitigated: {}; a guest may read what is not its own",
                open.join(", ")
            ),
            format!(
                "install the processor's microcode and a current kernel, and boot without mitigations=off; \
                 {VULNERABILITIES}/{} says more. Inside a virtual machine that is for who runs the host",
                open[0]
            ),
        )
    }

    fn judge_smt(&self) -> Finding {
        const CHECK: &str = "SMT";
        let leaks = self
            .vulnerabilities
            .values()
            .any(|state| state.contains("SMT vulnerable"));
        match self.smt {
            Some(true) if leaks => Finding::warning(
                CHECK,
                "on, and this processor leaks between the threads of a core, which two guests may share",
                "`echo off > /sys/devices/system/cpu/smt/control`, and boot with nosmt",
            ),
            Some(true) => Finding::warning(
                CHECK,
                "on: two guests may share a core, and tell from it what the other does",
                "for guests who mean harm, `echo off > /sys/devices/system/cpu/smt/control` and boot with nosmt",
            ),
            Some(false) => Finding::ok(CHECK, "off"),
            None => Finding::unknown(CHECK, "this kernel does not say", "use a current kernel"),
        }
    }

    fn judge_swap(&self) -> Finding {
        const CHECK: &str = "swap";
        let in_memory = |name: &String| name.starts_with("/dev/zram");
        if self.swaps.iter().all(in_memory) {
            let found = if self.swaps.is_empty() {
                "none in clear"
            } else {
                "in memory alone"
            };
            return Finding::ok(CHECK, found);
        }
        Finding::warning(
            CHECK,
            format!(
                "on {}: keys of Wrenn and what commands print may land there; guests' memory is kept out",
                self.swaps.join(", ")
            ),
            "`swapoff -a` and take it out of /etc/fstab, unless it is encrypted",
        )
    }

    fn judge_merging(&self) -> Finding {
        let found = match self.merging {
            Some(true) => "on, but not for guests: their memory is kept out of it",
            _ => "off",
        };
        Finding::ok("page merging", found)
    }
}

/// Whether a device is one of dm-crypt's, as the kernel calls those (`dm/uuid` of the block device in sysfs).
fn is_encrypted(device: &str) -> bool {
    let Ok(real) = fs::canonicalize(device) else {
        return false;
    };
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    told(&format!("/sys/class/block/{name}/dm/uuid")).is_some_and(|uuid| uuid.starts_with("CRYPT-"))
}

/// The names out of /proc/swaps, which has a head.
fn swaps(text: &str) -> Vec<String> {
    let names = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn flaws(states: &[(&str, &str)]) -> Facts {
        let all = states
            .iter()
            .map(|(name, state)| ((*name).into(), (*state).into()));
        Facts {
            vulnerabilities: all.collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn open_flaws_are_named() {
        let facts = flaws(&[
            ("meltdown", "Not affected"),
            ("mds", "Mitigation: Clear CPU buffers; SMT vulnerable"),
            ("retbleed", "Vulnerable"),
            ("spectre_v2", "Vulnerable, IBPB: disabled"),
        ]);
        let finding = facts.judge_vulnerabilities();
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(
            finding.found.contains("retbleed, spectre_v2;"),
            "{finding:?}"
        );
        assert_eq!(flaws(&[]).judge_vulnerabilities().verdict, Verdict::Unknown);
        let fine = flaws(&[("meltdown", "Mitigation: PTI")]).judge_vulnerabilities();
        assert_eq!(fine.verdict, Verdict::Ok);
    }

    #[test]
    fn threads_that_share_a_core_are_warned_of() {
        let mut facts = flaws(&[("mds", "Mitigation: Clear CPU buffers; SMT vulnerable")]);
        facts.smt = Some(true);
        assert!(facts.judge_smt().found.contains("leaks"));
        facts.vulnerabilities.clear();
        assert_eq!(facts.judge_smt().verdict, Verdict::Warning);
        facts.smt = Some(false);
        assert_eq!(facts.judge_smt().verdict, Verdict::Ok);
    }

    #[test]
    fn swap_on_a_disk_is_warned_of() {
        let head = "Filename\tType\tSize\tUsed\tPriority\n";
        let of = |text: &str| Facts {
            swaps: swaps(&format!("{head}{text}")),
            ..Facts::default()
        };
        assert_eq!(of("").judge_swap().verdict, Verdict::Ok);
        assert_eq!(
            of("/dev/zram0 partition 1 0 100\n").judge_swap().verdict,
            Verdict::Ok
        );
        let disk = of("/dev/sda2 partition 1 0 -2\n/dev/zram0 partition 1 0 100\n").judge_swap();
        assert_eq!(disk.verdict, Verdict::Warning);
        assert!(disk.found.contains("/dev/sda2"), "{disk:?}");
    }
}
