//! Where cases run one after the other: a data directory of its own, an agent on it, and a neighbour that lives through
//! all of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use connectrpc::ConnectError;
use wrenn_model::SandboxId;
use wrenn_testkit::leaks::{Scope, Snapshot};
use wrenn_testkit::vmm::Count;

use super::agent::{ASKED, AgentProcess};
use super::client::{Answer, Client, MEMORY_MB};
use super::pulse::{Pulse, as_busy};

/// What is armed when nothing is: every undo runs twice, and no step hangs for long.
pub(crate) const ALWAYS: &str = "undo=twice,limit=1500";
/// By when an agent that was started answers for its sandboxes.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How much longer than anybody's a neighbour's gap may be before it was disturbed, in milliseconds.
const GAP_MS: u64 = 500;
/// How long the kernel may take for what it takes away in its own time.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// The snapshot that there always is; it is in its guest's memory, too.
pub(crate) const SNAPSHOT: &str = "kept-snapshot";

/// How much of the log is shown of a case that failed, in bytes.
const LOG_SHOWN: usize = 4 << 10;

/// See the module.
pub(crate) struct Lane {
    dir: PathBuf,
    pub(crate) client: Client,
    pub(crate) agent: AgentProcess,
    neighbour: String,
    /// What was told of the neighbour the last time.
    counted: Count,
    pulse: Pulse,
    before: BTreeSet<String>,
    /// The agent was started, and the neighbour not asked yet.
    started: bool,
    /// A pause with `archived` in its memory.
    pub(crate) archive: Vec<u8>,
    /// Guest memory that nothing had yet, in MiB: there is no boot image of it.
    unused_mb: AtomicU32,
}

