//! Where guests run here, as a saved state depends on it.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use wrenn_model::{Isolation, Platform, VmmKind};

/// What a VMM's build tells beside itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) vmm: VmmKind,
    /// The name of its build.
    pub(crate) build: &'a str,
    /// What it is told to be, with all options.
    pub(crate) machine: &'a str,
    pub(crate) cpu_model: &'a str,
}

/// What this host is to guests of this VMM and kind.
pub(crate) fn here(told: Told<'_>, isolation: Isolation, tsc_khz: u64) -> io::Result<Platform> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let features = match isolation {
        Isolation::Kvm => features(&cpus),
        Isolation::Emulated => BTreeSet::new(),
    };
    Ok(Platform {
        vmm: told.vmm,
        build: told.build.to_owned(),
        isolation,
        machine: told.machine.to_owned(),
        cpu_model: told.cpu_model.to_owned(),
        host_cpu: field(&cpus, "model name").unwrap_or("unknown").to_owned(),
        cpu_features: features,
        tsc_khz,
    })
}

/// What every CPU of the host has: a guest's may run on any.
fn features(cpus: &str) -> BTreeSet<String> {
    let of_each = fields(cpus, "flags")
        .map(|flags| flags.split_ascii_whitespace().map(str::to_owned).collect());
    of_each
        .reduce(|common: BTreeSet<String>, other| &common & &other)
        .unwrap_or_default()
}

fn field<'a>(cpus: &'a str, name: &'a str) -> Option<&'a str> {
    fields(cpus, name).next()
}

fn fields<'a>(cpus: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = cpus.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter(move |(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUS: &str = "processor\t: 0\nmodel name\t: A CPU: fast\nflags\t\t: fpu sse avx\n\n\
                        processor\t: 1\nmodel name\t: A CPU: fast\nflags\t\t: fpu sse\nvmx flags\t: ept\n";

    #[test]
    fn a_feature_counts_when_every_cpu_has_it() {
        assert_eq!(features(CPUS), ["fpu".to_owned(), "sse".to_owned()].into());
        assert_eq!(field(CPUS, "model name"), Some("A CPU: fast"));
        assert_eq!(features(""), BTreeSet::new());
    }

    #[test]
    fn an_emulated_cpu_takes_nothing_over_from_the_host() {
        let told = Told {
            vmm: VmmKind::Qemu,
            build: "00",
            machine: "some",
            cpu_model: "max",
        };
        let emulated = here(told, Isolation::Emulated, 2_600_000).unwrap();
        assert!(emulated.cpu_features.is_empty());
        assert_eq!(emulated.cpu_model, "max");
        let kvm = here(told, Isolation::Kvm, 2_600_000).unwrap();
        assert!(kvm.cpu_features.contains("fpu"), "{kvm:?}");
        assert!(emulated.loads_on(&kvm).is_err());
    }
}
