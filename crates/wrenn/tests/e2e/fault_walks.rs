//! Every step of every operation over real virtual machines, each struck by a fault: what the agent's own kill matrix does
//! over machines that are none. Operations and steps are the agent's list ([`OPERATIONS`]); one that has no way to be brought
//! about here fails the suite.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use wrenn_agent::{OPERATIONS, Operation};
use wrenn_client::api::{
    CreateSandbox, CreateSnapshot, ForkSandbox, Network, ResumeRequest, Sandbox,
};
use wrenn_testkit::act::{Act, Fate};
use wrenn_testkit::leaks::{Scope, Snapshot};

use crate::harness::{
    MEMORY, Server, TestSandbox, Witness, kill_vmm, request, scope, shell, until, wrenn,
};
use crate::pause_faults::holdings;

/// Every undo runs twice.
const ALWAYS: &str = "undo=twice";
/// How long a step hangs until it is given up, in milliseconds: long enough for every step that does not.
const HANG_MS: u32 = 20_000;
/// The snapshot that sandboxes are made from, and the one that is to be made.
const SNAPSHOT: &str = "kept-snapshot";
const COPY: &str = "copy";
/// How long a sandbox may take to become what it must, a step that hangs included.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

/// Strikes each step of each operation with each of these faults. An operation that fails does not hide what the next ones do.
pub(crate) async fn every_step_of_every_operation(faults: &'static [&'static str]) {
    let mut bed = None;
    let mut failed = Vec::new();
    for operation in OPERATIONS {
        let on = bed.take();
        let walk = async move {
            let mut bed = match on {
                Some(bed) => bed,
                None => Bed::new().await,
            };
            bed.walk(operation, faults).await;
            bed
        };
        match tokio::spawn(walk).await {
            Ok(walked) => bed = Some(walked),
            Err(_) => failed.push(operation.name),
        }
    }
    assert!(failed.is_empty(), "{failed:?} failed: see above");
}

/// A server with a neighbour that has to run on, and perhaps the sandbox to which things are done.
struct Bed {
    server: Server,
    neighbour: TestSandbox,
    /// How long the neighbour ran when it was last asked, in seconds.
    uptime: f64,
    scope: Scope,
    /// With the neighbour alone.
    before: Snapshot,
    subject: Option<Subject>,
    /// For archives.
    dir: TempDir,
}

/// The sandbox to which things are done, and what it has to keep.
struct Subject {
    sandbox: TestSandbox,
    witness: Witness,
}

impl Bed {
    async fn new() -> Self {
        let server = Server::start();
        let neighbour = TestSandbox::create(&server.client()).await;
        let scope = scope(&server);
        Self {
            before: Snapshot::take(&scope),
            uptime: 0.0,
            subject: None,
            dir: TempDir::with_prefix("wrenn-e2e-archive-").unwrap(),
            server,
            neighbour,
            scope,
        }
    }

    async fn walk(&mut self, operation: &Operation, faults: &[&str]) {
        let act = Act::of(operation.name);
        // What stands ready comes and goes in its own time: that is walked over machines that are none.
        if act.needs_images() {
            return;
        }
        for point in operation.points() {
            for fault in faults {
                self.strike(act, &point, fault).await;
            }
        }
        if self.subject.is_some() {
            self.comes_back().await;
            self.clear().await;
        }
    }

    /// One fault at one step, once; and what came of it.
    async fn strike(&mut self, act: Act, point: &str, fault: &str) {
        let begun = std::time::Instant::now();
        let (before, done) = act.path();
        self.prepare(act, before).await;
        let policy = self.policy().await;
        let armed = match fault {
            "hang" => format!("{point}={fault}*1,{ALWAYS},limit={HANG_MS}"),
            _ => format!("{point}={fault}*1,{ALWAYS}"),
        };
        let answer = if act == Act::Recover {
            self.recover(point, &armed).await
        } else {
            self.start(&armed);
            self.act(act).await
        };
        eprintln!("{armed}: {answer:?}");
        if fault == "abort" {
            if act != Act::Recover {
                self.server.dies();
            }
            self.start(ALWAYS);
        } else {
            assert_eq!(answer.is_ok(), act.insists(), "{armed}: {answer:?}");
            self.came_by(act, point, fault).await;
            if act == Act::Network {
                assert_eq!(self.policy().await, policy, "{armed}");
            }
        }
        let fate = if answer.is_ok() || act.insists() {
            done
        } else {
            before
        };
        self.comes_to(fate, &armed).await;
        self.check(act, fate, &armed).await;
        eprintln!("{armed} took {:?}", begun.elapsed());
    }

