//! `GET /metrics`, read from /proc.

use std::fs;
use std::io;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use wrenn_envd_api::Metrics;

use crate::lock::lock;

const MIB: u64 = 1 << 20;

/// Remembers how much processor time had passed at the last reading.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Cpu>);

/// Processor time since boot, in ticks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cpu {
    total: u64,
    idle: u64,
}

impl Meter {
    /// What the guest uses now; of its processors, since the last reading.
    pub(super) fn read(&self) -> io::Result<Metrics> {
        let stat = fs::read_to_string("/proc/stat")?;
        let memory = Memory::parse(&fs::read_to_string("/proc/meminfo")?);
        let disk = rustix::fs::statvfs("/")?;
        let cpu = Cpu::parse(&stat);
        let before = std::mem::replace(&mut *lock(&self.0), cpu);
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let used = memory.total.saturating_sub(memory.available);
        Ok(Metrics {
            ts: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            cpu_count: count(&stat),
            cpu_used_pct: cpu.busy_since(before),
            mem_total: memory.total,
            mem_used: used,
            mem_total_mib: memory.total / MIB,
            mem_used_mib: used / MIB,
            mem_cache: memory.cached,
            disk_used: disk.f_blocks.saturating_sub(disk.f_bfree) * disk.f_frsize,
            disk_total: disk.f_blocks * disk.f_frsize,
        })
    }
}

impl Cpu {
    /// From the first line of /proc/stat: user nice system idle iowait irq softirq steal, then parts of those.
    fn parse(stat: &str) -> Self {
        let line = stat
            .lines()
            .find_map(|line| line.strip_prefix("cpu "))
            .unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        Self {
            total: ticks.iter().sum(),
            idle: ticks.iter().skip(3).take(2).sum(),
        }
    }

    /// Percent, with two digits behind the point.
    #[expect(clippy::cast_precision_loss, reason = "tick counts are far below 2^53")]
    fn busy_since(self, before: Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        let busy = total.saturating_sub(self.idle.saturating_sub(before.idle));
        if total == 0 {
            0.0
        } else {
            (busy as f64 / total as f64 * 10_000.0).round() / 100.0
        }
    }
}

fn count(stat: &str) -> u32 {
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    u32::try_from(stat.lines().filter(is_cpu).count()).unwrap_or(u32::MAX)
}

/// In bytes.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: u64,
    cached: u64,
}

impl Memory {
    fn parse(meminfo: &str) -> Self {
        let value = |name: &str| {
            let line = meminfo
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line
                .and_then(|line| line.split_whitespace().next())
                .and_then(|kib| kib.parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        };
        Self {
            total: value("MemTotal"),
            available: value("MemAvailable"),
            cached: value("Cached"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_processors() {
        let stat = "cpu  10 0 20 60 10 0 0 0 5 5\ncpu0 5 0 10 30 5 0 0 0 0 0\ncpu1 5 0 10 30 5 0 0 0 0 0\nintr 1\n";
        let cpu = Cpu::parse(stat);
        assert_eq!(
            cpu,
            Cpu {
                total: 100,
                idle: 70
            }
        );
        assert_eq!(count(stat), 2);
        assert!((cpu.busy_since(Cpu::default()) - 30.0).abs() < 0.001);
        assert!(
            (cpu.busy_since(Cpu {
                total: 50,
                idle: 20
            }))
            .abs()
                < 0.001
        );
        assert!((cpu.busy_since(cpu)).abs() < 0.001);
    }

    #[test]
    fn reads_the_memory() {
        let memory = Memory::parse(
            "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\nCached: 30 kB\n",
        );
        assert_eq!(
            memory,
            Memory {
                total: 1_024_000,
                available: 614_400,
                cached: 30_720
            }
        );
    }

    #[test]
    fn reads_this_machine() {
        let metrics = Meter::default().read().unwrap();
        assert!(
            metrics.cpu_count > 0 && metrics.mem_total > metrics.mem_used && metrics.disk_total > 0
        );
    }
}
