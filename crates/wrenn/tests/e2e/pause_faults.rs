//! A pause that fails at any of its steps, or whose Wrenn or virtual machine dies in it: the sandbox runs on, or is paused
//! with all that it had, or went back to the pause before. The steps are the executor's own list; Wrenn's death in each of them
//! is one of `faults`.

use std::time::{Duration, Instant};

use wrenn_agent::{CaptureStep, PAUSE};
use wrenn_client::api::{ResumeRequest, Sandbox};
use wrenn_client::{Error, Result};
use wrenn_testkit::leaks::Snapshot;

use crate::harness::{
    Server, TestSandbox, Witness, assert_invalid_state, kernel_scope, random, scope, until,
};

/// How long a sandbox may take to be something definite.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// How often Wrenn is killed at some moment of one operation.
pub(crate) const KILLS: u32 = 10;

/// Starts the server anew with faults armed.
pub(crate) fn arm(server: &mut Server, sandbox: &mut TestSandbox, failpoints: &str) {
    server.terminate();
    server.resume_with(failpoints);
    sandbox.client = server.client();
}

/// The same after the server's death.
pub(crate) fn revive(server: &mut Server, sandbox: &mut TestSandbox) {
    server.resume();
    sandbox.client = server.client();
}

/// Waits until nothing is under way and it is one of these.
pub(crate) async fn settles(sandbox: &TestSandbox, statuses: &[&str]) -> Sandbox {
    let what = format!("{statuses:?} of {}", sandbox.id);
    until(&what, SETTLE_LIMIT, || async {
        let now = sandbox.now().await;
        (now.transition.is_none() && statuses.contains(&now.status.as_str())).then_some(now)
    })
    .await
}

/// That the answer names the step at which the fault was.
#[track_caller]
pub(crate) fn assert_fails_at<T: std::fmt::Debug>(step: &str, result: Result<T>) {
    let Error::Api(refused) = result.unwrap_err() else {
        panic!("{step}: no answer");
    };
    assert_eq!(refused.code, "agent_error", "{step}: {refused}");
    let named = refused.message.contains(&format!("step {step}: "));
    assert!(named, "{step} is not named: {refused}");
}

/// How many virtual machines and generations a sandbox's folder has; that nothing in it is half.
pub(crate) fn holdings(server: &Server, id: &str) -> (usize, usize) {
    let folder = server.data().join("store/sandboxes").join(id);
    let names = |folder: &std::path::Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    };
    let (inside, generations) = (names(&folder), names(&folder.join("generations")));
    let half = inside.iter().any(|name| name == "next");
    let whole = generations.iter().all(|name| name.starts_with("g-"));
    assert!(!half && whole, "{id} has {inside:?}, {generations:?}");
    let vms = inside.iter().filter(|name| name.starts_with("vm-"));
    (vms.count(), generations.len())
}

/// A moment for one of [`KILLS`] in something that takes this long, or soon after it: each falls somewhere else.
pub(crate) fn moment(whole: Duration, kill: u32) -> Duration {
    let part = f64::from((random() >> 32) as u32) / f64::from(u32::MAX);
    whole.mul_f64((f64::from(kill) + part) / f64::from(KILLS - 1))
}

fn names() -> impl Iterator<Item = &'static str> {
    PAUSE.steps.iter().copied().map(CaptureStep::name)
}

#[tokio::test]
async fn a_failure_at_every_step_leaves_it_running() {
    let mut server = Server::start();
    let (scope, kernel) = (scope(&server), kernel_scope(&server));
    let nothing = Snapshot::take(&scope);
    let mut sandbox = TestSandbox::create(&server.client()).await;
    let witness = Witness::leave(&sandbox).await;
    let mut last = 0;
    for step in names() {
        arm(&mut server, &mut sandbox, &format!("pause.{step}=error"));
        let running = Snapshot::take(&kernel);
        assert_fails_at(step, sandbox.client.pause(&sandbox.id).await);
        assert_eq!(sandbox.now().await.status, "running", "after {step}");
        last = witness.counts_beyond(&sandbox, last).await;
        running.assert_nothing_new(&kernel);
        assert_eq!(holdings(&server, &sandbox.id), (1, 0), "after {step}");
    }
    arm(&mut server, &mut sandbox, "");
    sandbox.pause().await;
    sandbox.resume().await;
    witness.counts_beyond(&sandbox, last).await;
    sandbox.delete().await;
    nothing.assert_nothing_new(&scope);
}

