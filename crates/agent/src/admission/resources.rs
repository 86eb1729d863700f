//! What the host has this moment, and what of it may be promised.
//!
//! Memory is promised in full: each virtual machine counts with all that its cgroup lets it take, so that the sum of the
//! limits fits into the host, whatever guests do. What other programs use is seen at each decision, not assumed.
//!
//! Disk is promised for what must be possible at any time: a pause, which writes at most the guest's memory. What a guest
//! writes to its own disk is not promised; it takes from what is free, and a guest that finds nothing left is frozen until
//! there is room.

use std::io;
use std::path::Path;

use wrenn_disk::Volume;
use wrenn_model::MiB;
use wrenn_sys::cgroup::Hierarchies;

use super::overcommit::MemoryOvercommit;

/// What the host keeps for itself beside what its other programs use already, in bytes.
const HOST_RESERVE: u64 = 512 << 20;
/// Descriptors that the agent has open for each running sandbox, connections of a few calls at once among them. At rest
/// 3 were counted in `/proc/PID/fd`.
const DESCRIPTORS_EACH: u64 = 16;
/// Descriptors that the agent and the control plane beside it have of their own, callers' connections among them.
const DESCRIPTORS_OWN: u64 = 512;

/// What an operator lets guests have. The default is what the host has.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// The most memory that guests may be promised together, what runs them included.
    pub memory: Option<MiB>,
    /// How many times over memory is promised.
    pub memory_overcommit: MemoryOvercommit,
}

/// What one virtual machine takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// All that its cgroup lets it take, in bytes.
    pub(super) memory: u64,
    /// What its next pause may have to write, in bytes.
    pub(super) disk: u64,
}

/// What is promised to all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Promised {
    pub(super) memory: u64,
    pub(super) disk: u64,
    pub(super) machines: u64,
}

impl Promised {
    pub(super) fn add(&mut self, demand: Demand) {
        self.memory += demand.memory;
        self.disk += demand.disk;
        self.machines += 1;
    }

    pub(super) fn give_back(&mut self, demand: Demand) {
        self.memory -= demand.memory;
        self.disk -= demand.disk;
        self.machines -= 1;
    }

    /// The same, for who only asks what would be then.
    pub(super) fn without(self, demand: Demand) -> Self {
        Self {
            memory: self.memory.saturating_sub(demand.memory),
            disk: self.disk.saturating_sub(demand.disk),
            machines: self.machines.saturating_sub(1),
        }
    }
}

/// What was seen of the host, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// All the memory that it has.
    pub(super) total: u64,
    /// What programs can still get of it.
    pub(super) available: u64,
    /// What this instance's virtual machines have of it.
    pub(super) guests: u64,
    /// What can be written into the store beside its headroom.
    pub(super) disk: u64,
    /// How many sandboxes the agent has descriptors for.
    pub(super) machines: u64,
}

/// What may be promised to all guests together, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) memory: u64,
    /// What is there this moment for one more.
    pub(super) available: u64,
    pub(super) disk: u64,
    pub(super) machines: u64,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    Memory,
    Available,
    Disk,
    Machines,
}

impl Seen {
    /// Looks.
    pub(super) fn now(volume: &Volume, hierarchies: &Hierarchies, group: &str) -> io::Result<Self> {
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let (total, available) = parse(&memory).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            total,
            available,
            guests: hierarchies.anonymous(group).map_err(io::Error::other)?,
            disk: volume.room()?,
            machines: descriptors().saturating_sub(DESCRIPTORS_OWN) / DESCRIPTORS_EACH,
        })
    }

    /// What may be promised within these limits.
    pub(super) fn room(&self, limits: &Limits) -> Room {
        let others = self
            .total
            .saturating_sub(self.available)
            .saturating_sub(self.guests);
        let free = self.total.saturating_sub(others + HOST_RESERVE);
        let memory = limits.memory.map_or(free, |most| free.min(most.bytes()));
        Room {
            memory: limits.memory_overcommit.times(memory),
            available: self.available.saturating_sub(HOST_RESERVE),
            disk: self.disk,
            machines: self.machines,
        }
    }
}

impl Room {
    /// Whether one more fits. Where it does, so do all of them together.
    pub(super) fn check(&self, promised: &Promised, demand: Demand) -> Result<(), Short> {
        if promised.memory + demand.memory > self.memory {
            return Err(Short::Memory);
        }
        // Only where memory is promised more than once can this be the first to end.
        if demand.memory > self.available {
            return Err(Short::Available);
        }
        if promised.machines >= self.machines {
            return Err(Short::Machines);
        }
        if promised.disk + demand.disk > self.disk {
            return Err(Short::Disk);
        }
        Ok(())
    }
}

/// The most that one guest could ever be promised, in bytes, whatever runs beside it.
pub(super) fn largest(limits: &Limits) -> io::Result<u64> {
    let memory = std::fs::read_to_string(Path::new("/proc/meminfo"))?;
    let (total, _) = parse(&memory).ok_or(io::ErrorKind::InvalidData)?;
    let most = total.saturating_sub(HOST_RESERVE);
    Ok(limits.memory.map_or(most, |limit| most.min(limit.bytes())))
}