    /// Starts the server anew with this armed.
    fn start(&mut self, failpoints: &str) {
        if self.server.is_running() {
            self.server.kill();
        }
        self.server.resume_with(failpoints);
        self.meet();
    }

    /// The server has another address.
    fn meet(&mut self) {
        self.neighbour.client = self.server.client();
        if let Some(subject) = &mut self.subject {
            subject.sandbox.client = self.server.client();
        }
    }

    /// Brings the sandbox to where the operation begins.
    async fn prepare(&mut self, act: Act, fate: Fate) {
        if act == Act::Import && !self.archive("good").exists() {
            self.becomes(Fate::Paused).await;
            let exported = self.export("good");
            assert!(exported.status.success(), "{exported:?}");
        }
        if act == Act::Clone && !self.has_template(SNAPSHOT).await {
            self.becomes(Fate::Running).await;
            let request = CreateSnapshot {
                sandbox_id: self.subject.as_ref().unwrap().sandbox.id.clone(),
                name: Some(SNAPSHOT.to_owned()),
            };
            let client = self.server.client();
            client
                .create_snapshot(&request, false, false)
                .await
                .unwrap();
        }
        self.becomes(fate).await;
        if let (Fate::Running, Some(subject)) = (fate, &mut self.subject) {
            subject.witness = subject.witness.renew(&subject.sandbox).await;
        }
    }

    async fn becomes(&mut self, fate: Fate) {
        if fate == Fate::Gone {
            return self.clear().await;
        }
        let subject = match self.subject.take() {
            Some(subject) => subject,
            None => {
                let sandbox = TestSandbox::create(&self.server.client()).await;
                let witness = Witness::leave(&sandbox).await;
                Subject { sandbox, witness }
            }
        };
        let sandbox = &subject.sandbox;
        match (sandbox.now().await.status.as_str(), fate) {
            ("running", Fate::Paused) => drop(sandbox.pause().await),
            ("paused", Fate::Running) => {
                sandbox.resume().await;
                subject.witness.check(sandbox).await;
            }
            _ => {}
        }
        self.subject = Some(subject);
    }

    /// The sandbox goes, and with it all that it had.
    async fn clear(&mut self) {
        if let Some(subject) = self.subject.take() {
            subject.sandbox.delete().await;
        }
        self.before.assert_nothing_new(&self.scope);
    }

    /// That what was left at last has all that it had.
    async fn comes_back(&mut self) {
        let subject = self.subject.as_ref().unwrap();
        if subject.sandbox.now().await.status == "paused" {
            let resumed = subject.sandbox.resume().await;
            assert_eq!(resumed.sandbox.lost_since, None);
        }
        if subject.sandbox.now().await.status == "running" {
            subject.witness.check(&subject.sandbox).await;
        }
    }

