//! Forks, against a fake agent on a real socket and a real database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Bench, caller};
use wrenn_control::{NewFork, NewSandbox, Sandbox, TeamLimits, Wait, children};
use wrenn_model::{ErrorKind, Fault, MiB, NetworkPolicy, OnTimeout, SandboxId, Status, Transition};
use wrenn_testkit::agent::Door;

fn of(count: u32) -> NewFork {
    NewFork {
        count,
        ..NewFork::default()
    }
}

fn labels(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("a".to_owned(), value.to_owned())])
}

/// A sandbox with everything that can be said of one.
async fn source(bench: &Bench) -> Sandbox {
    let new = NewSandbox {
        vcpus: Some(2),
        memory: Some(MiB(256)),
        timeout_sec: Some(77),
        on_timeout: OnTimeout::Pause,
        auto_resume: true,
        hostname: Some("box".into()),
        metadata: labels("b"),
        network: NetworkPolicy {
            internet: false,
            ..NetworkPolicy::default()
        },
        ..NewSandbox::default()
    };
    let sandboxes = bench.plane.sandboxes();
    sandboxes.create(new, Wait::Running).await.unwrap().sandbox
}

/// What a child has of its source.
fn spec(row: &Sandbox) -> impl PartialEq + std::fmt::Debug + use<> {
    let row = row.clone();
    (
        (row.owner_id, row.template, row.vcpus, row.memory),
        (row.on_timeout, row.auto_resume, row.hostname, row.network),
    )
}

#[tokio::test]
async fn children_run_as_their_source_does() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let source = source(&bench).await;
    let forked = sandboxes.fork(&source.id, of(3)).await.unwrap();
    assert_eq!(forked.children.len(), 3);
    assert!(forked.frozen_micros > 0 && !forked.steps.is_empty());
    for child in forked.children {
        let child = child.unwrap();
        assert_eq!((child.status, child.transition), (Status::Running, None));
        assert_eq!(child.parent_id.as_ref(), Some(&source.id));
        assert_eq!(spec(&child), spec(&source));
        assert_eq!((child.timeout_sec, &child.metadata), (77, &source.metadata));
        assert!(!child.host_ip.is_empty() && child.started_at_ms.is_some());
        assert_eq!(bench.get(&child.id).await.parent_id, child.parent_id);
        let there = bench.agent.sandbox(child.id.as_str()).unwrap();
        assert_eq!(there.parent_id, source.id.as_str());
    }
    let row = bench.get(&source.id).await;
    assert_eq!((row.status, row.transition), (Status::Running, None));
    assert_eq!(row.parent_id, None);
}

#[tokio::test]
async fn labels_and_timeout_are_a_child_s_own() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let source = source(&bench).await;
    sandboxes.pause(&source.id).await.unwrap();
    let new = NewFork {
        metadata: Some(labels("c")),
        timeout_sec: Some(9),
        ..of(1)
    };
    let mut forked = sandboxes.fork(&source.id, new).await.unwrap();
    let child = forked.children.remove(0).unwrap();
    assert_eq!((child.timeout_sec, &child.metadata), (9, &labels("c")));
    assert_eq!((child.status, child.paused_at_ms), (Status::Running, None));
    assert_eq!(bench.get(&source.id).await.status, Status::Paused);
    assert_eq!(forked.frozen_micros, 0);
    let long = NewFork {
        timeout_sec: Some(u32::MAX),
        ..of(1)
    };
    let told = sandboxes.fork(&source.id, long).await.unwrap_err();
    assert_eq!(told.kind, ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn each_child_fails_by_itself() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let source = source(&bench).await;
    let busy = Fault::new(ErrorKind::HostBusy, "no place", "wait").retry_after(3);
    let broken = Fault::new(ErrorKind::AgentError, "it would not start", "look");
    bench.agent.set(|knobs| {
        knobs.fork_child_fails = BTreeMap::from([(0, busy.clone()), (2, broken.clone())]);
    });
    let planned = SandboxId::random();
    let ids = children(&planned, 3);
    let new = NewFork {
        planned: Some(planned),
        ..of(3)
    };
    let forked = sandboxes.fork(&source.id, new).await.unwrap();
    let came_to: Vec<_> = forked
        .children
        .into_iter()
        .map(|child| child.map(|row| row.id))
        .collect();
    assert_eq!(
        came_to,
        [Err(busy), Ok(ids[1].clone()), Err(broken.clone())]
    );
    // As a creation: of one there is no trace, and of the other its row says what went wrong.
    let absent = sandboxes.get(&ids[0]).await.unwrap_err();
    assert_eq!(absent.kind, ErrorKind::NotFound);
    let failed = bench.get(&ids[2]).await;
    assert_eq!(failed.status, Status::Error);
    assert_eq!(failed.status_reason, broken.message);
    assert_eq!(bench.agent.count(), 2);
}

