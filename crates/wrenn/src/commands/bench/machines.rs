//! The installation's VMMs as processes of the host, and what memory each takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What a process has of memory, in MiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Memory {
    /// What it has written and shares with nobody. What it has only read lies in the page cache, and is there once, however
    /// many have it.
    pub(super) written: f64,
    /// Its part of the pages of files that it has read, where each who has one counts alike.
    pub(super) files: f64,
}

/// All VMMs of the Wrenn of a data directory, also those that stand ready.
pub(super) fn vmms(data: &Path) -> Result<BTreeSet<u32>> {
    let instance = fs::read_to_string(data.join("instance"))?;
    let group = format!("/wrenn-{}/vm-", instance.trim());
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that ends meanwhile is none.
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if groups.contains(&group) {
            found.insert(pid);
        }
    }
    Ok(found)
}

/// What the kernel counts of a process. See proc_pid_smaps(5).
pub(super) fn memory(pid: u32) -> Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse(&rollup).with_context(|| format!("the kernel does not count the memory of {pid}"))
}

fn parse(rollup: &str) -> Option<Memory> {
    let mib = |name: &str| {
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u32 = line.split_whitespace().next()?.parse().ok()?;
        Some(f64::from(kib) / 1024.0)
    };
    Some(Memory {
        written: mib("Private_Dirty")? + mib("Swap")?,
        files: mib("Pss_File")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_told_from_what_was_read() {
        let rollup = "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 9216 kB\nPss_File: 3072 kB\n\
                      Private_Clean: 1024 kB\nPrivate_Dirty: 2048 kB\nSwap: 1024 kB\nSwapPss: 512 kB\n";
        let memory = parse(rollup).unwrap();
        assert_eq!((memory.written, memory.files), (3.0, 3.0));
        assert_eq!(parse("Private_Dirty: 2048 kB\n"), None);
        assert!(super::memory(std::process::id()).unwrap().written > 0.0);
    }

    #[test]
    fn nobody_s_vmms_are_none() {
        let data = tempfile::tempdir().unwrap();
        assert!(vmms(data.path()).is_err());
        fs::write(data.path().join("instance"), "none0000\n").unwrap();
        assert!(vmms(data.path()).unwrap().is_empty());
    }
}
