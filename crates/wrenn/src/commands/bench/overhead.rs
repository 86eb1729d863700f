//! What a create pays for being safe and remembered: the jail, beside the same program without one, and the journal's writes,
//! beside as many durable writes alone. What both cost together is what a create would be faster by without them.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wrenn_client::api::{CreateSandbox, Timing};
use wrenn_sys::cgroup::{Cgroup, Hierarchies, Limits};
use wrenn_sys::program::Program;
use wrenn_vmm::jail::{Access, Inhabitant, JailSpec, Launch, Link, Mount, Zygote};

use super::Bench;
use super::figures::{Figure, Samples};
use super::goal::Goal;

/// What is run with and without a jail: it does nothing.
const PROGRAM: &str = "/usr/bin/true";
/// A user that nobody is.
const UID: u32 = 1_900_043;
/// A create's durable writes in the journal: that it begins, and that it runs.
const WRITES: usize = 2;
/// About as long as the journal's record of a sandbox.
const RECORD: [u8; 2048] = [b'r'; 2048];
/// How long what the jail leaves may take to go.
const END_LIMIT: Duration = Duration::from_secs(5);
/// What they are called among a create's timings.
const JOURNAL: &str = "journal";
/// Steps that run side by side: the longer of them counts.
const FIRST_STAGE: [&str; 2] = ["folder", "slot"];

/// The figures of each, and of both together.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let [mut jailed, mut bare, mut journal, mut durable, mut beside] = <[Samples; 5]>::default();
    let zygote = Zygote::new(&std::env::current_exe()?);
    for round in 0..bench.rounds {
        bench.round("overhead", round);
        if bench.hand.is_some() {
            jailed.push_ms(in_jail(&zygote, &bench.data).await?);
            let begun = Instant::now();
            Program::new(PROGRAM).run().await?;
            bare.push_ms(begun.elapsed());
            durable.push_ms(durable_writes(&bench.data, WRITES)?);
        }
        let create = create(bench).await?;
        journal.push_ms(create.journal);
        beside.push_ms(create.beside);
    }
    let (together, alone) = (jailed.with(&journal), bare.with(&durable));
    let figure = |name, goal, wrenn, by_hand| Figure::new(name, "ms", goal, wrenn, by_hand);
    Ok(vec![
        figure("a program in the jail", Goal::None, &jailed, &bare),
        figure("the journal's writes", Goal::None, &journal, &durable),
        figure(
            "jail and journal together",
            Goal::MoreAtMost(5.0),
            &together,
            &alone,
        ),
        figure(
            "create beside its steps",
            Goal::None,
            &beside,
            &Samples::default(),
        ),
    ])
}

/// What of a create is no step of it.
struct Create {
    /// Its writes into the journal.
    journal: Duration,
    /// All else: the database, and two calls.
    beside: Duration,
}

async fn create(bench: &Bench) -> Result<Create> {
    let request = CreateSandbox {
        template: Some(bench.template.clone()),
        ..Default::default()
    };
    let begun = Instant::now();
    let (sandbox, timings) = bench.client.create_sandbox_timed(&request).await?;
    let took = begun.elapsed();
    bench.client.delete_sandbox(&sandbox.id).await?;
    let journal = timings.iter().find(|timing| timing.step == JOURNAL);
    let journal = journal.context("the server does not tell how long its journal took")?;
    Ok(Create {
        journal: Duration::from_secs_f64(journal.ms / 1e3),
        beside: took.saturating_sub(Duration::from_secs_f64(in_steps(&timings) / 1e3)),
    })
}

/// Milliseconds.
fn in_steps(timings: &[Timing]) -> f64 {
    let first = |timing: &&Timing| FIRST_STAGE.contains(&timing.step.as_str());
    let longest = timings.iter().filter(first).map(|timing| timing.ms);
    let rest = timings.iter().filter(|timing| !first(timing));
    longest.fold(0.0, f64::max) + rest.map(|timing| timing.ms).sum::<f64>()
}

/// So many durable writes, one after the other, on the journal's disk, into a file that has its blocks.
pub(super) fn durable_writes(data: &Path, writes: usize) -> Result<Duration> {
    let mut file = tempfile_in(data)?;
    file.write_all(&vec![0; writes * RECORD.len()])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let begun = Instant::now();
    for _ in 0..writes {
        file.write_all(&RECORD)?;
        file.sync_data()?;
    }
    Ok(begun.elapsed())
}

/// A file without a name.
fn tempfile_in(folder: &Path) -> Result<File> {
    let path = folder.join(format!(".bench-{}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// How long a program takes from its start to its end in a jail like a VMM's, with the jail's making. The zygote is there, as
/// in an agent.
async fn in_jail(zygote: &Zygote, data: &Path) -> Result<Duration> {
    let folder = data.join(format!(".bench-jail-{}", std::process::id()));
    let cgroup = Hierarchies::find()?.group(&format!("wrenn-bench-{}", std::process::id()), "jail");
    std::fs::create_dir(&folder)?;
    let took = run_in_jail(zygote, &folder, &cgroup).await;
    let ended = cgroup.end(END_LIMIT).await;
    std::fs::remove_dir_all(&folder)?;
    ended?;
    took
}

async fn run_in_jail(zygote: &Zygote, folder: &Path, cgroup: &Cgroup) -> Result<Duration> {
    let log = File::options().write(true).open("/dev/null")?;
    let root = folder.join("root");
    std::fs::create_dir(&root)?;
    zygote.start()?;
    let begun = Instant::now();
    cgroup.create(Limits {
        memory: 64 << 20,
        cpu_milli: 1000,
        pids: 8,
    })?;
    let launch = Launch {
        spec: &spec(root, cgroup),
        fds: &[],
        log: log.into(),
    };
    let jailed = zygote.launch(launch).await?;
    jailed.process.ended().await;
    Ok(begun.elapsed())
}

fn spec(root: PathBuf, cgroup: &Cgroup) -> JailSpec {
    let link = |at: &str, target: &str| Link {
        at: at.into(),
        target: target.into(),
    };
    JailSpec {
        cgroup: cgroup.entry(),
        root,
        mounts: vec![Mount {
            from: "/usr".into(),
            to: "usr".into(),
            access: Access::Execute,
        }],
        links: vec![link("lib", "usr/lib"), link("lib64", "usr/lib64")],
        devices: Vec::new(),
        uid: UID,
        file_size: 1 << 20,
        inhabitant: Inhabitant::Program {
            path: PROGRAM.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_side_by_side_count_once() {
        let step = |step: &str, ms| Timing {
            step: step.to_owned(),
            ms,
        };
        let timings = [
            step("queue", 1.0),
            step("folder", 2.0),
            step("slot", 9.0),
            step("guest", 20.0),
        ];
        assert!((in_steps(&timings) - 30.0).abs() < 1e-9);
    }

    #[test]
    fn durable_writes_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        durable_writes(dir.path(), WRITES).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