#[tokio::test]
async fn a_kill_of_wrenn_at_any_moment_loses_nothing() {
    let mut server = Server::start();
    let (scope, kernel) = (scope(&server), kernel_scope(&server));
    let (nothing, no_vm) = (Snapshot::take(&scope), Snapshot::take(&kernel));
    let mut sandbox = TestSandbox::create(&server.client()).await;
    let mut witness = Witness::leave(&sandbox).await;
    let mut whole = Duration::ZERO;
    // The first pause is longer: it reads the base image.
    for _ in 0..2 {
        let began = Instant::now();
        sandbox.pause().await;
        whole = began.elapsed();
        sandbox.resume().await;
    }
    let mut outcomes = Vec::new();
    for kill in 0..KILLS {
        witness = witness.renew(&sandbox).await;
        let (client, id) = (sandbox.client.clone(), sandbox.id.clone());
        let pausing = tokio::spawn(async move { client.pause(&id).await });
        let within = moment(whole, kill);
        tokio::time::sleep(within).await;
        server.kill();
        drop(pausing.await.unwrap());
        revive(&mut server, &mut sandbox);
        let now = settles(&sandbox, &["running", "paused"]).await;
        eprintln!("killed after {within:?}: {}", now.status);
        if now.status == "paused" {
            no_vm.assert_nothing_new(&kernel);
            assert_eq!(holdings(&server, &sandbox.id), (0, 1));
            assert_eq!(sandbox.resume().await.sandbox.lost_since, None);
        }
        witness.check(&sandbox).await;
        assert_eq!(holdings(&server, &sandbox.id), (1, 1));
        outcomes.push(now.status);
    }
    eprintln!("a pause of {whole:?}, cut off: {outcomes:?}");
    sandbox.delete().await;
    nothing.assert_nothing_new(&scope);
}

#[tokio::test]
async fn a_death_of_the_vm_at_every_step_goes_back_to_a_pause() {
    let mut server = Server::start();
    let (scope, kernel) = (scope(&server), kernel_scope(&server));
    let (nothing, no_vm) = (Snapshot::take(&scope), Snapshot::take(&kernel));
    let mut sandbox = TestSandbox::create(&server.client()).await;
    let mut kept = Witness::leave(&sandbox).await;
    let mut paused_at = sandbox.pause().await.sandbox.paused_at;
    sandbox.resume().await;
    for step in names() {
        arm(&mut server, &mut sandbox, &format!("pause.{step}=killvm"));
        let newer = kept.renew(&sandbox).await;
        let answer = sandbox.client.pause(&sandbox.id).await;
        let now = settles(&sandbox, &["paused", "error"]).await;
        eprintln!("the VM killed before {step}: {}", now.status);
        no_vm.assert_nothing_new(&kernel);
        let resumed = match now.status.as_str() {
            "paused" => {
                assert!(answer.is_ok(), "{step}: {answer:?}");
                kept = newer;
                paused_at = now.paused_at;
                sandbox.resume().await.sandbox
            }
            _ => {
                assert!(answer.is_err(), "{step}: {answer:?}");
                assert!(now.status_reason.is_some() && now.paused_at == paused_at);
                let resumed = sandbox.resume().await.sandbox;
                assert_eq!(resumed.lost_since, paused_at, "{step}");
                resumed
            }
        };
        assert_eq!(resumed.status_reason, None, "{step}");
        kept.check(&sandbox).await;
        assert_eq!(holdings(&server, &sandbox.id), (1, 1), "after {step}");
    }
    sandbox.delete().await;
    nothing.assert_nothing_new(&scope);
}

#[tokio::test]
async fn a_death_of_the_vm_in_a_first_pause_leaves_nothing_to_go_back_to() {
    let mut server = Server::start();
    let scope = scope(&server);
    let nothing = Snapshot::take(&scope);
    for step in [
        CaptureStep::Quiesce,
        CaptureStep::Freeze,
        CaptureStep::Memory,
    ] {
        server.terminate();
        server.resume_with(&format!("pause.{}=killvm", step.name()));
        let sandbox = TestSandbox::create(&server.client()).await;
        let answer = sandbox.client.pause(&sandbox.id).await;
        assert!(answer.is_err(), "{step:?}: {answer:?}");
        let lost = settles(&sandbox, &["error"]).await;
        assert_eq!(lost.paused_at, None, "{step:?}");
        let warm = ResumeRequest::default();
        assert_invalid_state(sandbox.client.resume(&sandbox.id, &warm).await);
        sandbox.delete().await;
        nothing.assert_nothing_new(&scope);
    }
}
