//! Where guests run here, as a saved state depends on it.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use wrenn_model::{Isolation, Platform, VmmKind};

use super::args;

/// What this host is to a guest of this build and kind.
pub(super) fn here(build: &str, isolation: Isolation, tsc_khz: u64) -> io::Result<Platform> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let features = match isolation {
        Isolation::Kvm => features(&cpus),
        Isolation::Emulated => BTreeSet::new(),
    };
    Ok(Platform {
        vmm: VmmKind::Qemu,
        build: build.to_owned(),
        isolation,
        machine: args::MACHINE.to_owned(),
        cpu_model: args::cpu_model(isolation).to_owned(),
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
    fn the_build_decides_what_an_emulated_cpu_has() {
        let emulated = here("00", Isolation::Emulated, 2_600_000).unwrap();
        assert!(emulated.cpu_features.is_empty());
        assert_eq!(emulated.cpu_model, "max");
        let kvm = here("00", Isolation::Kvm, 2_600_000).unwrap();
        assert!(kvm.cpu_features.contains("fpu"), "{kvm:?}");
        assert!(emulated.loads_on(&kvm).is_err());
    }
}
