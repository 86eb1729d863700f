//! What a saved machine state depends on, beside its own bytes. A VMM loads nearly any state in silence, so that we
//! compare before one starts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Isolation, VmmKind};

/// How far two measurements of one clock may lie apart, in parts per million: a measured rate differs a little at each
/// boot of a host.
const TSC_TOLERANCE_PPM: u64 = 250;

/// Where a virtual machine runs, or ran when its state was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Which VMM.
    pub vmm: VmmKind,
    /// The VMM's build: SHA-256 of all its files, in hexadecimal.
    pub build: String,
    /// What separates its guests from the host.
    pub isolation: Isolation,
    /// The machine type with all its options, as the VMM is told.
    pub machine: String,
    /// The CPU model, as the VMM is told.
    pub cpu_model: String,
    /// The host CPU's name; only ever shown.
    pub host_cpu: String,
    /// The features that the guest's CPU took over from the host's. Empty under emulation, where the build decides.
    pub cpu_features: BTreeSet<String>,
    /// The rate of the time stamp counter, in kHz.
    pub tsc_khz: u64,
}

/// Why a saved state can not be loaded here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The build that saved it is not on this host.
    #[error("it was saved by VMM build {0}, which this host does not have")]
    Build(String),
    /// Another VMM, accelerator, machine or CPU model.
    #[error("its {what} was {saved:?}, and here it is {here:?}")]
    Machine {
        /// What differs.
        what: &'static str,
        /// Then.
        saved: String,
        /// Now.
        here: String,
    },
    /// The guest would measure time wrongly.
    #[error("its clock ran at {saved} kHz, and here it would run at {here} kHz")]
    Tsc {
        /// Then, in kHz.
        saved: u64,
        /// Now, in kHz.
        here: u64,
    },
    /// The guest uses what this CPU does not have.
    #[error("this host's CPU lacks {}", .0.join(", "))]
    CpuFeatures(Vec<String>),
}

impl Platform {
    /// Whether a state that was saved on `self` can be loaded on `here`, the build aside: builds are kept, and the one
    /// that saved a state loads it.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn loads_on(&self, here: &Self) -> Result<(), Mismatch> {
        let told = [
            ("VMM", self.vmm.as_str(), here.vmm.as_str()),
            (
                "isolation",
                self.isolation.as_str(),
                here.isolation.as_str(),
            ),
            ("machine", self.machine.as_str(), here.machine.as_str()),
            (
                "CPU model",
                self.cpu_model.as_str(),
                here.cpu_model.as_str(),
            ),
        ];
        if let Some((what, saved, here)) = told.into_iter().find(|(_, saved, here)| saved != here) {
            return Err(Mismatch::Machine {
                what,
                saved: saved.into(),
                here: here.into(),
            });
        }
        // A saved rate may come out of an archive, and be anything.
        let parts = |rate: u64, factor: u64| u128::from(rate) * u128::from(factor);
        let apart = parts(self.tsc_khz.abs_diff(here.tsc_khz), 1_000_000);
        if apart > parts(self.tsc_khz, TSC_TOLERANCE_PPM) {
            return Err(Mismatch::Tsc {
                saved: self.tsc_khz,
                here: here.tsc_khz,
            });
        }
        let missing: Vec<String> = self
            .cpu_features
            .difference(&here.cpu_features)
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(Mismatch::CpuFeatures(missing));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        Platform {
            vmm: VmmKind::Qemu,
            build: "00".into(),
            isolation: Isolation::Kvm,
            machine: "microvm".into(),
            cpu_model: "host".into(),
            host_cpu: "some CPU".into(),
            cpu_features: ["avx2".to_owned(), "sse4_2".to_owned()].into(),
            tsc_khz: 2_600_000,
        }
    }

    #[test]
    fn a_like_host_will_do() {
        let mut here = platform();
        here.build = "11".into();
        here.host_cpu = "a newer CPU".into();
        here.cpu_features.insert("avx512f".into());
        here.tsc_khz += 650;
        assert_eq!(platform().loads_on(&here), Ok(()));
    }

    #[test]
    fn each_difference_is_named() {
        type Change = fn(&mut Platform);
        let changes: [(Change, &str); 7] = [
            (|p| p.vmm = VmmKind::Firecracker, "VMM"),
            (|p| p.isolation = Isolation::Emulated, "isolation"),
            (|p| p.machine.push_str(",pit=on"), "machine"),
            (|p| p.cpu_model = "max".into(), "CPU model"),
            (|p| p.tsc_khz -= 651, "kHz"),
            (|p| p.tsc_khz = u64::MAX, "kHz"),
            (|p| p.cpu_features = ["sse4_2".to_owned()].into(), "avx2"),
        ];
        for (change, named) in changes {
            let mut here = platform();
            change(&mut here);
            let refused = platform().loads_on(&here).unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
            let back = here.loads_on(&platform());
            assert!(named == "avx2" || back.is_err(), "{named}");
        }
    }
}