impl Lane {
    /// One with a neighbour and nothing else.
    pub(crate) async fn open() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("wrenn-matrix-")
            .tempdir()
            .unwrap()
            .keep();
        let client = Client::new(&dir);
        let agent = AgentProcess::start(&dir, ALWAYS);
        client.ready().await;
        let source = fresh_id();
        client.create(&source).await.unwrap();
        client.exec(&source, &["keep", "archived"]).await.unwrap();
        client.pause(&source).await.unwrap();
        let archive = client.export(&source).await.unwrap();
        client.destroy(&source).await.unwrap();
        let source = fresh_id();
        client.create(&source).await.unwrap();
        client.exec(&source, &["keep", SNAPSHOT]).await.unwrap();
        client.snapshot(&source, SNAPSHOT).await.unwrap();
        client.destroy(&source).await.unwrap();
        // The image that things are made to stand ready from.
        client.warm(0, 0).await.unwrap();
        let neighbour = fresh_id();
        client.create(&neighbour).await.unwrap();
        let counted = client.count(&neighbour).await.unwrap();
        let mut lane = Self {
            dir,
            client,
            agent,
            neighbour,
            counted,
            pulse: Pulse::start(),
            before: BTreeSet::new(),
            started: false,
            archive,
            unused_mb: AtomicU32::new(MEMORY_MB),
        };
        lane.before = lane.stands();
        lane
    }

    /// See the field.
    pub(crate) fn new_memory_mb(&self) -> u32 {
        self.unused_mb.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A client of this lane's agent whose calls carry a header.
    pub(crate) fn client_with(&self, header: &str, value: &str) -> Client {
        Client::with(&self.dir, &[(header, value)])
    }

    /// All that the lane's agents have said.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.dir.with_extension("log")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Starts the agent anew, with these faults beside what is always armed.
    pub(crate) fn start(&mut self, faults: &str) {
        self.agent = AgentProcess::start(&self.dir, &format!("{ALWAYS},{faults}"));
        self.client = Client::new(&self.dir);
        self.started = true;
    }

    /// Arms these faults beside what is always armed.
    pub(crate) fn arm(&mut self, faults: &str) {
        self.agent.arm(&format!("{ALWAYS},{faults}"));
    }

    /// Waits until the agent that was started answers. That it died before is told.
    pub(crate) async fn recovers(&mut self) -> Answer {
        tokio::select! {
            () = self.client.ready() => Ok(()),
            () = self.agent.dies() => Err(ConnectError::unavailable("the agent died")),
        }
    }

    /// That a sandbox answers; beside many others it may not be reached yet when the agent is ready.
    pub(crate) async fn answers(&self, id: &str) {
        let limit = Instant::now() + as_busy(ANSWER_LIMIT);
        while let Err(error) = self.client.exec(id, &["true"]).await {
            assert!(Instant::now() < limit, "{error:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// That the neighbour answers, soon after the agent's start, and was not disturbed.
    pub(crate) async fn assert_undisturbed(&mut self) {
        self.client.ready().await;
        self.answers(&self.neighbour).await;
        let now = self.client.count(&self.neighbour).await.unwrap();
        if std::mem::take(&mut self.started) {
            let answered = self.agent.began.elapsed();
            let limit = as_busy(ANSWER_LIMIT);
            assert!(answered < limit, "it answered after {answered:?}");
        }
        let usual = self.pulse.gap_ms();
        assert_eq!(
            now.boot, self.counted.boot,
            "the neighbour is another guest"
        );
        assert_eq!(
            now.freezes, self.counted.freezes,
            "the neighbour stood still"
        );
        assert!(
            now.count > self.counted.count,
            "the neighbour does not count"
        );
        assert!(
            now.gap_ms < usual + GAP_MS,
            "the neighbour did not count for {} ms, others for {usual} ms",
            now.gap_ms
        );
        self.counted = now;
    }

    /// That there is nothing but what there was at the beginning.
    pub(crate) async fn assert_nothing_left(&self) {
        let limit = Instant::now() + SETTLE_LIMIT;
        loop {
            let now = self.stands();
            if now == self.before {
                return;
            }
            let left: Vec<_> = now.difference(&self.before).collect();
            let gone: Vec<_> = self.before.difference(&now).collect();
            assert!(
                Instant::now() < limit,
                "left behind: {left:#?}\ngone: {gone:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What stands of this instance, in the kernel and in its folder, the agent itself left out.
    fn stands(&self) -> BTreeSet<String> {
        let instance = std::fs::read_to_string(self.dir.join("instance")).unwrap();
        let folder = self.dir.file_name().unwrap().to_string_lossy();
        let named = Scope::everything()
            .only(instance.trim())
            .folder(self.dir.join("store/sandboxes"));
        let within = Scope::everything().only(folder);
        let all = [Snapshot::take(&named), Snapshot::take(&within)];
        all.iter()
            .flat_map(Snapshot::lines)
            .filter(|line| !line.contains(ASKED))
            .map(str::to_owned)
            .collect()
    }

    /// The process of a sandbox's machine.
    pub(crate) fn machine(&self, id: &str) -> i32 {
        let mark = format!("sandboxes/{id}/");
        let line = self
            .stands()
            .into_iter()
            .find(|line| line.starts_with("process ") && line.contains(&mark));
        let line = line.expect("the sandbox has a machine");
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Prints the end of what the agent said.
    pub(crate) fn show_log(&self) {
        let log = std::fs::read(self.dir.with_extension("log")).unwrap_or_default();
        let end = &log[log.len().saturating_sub(LOG_SHOWN)..];
        println!("{}", String::from_utf8_lossy(end));
    }

    /// Takes everything down, whatever state it is in.
    pub(crate) async fn close(mut self) {
        self.agent.kill();
        self.start("");
        self.client.ready().await;
        self.client.shutdown().await.unwrap();
        self.agent.dies().await;
        std::fs::remove_dir_all(&self.dir).unwrap();
        std::fs::remove_file(self.dir.with_extension("log")).unwrap();
    }
}

/// An id that no sandbox has.
pub(crate) fn fresh_id() -> String {
    SandboxId::random().to_string()
}