    /// Does it, up to its end; a death of the server is one.
    async fn act(&self, act: Act) -> Result<(), String> {
        let client = self.server.client();
        let id = self.subject.as_ref().map_or("", |one| &one.sandbox.id);
        let answer = match act {
            Act::Create => {
                let request = CreateSandbox {
                    memory_mb: Some(MEMORY),
                    ..CreateSandbox::default()
                };
                client.create_sandbox(&request).await.map(drop)
            }
            Act::Pause | Act::Retire => client.pause(id).await.map(drop),
            Act::Resume => {
                let warm = ResumeRequest::default();
                client.resume(id, &warm).await.map(drop)
            }
            Act::Destroy => client.delete_sandbox(id).await.map(drop),
            Act::Network => {
                // The other one than now, so that it is a change each time.
                let now = client.sandbox(id).await.unwrap().network;
                let other = Network {
                    internet: !now.internet,
                    ..now
                };
                let set = client.set_network(id, &other).await;
                set.map(|told| assert_eq!(told.network, other))
            }
            Act::Clone => {
                let request = CreateSandbox {
                    template: Some(SNAPSHOT.to_owned()),
                    ..CreateSandbox::default()
                };
                client.create_sandbox(&request).await.map(drop)
            }
            Act::Snapshot => {
                let request = CreateSnapshot {
                    sandbox_id: id.to_owned(),
                    name: Some(COPY.to_owned()),
                };
                client
                    .create_snapshot(&request, false, false)
                    .await
                    .map(drop)
            }
            Act::Fork => client.fork(id, &ForkSandbox::default()).await.map(drop),
            Act::Take | Act::Settle | Act::Image | Act::Fill | Act::StandBy => return Ok(()),
            Act::Export => return told(&self.export("again")),
            Act::Import => return told(&self.import()),
            Act::Release => {
                kill_vmm(&self.server.data(), id);
                Ok(())
            }
            // See there.
            Act::Recover => Ok(()),
        };
        answer.map_err(|error| error.to_string())
    }

    /// A start that finds what a death left, up to the sandbox's answer. One that dies of it does so at its start.
    async fn recover(&mut self, point: &str, armed: &str) -> Result<(), String> {
        if point.ends_with(".generation") {
            // What is looked for after a pause that nobody ended.
            self.start("pause.disk=abort");
            let pause = self.act(Act::Pause).await;
            assert!(pause.is_err(), "{pause:?}");
            self.server.dies();
        } else {
            self.server.kill();
        }
        if armed.contains("=abort") {
            dies_at_its_start(&self.server, armed).await;
            return Err("it died".into());
        }
        self.start(armed);
        let sandbox = &self.subject.as_ref().unwrap().sandbox;
        until("an answer", SETTLE_LIMIT, || async {
            sandbox.exec(&shell("true")).await.ok()
        })
        .await;
        Ok(())
    }

    async fn has_template(&self, name: &str) -> bool {
        let all = self.server.client().templates().await.unwrap();
        all.iter().any(|template| template.name == name)
    }

    /// Under which policy the sandbox is.
    async fn policy(&self) -> Option<Network> {
        let sandbox = &self.subject.as_ref()?.sandbox;
        Some(sandbox.now().await.network)
    }

