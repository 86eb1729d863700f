//! Sandboxes live for half an hour beside deaths of the agent, of the control plane and of virtual machines, at random
//! moments: what was kept in a guest is there, what was destroyed is gone, and nothing piles up.
//!
//! `WRENN_SOAK_MINUTES` says for how long, `WRENN_SOAK_SEED` in which order; the figures are printed at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;
use wrenn_client::api::{CreateSandbox, ResumeRequest, Sandbox};
use wrenn_client::{Client, Error, Result};
use wrenn_testkit::leaks::Snapshot;

use crate::harness::{MEMORY, Server, kill_vmm, random, resident_memory, scope, shell};

const MINUTES: u64 = 30;
/// How many sandboxes live at a time.
const LANES: u64 = 4;
/// Between two deaths, at the least and at the most.
const QUIET: (u64, u64) = (8, 40);
/// How long anything may take until it succeeds, deaths in between included.
const PATIENCE: Duration = Duration::from_secs(180);
/// The label by which a creation is found again whose answer was lost.
const LABEL: &str = "soak";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "long: make test-long"]
async fn half_an_hour_of_random_deaths_loses_nothing() {
    let minutes = from_env("WRENN_SOAK_MINUTES").unwrap_or(MINUTES);
    let seed = from_env("WRENN_SOAK_SEED").unwrap_or_else(random);
    eprintln!("{minutes} minutes, WRENN_SOAK_SEED={seed}");
    let soak = Soak::begin();
    let before = Snapshot::take(&scope(&*soak.server.read().await));
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let lanes = (0..LANES).map(|lane| soak.lane(Random(seed ^ (lane + 1) << 32), end));
    tokio::join!(
        futures::future::join_all(lanes),
        soak.deaths(Random(seed), end)
    );

    let server = soak.server.into_inner();
    let client = server.client();
    for sandbox in client.sandboxes().await.unwrap() {
        client.delete_sandbox(&sandbox.id).await.unwrap();
    }
    before.assert_nothing_new(&scope(&server));
    eprintln!("{}", soak.figures);
    for what in ["lives", "rounds", "agent", "control plane", "vmm"] {
        assert!(soak.figures.of(what) > 0, "{what}: {}", soak.figures);
    }
    let taken = resident_memory(&server);
    eprintln!("agent and control plane take {} MiB", taken >> 20);
    assert!(taken < 200 << 20, "{taken} bytes");
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A sequence that follows from its seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `low..=high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
}

/// How often what happened.
#[derive(Default)]
struct Figures(Mutex<BTreeMap<String, u64>>);

impl Figures {
    fn count(&self, what: &str) {
        *self.0.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    fn of(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in self.0.lock().unwrap().iter() {
            writeln!(f, "{times:>8}  {what}")?;
        }
        Ok(())
    }
}

/// What all lanes share.
struct Soak {
    server: RwLock<Server>,
    figures: Figures,
    lives: AtomicU64,
    /// Those that run, and may be struck.
    running: Mutex<BTreeSet<String>>,
    /// Those whose machine was ended.
    struck: Mutex<BTreeSet<String>>,
}

/// One sandbox of a lane, and what it was given to keep.
struct Life {
    id: String,
    token: String,
    boot: String,
    /// What it had when it was last paused: an end of its machine takes it back to that.
    saved: Option<String>,
}

impl Soak {
    fn begin() -> Self {
        Self {
            server: RwLock::new(Server::start()),
            figures: Figures::default(),
            lives: AtomicU64::new(0),
            running: Mutex::default(),
            struck: Mutex::default(),
        }
    }

    async fn client(&self) -> Client {
        self.server.read().await.client()
    }

    /// Ends something, again and again.
    async fn deaths(&self, mut random: Random, end: Instant) {
        while Instant::now() < end {
            let quiet = random.between(QUIET.0, QUIET.1);
            tokio::time::sleep(Duration::from_secs(quiet)).await;
            match random.between(0, 3) {
                0 => self.strike(&mut random).await,
                1 => {
                    self.figures.count("control plane");
                    let server = self.server.read().await;
                    let pid = i32::try_from(server.control_plane()).unwrap();
                    let pid = rustix::process::Pid::from_raw(pid).unwrap();
                    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
                    // Only its parent may be ended next, which starts it again.
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                _ => {
                    self.figures.count("agent");
                    let mut server = self.server.write().await;
                    tokio::task::block_in_place(|| {
                        server.kill();
                        server.resume();
                    });
                }
            }
        }
    }

    /// Ends the machine of a sandbox that runs.
    async fn strike(&self, random: &mut Random) {
        let server = self.server.read().await;
        let mut running = self.running.lock().unwrap();
        let mut lane = random.between(0, LANES - 1);
        let chosen = running.iter().find(|_| {
            let found = lane == 0;
            lane = lane.saturating_sub(1);
            found
        });
        let Some(id) = chosen.cloned() else {
            return;
        };
        running.remove(&id);
        self.struck.lock().unwrap().insert(id.clone());
        kill_vmm(&server.data(), &id);
        self.figures.count("vmm");
    }

    /// Says that it runs, and may be struck; or that it may not.
    fn mark(&self, id: &str, running: bool) {
        let mut all = self.running.lock().unwrap();
        if running {
            all.insert(id.to_owned());
        } else {
            all.remove(id);
        }
    }

    fn was_struck(&self, id: &str) -> bool {
        self.struck.lock().unwrap().contains(id)
    }

    /// One sandbox after the other.
    async fn lane(&self, mut random: Random, end: Instant) {
        while Instant::now() < end {
            let Some(mut life) = self.born().await else {
                continue;
            };
            self.figures.count("lives");
            for _ in 0..random.between(1, 6) {
                if !self.round(&mut life, &mut random).await {
                    break;
                }
                self.figures.count("rounds");
            }
            self.ends(&life.id).await;
        }
    }

    /// Tries until it succeeds, or is refused for a reason that a death does not explain.
    async fn persist<T, F: Future<Output = Result<T>>>(
        &self,
        what: &str,
        mut act: impl FnMut(Client) -> F,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            let error = match act(self.client().await).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if !passes(&error) {
                return Err(error);
            }
            self.figures
                .count(&format!("{what} again: {}", name(&error)));
            assert!(begun.elapsed() < PATIENCE, "{what}: {error}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// What it is once nothing is under way.
    async fn settled(&self, id: &str) -> Sandbox {
        let begun = Instant::now();
        loop {
            let seen = self.persist("look", |client| async move { client.sandbox(id).await });
            let seen = seen.await.unwrap();
            if seen.transition.is_none() && seen.status != "pending" {
                return seen;
            }
            assert!(begun.elapsed() < PATIENCE, "{seen:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Makes a sandbox and gives it something to keep; none where its creation was cut off.
    async fn born(&self) -> Option<Life> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed).to_string();
        let request = CreateSandbox {
            memory_mb: Some(MEMORY),
            metadata: [(LABEL.to_owned(), life.clone())].into(),
            timeout_sec: Some(3600),
            ..CreateSandbox::default()
        };
        let made = self.client().await.create_sandbox(&request).await;
        let id = match made {
            Ok(made) => made.id,
            Err(error) if passes(&error) => {
                self.figures
                    .count(&format!("create cut off: {}", name(&error)));
                return self.forget(&life).await;
            }
            Err(error) => panic!("a creation was refused: {error}"),
        };
        self.mark(&id, true);
        let mut life = Life {
            id,
            token: String::new(),
            boot: String::new(),
            saved: None,
        };
        if self.settle_in(&mut life).await {
            return Some(life);
        }
        self.ends(&life.id).await;
        None
    }

    /// Learns which boot it is, and gives it something to keep. False where it was struck.
    async fn settle_in(&self, life: &mut Life) -> bool {
        let asked = self.say(&life.id, "cat /proc/sys/kernel/random/boot_id");
        let Some(boot) = asked.await else {
            return false;
        };
        life.boot = boot.trim().to_owned();
        self.renew(life).await
    }

    /// Ends what came of a creation that nobody heard of.
    async fn forget(&self, life: &str) -> Option<Life> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let all = self.persist("list", |client| async move { client.sandboxes().await });
        for sandbox in all.await.unwrap() {
            if sandbox.metadata.get(LABEL).is_some_and(|told| told == life) {
                self.ends(&sandbox.id).await;
            }
        }
        None
    }

    /// What a shell in it prints; nothing where its machine was ended, which then lies in its last pause.
    async fn say(&self, id: &str, script: &str) -> Option<String> {
        let told = self.persist("exec", |client| async move {
            client.exec(id, &shell(script)).await
        });
        match told.await {
            Ok(done) => {
                assert_eq!(done.exit_code, 0, "{script}: {done:?}");
                Some(done.stdout)
            }
            Err(error) => {
                let found = self.settled(id).await;
                assert!(self.was_struck(id), "{error}: {found:?}");
                None
            }
        }
    }

    /// Gives it something new to keep. False where it was struck.
    async fn renew(&self, life: &mut Life) -> bool {
        let token = format!("{:016x}", random());
        let write = format!("echo {token} | tee /run/token /root/token && sync");
        if self.say(&life.id, &write).await.is_none() {
            return false;
        }
        life.token = token;
        true
    }

    /// Whether it has what it was given, of the boot that it was.
    async fn check(&self, life: &Life) -> bool {
        let ask = "cat /proc/sys/kernel/random/boot_id /run/token /root/token";
        let Some(told) = self.say(&life.id, ask).await else {
            return false;
        };
        let Life { boot, token, .. } = life;
        assert_eq!(told, format!("{boot}\n{token}\n{token}\n"), "{}", life.id);
        true
    }

    /// One thing that happens to a sandbox. False where it cannot go on.
    async fn round(&self, life: &mut Life, random: &mut Random) -> bool {
        let alive = match random.between(0, 2) {
            0 => self.renew(life).await,
            1 => self.check(life).await,
            _ => self.rest(life).await,
        };
        alive || self.revive(life).await
    }

    /// Pauses it and takes it up again.
    async fn rest(&self, life: &mut Life) -> bool {
        let id = life.id.clone();
        // Who is struck in the middle of a pause is so after it as well; the kill matrix has that.
        self.mark(&id, false);
        let paused = self.until_it_is("paused", &id).await;
        if paused {
            self.figures.count("pauses");
            life.saved = Some(life.token.clone());
        }
        let running = paused && self.until_it_is("running", &id).await;
        if running {
            self.figures.count("resumes");
            self.mark(&id, true);
        }
        running && self.check(life).await
    }

    /// Asks for a pause or a resume until it is so; false where it is an error.
    async fn until_it_is(&self, status: &str, id: &str) -> bool {
        let begun = Instant::now();
        loop {
            let now = self.settled(id).await;
            if now.status == status {
                return true;
            }
            if now.status == "error" {
                assert!(self.was_struck(id), "{now:?}");
                return false;
            }
            assert!(begun.elapsed() < PATIENCE, "{now:?} is not {status}");
            let client = self.client().await;
            let asked = match status {
                "paused" => client.pause(id).await.map(drop),
                _ => client.resume(id, &ResumeRequest::default()).await.map(drop),
            };
            match asked {
                Ok(()) => return true,
                Err(error) => {
                    self.figures
                        .count(&format!("{status} again: {}", name(&error)));
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            }
        }
    }

    /// Goes back to the last pause of one whose machine was ended; false where there is none.
    async fn revive(&self, life: &mut Life) -> bool {
        let id = life.id.clone();
        self.mark(&id, false);
        let Some(saved) = life.saved.clone() else {
            return false;
        };
        let begun = Instant::now();
        loop {
            let now = self.settled(&id).await;
            if now.status == "running" {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{now:?} does not come back");
            let client = self.client().await;
            match client.resume(&id, &ResumeRequest::default()).await {
                Ok(_) => break,
                Err(error) => self
                    .figures
                    .count(&format!("revive again: {}", name(&error))),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.figures.count("back to the last pause");
        self.struck.lock().unwrap().remove(&id);
        life.token = saved;
        self.mark(&id, true);
        self.check(life).await
    }

    /// Destroys it: afterwards it is stopped, and stays so.
    async fn ends(&self, id: &str) {
        self.mark(id, false);
        let destroyed = self.persist("destroy", |client| async move {
            client.delete_sandbox(id).await
        });
        destroyed.await.unwrap();
        let now = self.settled(id).await;
        assert_eq!(now.status, "stopped", "{now:?}");
        self.struck.lock().unwrap().remove(id);
    }
}

/// Whether a death of Wrenn explains it, or the host was busy: the same call is worth another try.
fn passes(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Broken { .. } => true,
        Error::Api(told) => {
            told.retryable
                || matches!(
                    told.code.as_str(),
                    "unavailable" | "agent_error" | "timeout"
                )
        }
        _ => false,
    }
}

fn name(error: &Error) -> String {
    match error {
        Error::Unreachable { .. } => "unreachable".to_owned(),
        Error::Broken { .. } => "broken".to_owned(),
        Error::Api(told) => told.code.clone(),
        other => other.to_string(),
    }
}