/// `MemTotal` and `MemAvailable`, in bytes. See proc_meminfo(5).
fn parse(meminfo: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        Some(kib << 10)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

fn descriptors() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

/// Lets this process have as many descriptors as it may: a login's 1,024 end at some sixty sandboxes.
pub(super) fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn seen(total: u64, available: u64, guests: u64) -> Seen {
        Seen {
            total,
            available,
            guests,
            disk: 100 * GIB,
            machines: 1000,
        }
    }

    #[test]
    fn meminfo_is_read() {
        let text =
            "MemTotal:       24683904 kB\nMemFree:        100 kB\nMemAvailable:   24199168 kB\n";
        assert_eq!(parse(text), Some((24_683_904 << 10, 24_199_168 << 10)));
        assert_eq!(parse("MemTotal: 5 kB\n"), None);
        let here = parse(&std::fs::read_to_string("/proc/meminfo").unwrap()).unwrap();
        assert!(here.0 >= here.1 && here.1 > 0);
    }

    #[test]
    fn what_other_programs_use_is_not_promised_and_what_guests_use_is() {
        let limits = Limits::default();
        let idle = seen(16 * GIB, 15 * GIB, 0).room(&limits).memory;
        assert_eq!(idle, 15 * GIB - HOST_RESERVE);
        // Guests that use what they were promised change nothing.
        assert_eq!(seen(16 * GIB, 5 * GIB, 10 * GIB).room(&limits).memory, idle);
        // A program that takes 8 GiB does.
        let busy = seen(16 * GIB, 7 * GIB, 0).room(&limits).memory;
        assert_eq!(busy, 7 * GIB - HOST_RESERVE);
    }

    #[test]
    fn a_limit_and_overcommit_are_the_operator_s() {
        let mut limits = Limits {
            memory: Some(MiB(2048)),
            ..Limits::default()
        };
        let host = seen(16 * GIB, 15 * GIB, 0);
        assert_eq!(host.room(&limits).memory, 2 * GIB);
        limits.memory_overcommit = "1.5".parse().unwrap();
        assert_eq!(host.room(&limits).memory, 3 * GIB);
        // However often it is promised: what is not there now is not there.
        let full = seen(16 * GIB, GIB, 14 * GIB).room(&limits);
        let demand = Demand {
            memory: GIB,
            disk: 0,
        };
        assert_eq!(
            full.check(&Promised::default(), demand),
            Err(Short::Available)
        );
    }

    #[test]
    fn what_is_short_is_told() {
        let room = Room {
            memory: 10,
            available: 10,
            disk: 5,
            machines: 2,
        };
        let demand = |memory, disk| Demand { memory, disk };
        let mut promised = Promised::default();
        assert_eq!(room.check(&promised, demand(11, 0)), Err(Short::Memory));
        assert_eq!(room.check(&promised, demand(1, 6)), Err(Short::Disk));
        promised.add(demand(4, 4));
        assert_eq!(room.check(&promised, demand(7, 0)), Err(Short::Memory));
        assert_eq!(room.check(&promised, demand(6, 2)), Err(Short::Disk));
        assert_eq!(room.check(&promised, demand(6, 1)), Ok(()));
        promised.add(demand(6, 1));
        assert_eq!(room.check(&promised, demand(0, 0)), Err(Short::Machines));
        promised.give_back(demand(6, 1));
        promised.give_back(demand(4, 4));
        assert_eq!(promised, Promised::default());
    }

    proptest! {
        /// Whoever comes and goes, and whatever else the host does: right after an admission all limits together fit into
        /// what other programs leave, and the one that was admitted can take all of its own at once.
        #[test]
        fn promises_never_exceed_what_there_is(
            total in 2..64_u64,
            steps in proptest::collection::vec((0..40_u64, 128..4096_u64, 0..101_u64, any::<bool>()), 1..60),
        ) {
            let total = total * GIB;
            let limits = Limits::default();
            let mut running: Vec<Demand> = Vec::new();
            let mut promised = Promised::default();
            for (others, memory, touched, leave) in steps {
                let others = (others * GIB).min(total);
                // Guests touch a part of what they were promised, as far as there is memory at all.
                let guests = (promised.memory * touched / 100).min(total - others);
                let host = seen(total, total - others - guests, guests);
                let demand = Demand { memory: memory << 20, disk: memory << 20 };
                if leave && !running.is_empty() {
                    promised.give_back(running.remove(0));
                } else if host.room(&limits).check(&promised, demand).is_ok() {
                    promised.add(demand);
                    running.push(demand);
                    prop_assert!(promised.memory + others + HOST_RESERVE <= total);
                    prop_assert!(demand.memory <= host.available);
                }
                prop_assert_eq!(promised.memory, running.iter().map(|one| one.memory).sum::<u64>());
                prop_assert_eq!(promised.machines, running.len() as u64);
            }
        }
    }
}