    fn archive(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn export(&self, name: &str) -> Output {
        let id = &self.subject.as_ref().unwrap().sandbox.id;
        let mut export = self.server.cli();
        export.args(["snapshot", "export", id, "-o"]);
        export.arg(self.archive(name)).output().unwrap()
    }

    fn import(&self) -> Output {
        let mut import = self.server.cli();
        import.args(["snapshot", "import"]);
        import.arg(self.archive("good")).output().unwrap()
    }

    /// Waits until the agent has counted that this step failed in this way: else nothing was tested.
    async fn came_by(&self, act: Act, point: &str, fault: &str) {
        let (operation, step) = point.split_once('.').unwrap_or(("create", point));
        let result = match fault {
            "error" => "agent_error",
            "panic" => "internal",
            "hang" => "timeout",
            other => panic!("how does {other} end?"),
        };
        let line = format!(
            "wrenn_agent_step_duration_seconds_count{{operation=\"{operation}\",step=\"{step}\",result=\"{result}\"}}"
        );
        let what = format!("{act:?}: {line}");
        until(&what, SETTLE_LIMIT, || async {
            let key = [("X-API-Key", self.server.key())];
            let key = key.each_ref().map(|(name, value)| (*name, value.as_str()));
            let told = request(&self.server, "GET", "/metrics", &key, b"");
            told.body.contains(&line).then_some(())
        })
        .await;
    }

    /// Waits until the sandbox is this.
    async fn comes_to(&mut self, fate: Fate, after: &str) {
        until(&format!("{fate:?} after {after}"), SETTLE_LIMIT, || async {
            (self.fate().await == Some(fate)).then_some(())
        })
        .await;
        if fate == Fate::Gone {
            self.subject = None;
        }
    }

    /// What the sandbox is, unless it is on its way. Without one: whether there is one that nobody knows of.
    async fn fate(&self) -> Option<Fate> {
        let all = self.server.client().sandboxes().await.unwrap();
        let subject = self.subject.as_ref().map(|one| &one.sandbox.id);
        let others = all.iter().filter(|one| one.id != self.neighbour.id);
        let fates: Vec<Option<Fate>> = match subject {
            Some(id) => others.filter(|one| one.id == *id).map(fate_of).collect(),
            // One that could not be made is told as an error.
            None => {
                let fates = others.map(fate_of);
                fates.filter(|fate| *fate != Some(Fate::Error)).collect()
            }
        };
        let there = fates.into_iter().find(|fate| *fate != Some(Fate::Gone));
        there.unwrap_or(Some(Fate::Gone))
    }

    /// That the sandbox is what it was, that nothing is left of what was tried, and that the neighbour ran on.
    async fn check(&mut self, act: Act, fate: Fate, after: &str) {
        let client = self.server.client();
        if let Some(subject) = &self.subject {
            let id = &subject.sandbox.id;
            let (machines, pauses) = holdings(&self.server, id);
            match fate {
                Fate::Running => {
                    assert_eq!(machines, 1, "after {after}");
                    subject.witness.check(&subject.sandbox).await;
                }
                Fate::Paused => assert_eq!((machines, pauses), (0, 1), "after {after}"),
                Fate::Gone | Fate::Error => {}
            }
        }
        if act == Act::Export {
            let again = self.archive("again");
            assert!(!again.exists(), "after {after} there is an archive");
            let left = self.dir.path().read_dir().unwrap().count();
            assert!(left <= 1, "after {after} there are {left} files");
        }
        if act == Act::Snapshot {
            assert!(
                !self.has_template(COPY).await,
                "there is a snapshot after {after}"
            );
        }
        self.assert_nothing_strange(after).await;
        let asked = shell("cut -d' ' -f1 /proc/uptime");
        let told = client.exec(&self.neighbour.id, &asked).await.unwrap();
        let now: f64 = told.stdout.trim().parse().unwrap();
        assert!(now > self.uptime, "the neighbour was disturbed by {after}");
        self.uptime = now;
        if fate == Fate::Error {
            self.clear().await;
        }
    }

    /// That there is nothing but the neighbour's and the sandbox's. What goes in its own time has a while.
    async fn assert_nothing_strange(&self, after: &str) {
        let mut own = Vec::new();
        if let Some(subject) = &self.subject {
            own.push(subject.sandbox.id.clone());
            own.extend(machines(&self.server, &subject.sandbox.id));
        }
        let mut strange = Vec::new();
        for _ in 0..100 {
            strange = self.before.new_since(&self.scope);
            strange.retain(|line| !own.iter().any(|own| line.contains(own)));
            if strange.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("after {after} there are {strange:?}, of none of {own:?}");
    }
}

fn fate_of(sandbox: &Sandbox) -> Option<Fate> {
    match (sandbox.status.as_str(), &sandbox.transition) {
        ("running", None) => Some(Fate::Running),
        ("paused", None) => Some(Fate::Paused),
        ("error", None) => Some(Fate::Error),
        ("stopped", None) => Some(Fate::Gone),
        _ => None,
    }
}

/// The names of a sandbox's virtual machines, by its folder.
fn machines(server: &Server, id: &str) -> Vec<String> {
    let folder = server.data().join("store/sandboxes").join(id);
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("vm-")).collect()
}

/// What the command line says of a call.
fn told(output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Runs `wrenn up` where the server's is not, until it has died of what was armed.
async fn dies_at_its_start(server: &Server, failpoints: &str) {
    let mut up = wrenn(&server.data())
        .args(["up", "--addr", "127.0.0.1:0"])
        .env("WRENN_FAILPOINTS", failpoints)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let what = format!("the death of a server with {failpoints}");
    let ended = until(&what, Duration::from_secs(60), || {
        let ended = up.try_wait().unwrap();
        async move { ended }
    });
    assert!(!ended.await.success(), "{failpoints}");
}