#[tokio::test]
async fn where_no_child_comes_to_be_the_first_one_s_failure_is_told() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let source = source(&bench).await;
    let first = Fault::new(ErrorKind::HostBusy, "no place", "wait");
    let second = Fault::new(ErrorKind::AgentError, "it would not start", "look");
    bench.agent.set(|knobs| {
        knobs.fork_child_fails = BTreeMap::from([(0, first.clone()), (1, second)]);
    });
    let told = sandboxes.fork(&source.id, of(2)).await;
    assert_eq!(told.unwrap_err(), first);

    // All of them at once, and nothing was begun.
    bench.agent.set(|knobs| {
        knobs.fork_child_fails.clear();
        knobs.fork_fails = Some(first.clone());
    });
    let before = bench.list().await.len();
    let told = sandboxes.fork(&source.id, of(2)).await;
    assert_eq!(told.unwrap_err(), first);
    assert_eq!(bench.list().await.len(), before);
    let row = bench.get(&source.id).await;
    assert_eq!((row.status, row.transition), (Status::Running, None));
}

#[tokio::test]
async fn only_what_runs_or_is_paused_is_forked() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let told = sandboxes.fork(&SandboxId::random(), of(1)).await;
    assert_eq!(told.unwrap_err().kind, ErrorKind::NotFound);
    let source = source(&bench).await;
    sandboxes.delete(&source.id).await.unwrap();
    let told = sandboxes.fork(&source.id, of(1)).await;
    assert_eq!(told.unwrap_err().kind, ErrorKind::InvalidState);
}

#[tokio::test]
async fn a_team_s_limits_are_its_children_s() {
    let bench = Bench::new().await;
    let red = caller("red", "admin");
    let sandboxes = bench.plane.sandboxes_of(&red);
    let created = sandboxes.create(NewSandbox::default(), Wait::Running).await;
    let id = created.unwrap().sandbox.id;
    let teams = bench.plane.teams();
    let limited = TeamLimits {
        sandboxes: Some(3),
        ..TeamLimits::default()
    };
    teams.put(&red.team, &limited).await.unwrap();
    let forked = sandboxes.fork(&id, of(4)).await.unwrap();
    let kinds: Vec<_> = forked
        .children
        .iter()
        .map(|child| child.as_ref().map(|_| ()).map_err(|fault| fault.kind))
        .collect();
    let over = Err(ErrorKind::QuotaExhausted);
    assert_eq!(kinds, [Ok(()), Ok(()), over, over]);
    let told = sandboxes.fork(&id, of(2)).await.unwrap_err();
    assert_eq!(told.kind, ErrorKind::QuotaExhausted);
    let row = sandboxes.get(&id).await.unwrap();
    assert_eq!((row.status, row.transition), (Status::Running, None));

    let full = TeamLimits {
        storage: Some(MiB(1)),
        ..TeamLimits::default()
    };
    teams.put(&red.team, &full).await.unwrap();
    let told = sandboxes.fork(&id, of(1)).await.unwrap_err();
    assert_eq!(told.kind, ErrorKind::QuotaExhausted);
    assert_eq!(bench.agent.count(), 3);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_children() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let source = source(&bench).await;
    bench
        .agent
        .set(|knobs| knobs.fork_takes = Duration::from_secs(60));
    let task = tokio::spawn({
        let (sandboxes, id) = (sandboxes.clone(), source.id.clone());
        async move { sandboxes.fork(&id, of(2)).await }
    });
    let row = bench
        .until(&source.id, |row| row.transition.is_some())
        .await;
    let shown = (row.status, row.transition);
    assert_eq!(shown, (Status::Running, Some(Transition::Forking)));
    while bench.agent.count() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.abort();
    bench
        .until(&source.id, |row| row.transition.is_none())
        .await;
    assert_eq!(bench.agent.count(), 1);
    for row in bench.list().await {
        let gone = row.parent_id.is_some();
        let status = if gone {
            Status::Stopped
        } else {
            Status::Running
        };
        assert_eq!(row.status, status, "{row:?}");
    }
}

