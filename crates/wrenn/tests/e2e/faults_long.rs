//! Every fault at every step of every operation, over real virtual machines: what the kill matrix of the agent does in a
//! minute over machines that are none takes half an hour here. The lists are the agent's own.

use std::process::Stdio;
use std::time::Duration;

use wrenn_agent::{OPERATIONS, Operation};
use wrenn_client::Result;
use wrenn_client::api::CreateSandbox;
use wrenn_testkit::leaks::Snapshot;

use crate::harness::{
    MEMORY, Server, TestSandbox, Witness, kernel_scope, kill_vmm, scope, shell, until, wrenn,
};
use crate::pause_faults::{arm, revive, settles};

const FAULTS: &[&str] = &["error", "panic", "hang", "abort"];
/// Every undo runs twice, and a step that hangs does so for as long as a real one may take here.
const ALWAYS: &str = "undo=twice,limit=45000";
/// How long a start may take until a sandbox answers whose machine it could not reach at first.
const REACH_LIMIT: Duration = Duration::from_secs(120);

fn operation(name: &str) -> &'static Operation {
    let found = OPERATIONS.iter().find(|operation| operation.name == name);
    found.unwrap_or_else(|| panic!("there is no operation {name}"))
}

/// A server with a neighbour that has to run on, and nothing else.
struct Bed {
    server: Server,
    neighbour: TestSandbox,
    last: f64,
    before: Snapshot,
}

impl Bed {
    async fn new() -> Self {
        let server = Server::start();
        let neighbour = TestSandbox::create(&server.client()).await;
        let before = Snapshot::take(&scope(&server));
        Self {
            server,
            neighbour,
            last: 0.0,
            before,
        }
    }

    /// Starts the server anew with this fault armed, once.
    fn arm(&mut self, sandbox: &mut TestSandbox, point: &str, fault: &str) {
        let armed = format!("{point}={fault}*1,{ALWAYS}");
        arm(&mut self.server, sandbox, &armed);
    }

    /// After a fault that may have been the server's death.
    fn revive(&mut self, sandbox: &mut TestSandbox, fault: &str) {
        if fault == "abort" {
            self.server.dies();
            revive(&mut self.server, sandbox);
        }
    }

    /// That nothing is left of anything but the neighbour, which runs on.
    async fn check(&mut self, point: &str) {
        self.before.assert_nothing_new(&scope(&self.server));
        let asked = shell("cut -d' ' -f1 /proc/uptime");
        let client = self.server.client();
        let told = client.exec(&self.neighbour.id, &asked).await.unwrap();
        let now: f64 = told.stdout.trim().parse().unwrap();
        assert!(now > self.last, "the neighbour was disturbed at {point}");
        self.last = now;
    }
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_creation_is_undone_whatever_strikes() {
    let mut bed = Bed::new().await;
    for point in operation("create").points() {
        for fault in FAULTS {
            bed.server.terminate();
            let armed = format!("{point}={fault}*1,{ALWAYS}");
            bed.server.resume_with(&armed);
            let request = CreateSandbox {
                memory_mb: Some(MEMORY),
                ..CreateSandbox::default()
            };
            let refused = bed.server.client().create_sandbox(&request).await;
            assert!(refused.is_err(), "{armed}: {refused:?}");
            if *fault == "abort" {
                bed.server.dies();
                bed.server.resume();
            }
            bed.check(&armed).await;
        }
    }
}

/// Strikes every step of what `act` does to a sandbox that runs, or is paused. Afterwards it is one of these, and what it
/// was; or gone, where none is named.
async fn walk<F: Future<Output = Result<()>>>(
    name: &str,
    paused: bool,
    act: impl Fn(TestSandbox) -> F,
    fates: &[&str],
) {
    let mut bed = Bed::new().await;
    for point in operation(name).points() {
        for fault in FAULTS {
            let mut sandbox = TestSandbox::create(&bed.server.client()).await;
            let witness = Witness::leave(&sandbox).await;
            if paused {
                sandbox.pause().await;
            }
            bed.arm(&mut sandbox, &point, fault);
            let same = TestSandbox::of(&sandbox.client, sandbox.now().await);
            let answer = act(same).await;
            eprintln!("{point}={fault}: {:?}", answer.is_ok());
            bed.revive(&mut sandbox, fault);
            if !fates.is_empty() {
                if settles(&sandbox, fates).await.status == "paused" {
                    sandbox.resume().await;
                }
                witness.check(&sandbox).await;
                sandbox.delete().await;
            }
            bed.check(&point).await;
        }
    }
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_pause_loses_nothing_whatever_strikes() {
    let pause =
        |sandbox: TestSandbox| async move { sandbox.client.pause(&sandbox.id).await.map(drop) };
    walk("pause", false, pause, &["running", "paused"]).await;
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_machine_is_given_back_whatever_strikes() {
    let pause =
        |sandbox: TestSandbox| async move { sandbox.client.pause(&sandbox.id).await.map(drop) };
    walk("retire", false, pause, &["paused"]).await;
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_resume_loses_nothing_whatever_strikes() {
    let resume = |sandbox: TestSandbox| async move {
        let how = wrenn_client::api::ResumeRequest::default();
        sandbox.client.resume(&sandbox.id, &how).await.map(drop)
    };
    walk("resume", true, resume, &["running", "paused"]).await;
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_destruction_is_finished_whatever_strikes() {
    let destroy = |sandbox: TestSandbox| async move {
        let destroyed = sandbox.client.delete_sandbox(&sandbox.id).await;
        destroyed.map(drop)
    };
    walk("destroy", false, destroy, &[]).await;
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn what_a_dead_machine_had_goes_whatever_strikes() {
    let mut bed = Bed::new().await;
    for point in operation("release").points() {
        for fault in FAULTS {
            let mut sandbox = TestSandbox::create(&bed.server.client()).await;
            bed.arm(&mut sandbox, &point, fault);
            kill_vmm(&bed.server.data(), &sandbox.id);
            bed.revive(&mut sandbox, fault);
            settles(&sandbox, &["error"]).await;
            sandbox.delete().await;
            bed.check(&point).await;
        }
    }
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_start_finds_what_ran_whatever_strikes() {
    let mut bed = Bed::new().await;
    let kernel = kernel_scope(&bed.server);
    let mut sandbox = TestSandbox::create(&bed.server.client()).await;
    let witness = Witness::leave(&sandbox).await;
    let runs = Snapshot::take(&kernel);
    for point in operation("recover").points() {
        // Only after a pause that nobody ended is there something to look for.
        let interrupted = point.ends_with(".generation");
        for fault in FAULTS {
            if interrupted {
                arm(&mut bed.server, &mut sandbox, "pause.disk=abort");
                let broken = sandbox.client.pause(&sandbox.id).await;
                assert!(broken.is_err(), "{point}");
                bed.server.dies();
            } else {
                bed.server.kill();
            }
            let armed = format!("{point}={fault}*1,{ALWAYS}");
            if *fault == "abort" {
                dies_at_its_start(&bed.server, &armed).await;
                revive(&mut bed.server, &mut sandbox);
            } else {
                bed.server.resume_with(&armed);
                sandbox.client = bed.server.client();
            }
            settles(&sandbox, &["running"]).await;
            until("an answer", REACH_LIMIT, || async {
                sandbox.exec(&shell("true")).await.ok()
            })
            .await;
            witness.check(&sandbox).await;
            runs.assert_nothing_new(&kernel);
        }
    }
    sandbox.delete().await;
    bed.check("recovery").await;
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
