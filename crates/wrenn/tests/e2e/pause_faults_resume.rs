//! A resume that fails at any of its steps, or whose Wrenn or virtual machine dies in it: the pause is as it was, and the
//! next resume brings the sandbox back. The steps are the executor's own list; Wrenn's death in each of those of a resume that
//! was asked for is one of `faults`, here it is one that a use brings about.

use std::time::Instant;

use wrenn_agent::{RESUME, Step};
use wrenn_client::api::{CreateSandbox, ResumeRequest};
use wrenn_testkit::leaks::{Scope, Snapshot};

use crate::harness::{Server, TestSandbox, Witness, kernel_scope, scope, shell};
use crate::pause_faults::{KILLS, arm, assert_fails_at, holdings, moment, revive, settles};

fn points() -> impl Iterator<Item = (&'static str, String)> {
    let steps = RESUME.stages.iter().copied().flatten().copied();
    steps
        .map(Step::name)
        .map(|step| (step, format!("{}{step}", RESUME.prefix)))
}

/// A paused sandbox with what it has to keep.
struct Paused {
    server: Server,
    sandbox: TestSandbox,
    witness: Witness,
    kernel: Scope,
    /// Of what the kernel has while it is paused.
    no_vm: Snapshot,
}

impl Paused {
    async fn new(auto_resume: bool) -> Self {
        let server = Server::start();
        let kernel = kernel_scope(&server);
        let no_vm = Snapshot::take(&kernel);
        let request = CreateSandbox {
            auto_resume: Some(auto_resume),
            ..Default::default()
        };
        let sandbox = TestSandbox::create_with(&server.client(), request).await;
        let witness = Witness::leave(&sandbox).await;
        sandbox.pause().await;
        Self {
            server,
            sandbox,
            witness,
            kernel,
            no_vm,
        }
    }

    fn arm(&mut self, failpoints: &str) {
        arm(&mut self.server, &mut self.sandbox, failpoints);
    }

    /// After the server's death.
    fn revive(&mut self) {
        self.server.dies();
        revive(&mut self.server, &mut self.sandbox);
    }

    async fn resume(&self) -> wrenn_client::Result<wrenn_client::api::Resumed> {
        let warm = ResumeRequest::default();
        self.sandbox.client.resume(&self.sandbox.id, &warm).await
    }

    /// It is paused, and of whatever was tried nothing is left.
    async fn assert_paused(&self, after: &str) {
        settles(&self.sandbox, &["paused"]).await;
        self.no_vm.assert_nothing_new(&self.kernel);
        let holdings = holdings(&self.server, &self.sandbox.id);
        assert_eq!(holdings, (0, 1), "after {after}");
    }

    /// It comes back as it was, once nothing is armed any more.
    async fn comes_back(&mut self) {
        self.arm("");
        assert_eq!(self.sandbox.resume().await.sandbox.lost_since, None);
        self.witness.check(&self.sandbox).await;
    }

    async fn delete(self) {
        let scope = scope(&self.server);
        let id = self.sandbox.id.clone();
        self.sandbox.delete().await;
        let left = Snapshot::take(&scope);
        let left: Vec<_> = left.lines().filter(|line| line.contains(&id)).collect();
        assert!(left.is_empty(), "{left:?}");
        self.no_vm.assert_nothing_new(&self.kernel);
    }
}

#[tokio::test]
async fn a_failure_at_every_step_leaves_it_paused() {
    let mut paused = Paused::new(false).await;
    for (step, point) in points() {
        paused.arm(&format!("{point}=error"));
        assert_fails_at(step, paused.resume().await);
        paused.assert_paused(&point).await;
    }
    paused.comes_back().await;

    // Only there is a machine to kill.
    paused.sandbox.pause().await;
    paused.arm("resume.guest=killvm");
    assert_fails_at("guest", paused.resume().await);
    paused.assert_paused("a VM's death").await;
    paused.comes_back().await;
    paused.delete().await;
}

#[tokio::test]
async fn a_death_of_wrenn_at_every_step_of_a_wake_leaves_it_paused() {
    let mut paused = Paused::new(true).await;
    for (_, point) in points() {
        paused.arm(&format!("{point}=abort"));
        let broken = paused.sandbox.exec(&shell("true")).await;
        assert!(broken.is_err(), "{point}");
        paused.revive();
        paused.assert_paused(&point).await;
    }
    assert_eq!(paused.sandbox.sh("echo awake").await, "awake\n");
    paused.witness.check(&paused.sandbox).await;
    paused.delete().await;
}

#[tokio::test]
async fn a_kill_of_wrenn_at_any_moment_loses_nothing() {
    let mut paused = Paused::new(false).await;
    let began = Instant::now();
    paused.resume().await.unwrap();
    let whole = began.elapsed();
    let mut outcomes = Vec::new();
    for kill in 0..KILLS {
        paused.witness = paused.witness.renew(&paused.sandbox).await;
        paused.sandbox.pause().await;
        let (client, id) = (paused.sandbox.client.clone(), paused.sandbox.id.clone());
        let resuming =
            tokio::spawn(async move { client.resume(&id, &ResumeRequest::default()).await });
        let within = moment(whole, kill);
        tokio::time::sleep(within).await;
        paused.server.kill();
        drop(resuming.await.unwrap());
        revive(&mut paused.server, &mut paused.sandbox);
        let now = settles(&paused.sandbox, &["running", "paused"]).await;
        eprintln!("killed after {within:?}: {}", now.status);
        if now.status == "paused" {
            paused.assert_paused("a kill").await;
            assert_eq!(paused.sandbox.resume().await.sandbox.lost_since, None);
        }
        paused.witness.check(&paused.sandbox).await;
        outcomes.push(now.status);
    }
    eprintln!("a resume of {whole:?}, cut off: {outcomes:?}");
    paused.delete().await;
}