#[tokio::test]
async fn a_child_that_is_destroyed_meanwhile_is_gone() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let source = source(&bench).await;
    bench
        .agent
        .set(|knobs| knobs.fork_takes = Duration::from_millis(400));
    let planned = SandboxId::random();
    let ids = children(&planned, 2);
    let task = tokio::spawn({
        let (sandboxes, id) = (sandboxes.clone(), source.id.clone());
        let new = NewFork {
            planned: Some(planned),
            ..of(2)
        };
        async move { sandboxes.fork(&id, new).await }
    });
    while bench.agent.count() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sandboxes.delete(&ids[0]).await.unwrap();
    let forked = task.await.unwrap().unwrap();
    assert!(forked.children[0].is_err() && forked.children[1].is_ok());
    assert_eq!(bench.get(&ids[0]).await.status, Status::Stopped);
    assert!(bench.agent.sandbox(ids[0].as_str()).is_none());
}

/// A server dies before the agent has heard of it, or after it has done it.
#[tokio::test]
async fn rows_that_are_left_are_settled_by_what_the_agent_says() {
    let long = Duration::from_secs(60);
    for (door, status) in [
        (Door::In(long), Status::Stopped),
        (Door::Out(long), Status::Running),
    ] {
        let bench = Bench::new().await;
        let source = source(&bench).await;
        bench.agent.set(|knobs| knobs.door = door);
        let mortal = bench.another().await;
        let id = source.id.clone();
        mortal.call(|plane| async move { plane.sandboxes().fork(&id, of(2)).await });
        while bench.agent.held() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        mortal.kill();
        bench.agent.set(|knobs| knobs.door = Door::Open);
        for _ in 0..4 {
            bench.plane.reconcile().await.unwrap();
            tokio::time::sleep(common::OTHERS_TAKE).await;
        }
        let rows = bench.list().await;
        assert_eq!(rows.len(), 3);
        for row in rows {
            let expected = if row.parent_id.is_some() {
                status
            } else {
                Status::Running
            };
            assert_eq!((row.status, row.transition), (expected, None), "{door:?}");
        }
    }
}

/// Nobody knows what the agent did: its children are unmade, as a creation's sandbox is.
#[tokio::test]
async fn an_answer_that_is_lost_leaves_no_children() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let source = source(&bench).await;
    bench.agent.set(|knobs| knobs.door = Door::Lost);
    let told = sandboxes.fork(&source.id, of(2)).await.unwrap_err();
    assert_eq!(told.kind, ErrorKind::Unavailable);
    bench.agent.set(|knobs| knobs.door = Door::Open);
    for _ in 0..3 {
        bench.plane.reconcile().await.unwrap();
        tokio::time::sleep(common::OTHERS_TAKE).await;
    }
    assert_eq!(bench.agent.count(), 1);
    assert_eq!(bench.get(&source.id).await.transition, None);
}

#[tokio::test]
async fn a_fork_that_is_heard_twice_is_done_once() {
    let bench = Bench::new().await;
    let source = source(&bench).await;
    bench.agent.set(|knobs| knobs.door = Door::Twice);
    let forked = bench.plane.sandboxes().fork(&source.id, of(2)).await;
    assert!(forked.unwrap().children.iter().all(Result::is_ok));
    assert_eq!(bench.agent.count(), 3);
}

/// With a new database: whose child it is, the agent knows.
#[tokio::test]
async fn what_is_adopted_keeps_its_parent() {
    let bench = Bench::new().await;
    let parent = SandboxId::random();
    let id = SandboxId::random();
    let source = source(&bench).await;
    let mut child = bench.agent.sandbox(source.id.as_str()).unwrap();
    child.sandbox_id = id.to_string();
    child.parent_id = parent.to_string();
    bench.agent.put(child);
    bench.plane.reconcile().await.unwrap();
    assert_eq!(bench.get(&id).await.parent_id, Some(parent));
}
