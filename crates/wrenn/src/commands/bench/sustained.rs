//! Sandboxes that are made, used once and ended, one after the other for minutes: whether anything grows by it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wrenn_client::api::CreateSandbox;

use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::pool::Shape;
use super::{Bench, churn, server_memory};

/// How often memory, descriptors and disk are looked at, between two sandboxes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// By how much the memory of agent and server may differ without having grown, in MiB: what an allocator keeps.
const MEMORY: f64 = 4.0;
/// Connections that are kept for the next call, and queries. One lost for each hundredth sandbox would be more.
const DESCRIPTORS: f64 = 8.0;
/// What of the disk is taken by those that come and go at this moment, in MiB.
const DISK: f64 = 16.0;

/// What is looked at again and again.
#[derive(Default)]
struct Looks {
    memory: Samples,
    descriptors: Samples,
    disk: Samples,
}

/// The figures of so long a time.
pub(super) async fn measure(bench: &Bench, time: Duration) -> Result<Vec<Figure>> {
    let pool = Shape::of(bench).await?;
    // It stays as large as it is: by itself it grows with its use.
    pool.restore().await?;
    let before = things(bench, &pool).await?;
    let (took, looks) = come_and_go(bench, time).await?;
    let after = things(bench, &pool).await?;
    let none = Samples::default();
    let first = took.some(0..took.len() / 3).median();
    let last = took.some(took.len() - took.len() / 3..took.len());
    let mut figures = vec![
        Figure::new("create, one by one", "ms", Goal::None, &took, &none),
        Figure::new(
            "  that failed",
            "sandboxes",
            Goal::AtMost(0.0),
            &took.failures(),
            &none,
        ),
        Figure::new(
            "  in the last third of the time",
            "ms",
            Goal::Like("the first", first),
            &last,
            &none,
        ),
    ];
    for (name, unit, most, samples) in [
        ("  growth of memory", "MiB", MEMORY, &looks.memory),
        ("  of descriptors", "files", DESCRIPTORS, &looks.descriptors),
        ("  of the store", "MiB", DISK, &looks.disk),
    ] {
        let grown = one(samples.growth());
        figures.push(Figure::new(name, unit, Goal::AtMost(most), &grown, &none));
    }
    if let (Some(before), Some(after)) = (before, after) {
        let grown = one(Some(more(&before, &after)));
        figures.push(Figure::new(
            "  of slots, namespaces and all else",
            "things",
            Goal::AtMost(0.0),
            &grown,
            &none,
        ));
    }
    Ok(figures)
}

async fn come_and_go(bench: &Bench, time: Duration) -> Result<(Samples, Looks)> {
    let (mut took, mut looks) = (Samples::default(), Looks::default());
    let request = CreateSandbox {
        template: Some(bench.template.clone()),
        ..Default::default()
    };
    tracing::info!("sustained: {} s", time.as_secs());
    let begun = Instant::now();
    let mut next_look = begun;
    while begun.elapsed() < time {
        took.push_tried("a sandbox", bench.first_exit_code(&request).await);
        if bench.hand.is_some() && Instant::now() >= next_look {
            looks.look(bench)?;
            next_look = Instant::now() + LOOK_EVERY;
        }
    }
    Ok((took, looks))
}

impl Looks {
    fn look(&mut self, bench: &Bench) -> Result<()> {
        let programs = server_memory::programs(&bench.data);
        let programs = programs.context("agent and server of the data directory are not found")?;
        let descriptors = programs.map(|pid| Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count()));
        let descriptors: Result<Vec<_>> = descriptors.into_iter().collect();
        let memory = server_memory::idle(&bench.data);
        self.memory.push(memory.context("they tell no memory")?);
        self.descriptors.push(number(descriptors?.iter().sum()));
        self.disk.push(allocated_mib(&bench.data.join("store"))?);
        Ok(())
    }
}

/// How many things of each kind the instance has of the host, with the pool as full as it gets; none where only the API is asked.
async fn things(bench: &Bench, pool: &Shape<'_>) -> Result<Option<BTreeMap<String, usize>>> {
    pool.settled().await?;
    let Some(all) = churn::inventory(bench).await? else {
        return Ok(None);
    };
    let mut counts = BTreeMap::new();
    for (kind, _) in all {
        *counts.entry(kind).or_default() += 1;
    }
    Ok(Some(counts))
}

/// How many more there are now, of whatever kind there are more.
fn more(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> f64 {
    let mut grown = 0;
    for (kind, now) in after {
        let more = now.saturating_sub(before.get(kind).copied().unwrap_or(0));
        if more > 0 {
            tracing::warn!(%kind, more, "there are more than before");
        }
        grown += more;
    }
    number(grown)
}

fn one(value: Option<f64>) -> Samples {
    let mut samples = Samples::default();
    if let Some(value) = value {
        samples.push(value);
    }
    samples
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What the files of a folder take, each once, however many names it has. What goes meanwhile takes nothing.
fn allocated_mib(folder: &Path) -> Result<f64> {
    let mut blocks = 0;
    let mut seen = HashSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            // What is mounted below, a jail's for example, is counted where it is.
            if meta.is_dir() {
                folders.push(entry.path());
            } else if seen.insert((meta.dev(), meta.ino())) {
                blocks += meta.blocks();
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "MiB with two digits")]
    let blocks = blocks as f64;
    Ok(blocks / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grows_counts() {
        let counts = |pairs: &[(&str, usize)]| {
            let pairs = pairs
                .iter()
                .map(|(kind, count)| ((*kind).to_owned(), *count));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let before = counts(&[("link", 2), ("cgroup", 3)]);
        let after = counts(&[("link", 1), ("cgroup", 5), ("process", 1)]);
        assert_eq!(more(&before, &after), 3.0);
        assert_eq!(more(&before, &before), 0.0);
    }

    #[test]
    fn a_file_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b");
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(&file, vec![1; 3 << 20]).unwrap();
        fs::hard_link(&file, dir.path().join("c")).unwrap();
        let mib = allocated_mib(dir.path()).unwrap();
        assert!((3.0..4.0).contains(&mib), "{mib}");
    }
}
