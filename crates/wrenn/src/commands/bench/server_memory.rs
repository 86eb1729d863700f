//! How much memory control plane and agent grow by while something happens.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use wrenn_sys::process;

/// Watches the resident memory of the two processes that work on a data directory.
#[derive(Debug)]
pub(super) struct Watch {
    before: u64,
    peak: Arc<AtomicU64>,
    watching: JoinHandle<()>,
}

impl Watch {
    /// Begins; `None` where they cannot be found or looked at.
    pub(super) fn begin(data: &Path) -> Option<Self> {
        let [agent, server] = programs(data)?;
        let both = move || Some(resident(agent)? + resident(server)?);
        let before = both()?;
        let peak = Arc::new(AtomicU64::new(before));
        let seen = peak.clone();
        let watching = tokio::spawn(async move {
            while let Some(now) = both() {
                seen.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Some(Self {
            before,
            peak,
            watching,
        })
    }

    /// By how many MiB it grew at the most.
    pub(super) fn end(self) -> f64 {
        self.watching.abort();
        let grown = self.peak.load(Ordering::Relaxed) - self.before;
        #[expect(clippy::cast_precision_loss, reason = "MiB with two digits")]
        let grown = grown as f64;
        grown / f64::from(1 << 20)
    }
}

/// The processes of agent and server; `None` where they cannot be found.
pub(super) fn programs(data: &Path) -> Option<[u32; 2]> {
    Some([
        owner(&data.join("lock"))?,
        owner(&data.join("server/lock"))?,
    ])
}

/// What agent and server take together, in MiB, where what they share with others counts in parts; `None` where they cannot
/// be found or looked at.
pub(super) fn idle(data: &Path) -> Option<f64> {
    let [agent, server] = programs(data)?.map(proportional);
    Some(f64::from(u32::try_from(agent? + server?).ok()?) / 1024.0)
}

/// What the server alone takes, in the same way, whether it works in the data directory or in a folder of its own.
pub(super) fn server(data: &Path, state: Option<&Path>) -> Option<f64> {
    let folder = state.map_or_else(|| data.join("server"), Path::to_owned);
    let server = proportional(owner(&folder.join("lock"))?)?;
    Some(f64::from(u32::try_from(server).ok()?) / 1024.0)
}

/// A process's proportional set size in KiB. See proc_pid_smaps(5).
fn proportional(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The process that has locked a file, as the kernel tells it.
fn owner(lock: &Path) -> Option<u32> {
    let inode = format!(":{}", fs::metadata(lock).ok()?.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, pid, file, ..] if file.ends_with(&inode) => pid.parse().ok(),
            _ => None,
        }
    })
}

/// A process's resident memory in bytes.
fn resident(pid: u32) -> Option<u64> {
    let used = process::usage(pid.try_into().ok()?).ok()??;
    Some(used.resident)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_lock_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = fs::File::create(&path).unwrap();
        assert_eq!(owner(&path), None);
        file.try_lock().unwrap();
        assert_eq!(owner(&path), Some(std::process::id()));
        assert!(resident(std::process::id()).unwrap() > 1 << 20);
        assert!(proportional(std::process::id()).unwrap() > 1 << 10);
    }
}
