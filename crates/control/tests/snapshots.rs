//! Snapshots, against a fake agent on a real socket and a real database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::{Bench, caller};
use wrenn_control::{
    NewSandbox, NewSnapshot, Sandboxes, Snapshotted, Source, TeamLimits, TemplateKind, Wait,
};
use wrenn_model::{ErrorKind, Fault, MiB, SandboxId, Status, Transition};
use wrenn_testkit::agent::Door;

fn named(id: &SandboxId, name: &str) -> NewSnapshot {
    NewSnapshot {
        sandbox: id.clone(),
        name: name.parse().unwrap(),
        overwrite: false,
        source: Source::Keep,
    }
}

/// A running sandbox that `sandboxes` make.
async fn made_by(sandboxes: &Sandboxes) -> SandboxId {
    let new = NewSandbox {
        vcpus: Some(2),
        memory: Some(MiB(1024)),
        ..NewSandbox::default()
    };
    let created = sandboxes.create(new, Wait::Running).await;
    created.unwrap().sandbox.id
}

fn refused(told: Result<Snapshotted, Fault>, kind: ErrorKind) -> Fault {
    let fault = told.unwrap_err();
    assert_eq!(fault.kind, kind, "{fault}");
    fault
}

#[tokio::test]
async fn a_sandbox_goes_on_and_others_begin_where_it_was() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = made_by(&sandboxes).await;
    let made = sandboxes.snapshot(named(&id, "warm")).await.unwrap();
    assert_eq!(made.template.name, "warm");
    assert_eq!(made.template.kind, TemplateKind::Snapshot);
    let shape = (made.template.vcpus, made.template.memory);
    assert_eq!(shape, (Some(2), Some(MiB(1024))));
    assert!(made.frozen_micros > 0 && made.steps[0].step == "freeze");
    let row = bench.get(&id).await;
    assert_eq!((row.status, row.transition), (Status::Running, None));

    // Whatever is asked for.
    let new = NewSandbox {
        template: Some("warm".parse().unwrap()),
        vcpus: Some(1),
        cold: true,
        ..NewSandbox::default()
    };
    let other = sandboxes.create(new, Wait::Running).await.unwrap().sandbox;
    assert_eq!((other.vcpus, other.memory), (2, MiB(1024)));
    assert_eq!((other.template.as_str(), other.parent_id), ("warm", None));
    assert!(bench.agent.was_cold(other.id.as_str()));
    assert!(!bench.agent.was_cold(id.as_str()));
}

#[tokio::test]
async fn a_paused_sandbox_stays_so_and_a_running_one_can_be_paused_before() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = made_by(&sandboxes).await;
    let aside = |name| NewSnapshot {
        source: Source::Pause,
        ..named(&id, name)
    };
    for name in ["one", "two"] {
        let made = sandboxes.snapshot(aside(name)).await.unwrap();
        assert_eq!(made.frozen_micros, 0);
        assert_eq!(bench.get(&id).await.status, Status::Paused);
    }
    // A name that is taken leaves it alone.
    sandboxes.resume(&id, false).await.unwrap();
    refused(
        sandboxes.snapshot(aside("one")).await,
        ErrorKind::AlreadyExists,
    );
    assert_eq!(bench.get(&id).await.status, Status::Running);
}

#[tokio::test]
async fn what_is_under_way_is_told_and_keeps_others_away() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = made_by(&sandboxes).await;
    bench
        .agent
        .set(|knobs| knobs.snapshot_takes = Duration::from_millis(400));
    let task = tokio::spawn({
        let (sandboxes, new) = (sandboxes.clone(), named(&id, "warm"));
        async move { sandboxes.snapshot(new).await }
    });
    let row = bench.until(&id, |row| row.transition.is_some()).await;
    let shown = (row.status, row.transition);
    assert_eq!(shown, (Status::Running, Some(Transition::Snapshotting)));
    let paused = sandboxes.pause(&id).await.unwrap_err();
    assert_eq!(paused.kind, ErrorKind::InvalidState);
    assert!(paused.message.contains("snapshotting"), "{paused}");
    // It runs: a command does not wait.
    sandboxes.ping(&id).await.unwrap();
    task.await.unwrap().unwrap();
    assert_eq!(bench.get(&id).await.transition, None);
}

#[tokio::test]
async fn a_snapshot_that_fails_leaves_all_as_it_was() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = made_by(&sandboxes).await;
    let full = Fault::new(ErrorKind::HostFull, "the disk is full", "free some");
    bench
        .agent
        .set(|knobs| knobs.snapshot_fails = Some(full.clone()));
    let told = sandboxes.snapshot(named(&id, "warm")).await;
    assert_eq!(told.unwrap_err(), full);
    let row = bench.get(&id).await;
    assert_eq!((row.status, row.transition), (Status::Running, None));
    assert!(bench.agent.template("warm").is_none());
}

#[tokio::test]
async fn a_sandbox_that_is_destroyed_meanwhile_leaves_no_snapshot() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = made_by(&sandboxes).await;
    bench
        .agent
        .set(|knobs| knobs.snapshot_takes = Duration::from_millis(300));
    let task = tokio::spawn({
        let (sandboxes, new) = (sandboxes.clone(), named(&id, "warm"));
        async move { sandboxes.snapshot(new).await }
    });
    bench.until(&id, |row| row.transition.is_some()).await;
    sandboxes.delete(&id).await.unwrap();
    refused(task.await.unwrap(), ErrorKind::Conflict);
    assert_eq!(bench.get(&id).await.status, Status::Stopped);
    assert!(bench.agent.template("warm").is_none());
}

#[tokio::test]
async fn only_what_runs_or_is_paused_has_a_snapshot_made() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let nobody = SandboxId::random();
    let told = sandboxes.snapshot(named(&nobody, "warm")).await;
    refused(told, ErrorKind::NotFound);
    let id = made_by(&sandboxes).await;
    sandboxes.delete(&id).await.unwrap();
    let told = sandboxes.snapshot(named(&id, "warm")).await;
    refused(told, ErrorKind::InvalidState);
}

#[tokio::test]
async fn a_name_is_written_over_by_its_own_team_alone() {
    let bench = Bench::new().await;
    let red = bench.plane.sandboxes_of(&caller("red", "admin"));
    let blue = bench.plane.sandboxes_of(&caller("blue", "admin"));
    let (of_red, of_blue) = (made_by(&red).await, made_by(&blue).await);
    let over = |id: &SandboxId, name| NewSnapshot {
        overwrite: true,
        ..named(id, name)
    };
    red.snapshot(named(&of_red, "warm")).await.unwrap();
    assert_eq!(bench.agent.template("warm").unwrap().owner_id, "red");
    let told = red.snapshot(named(&of_red, "warm")).await;
    let fault = refused(told, ErrorKind::AlreadyExists);
    assert!(fault.remedy.contains("overwrite=true"), "{fault:?}");
    red.snapshot(over(&of_red, "warm")).await.unwrap();
    for (sandboxes, id, name) in [(&blue, &of_blue, "warm"), (&red, &of_red, "minimal")] {
        for new in [named(id, name), over(id, name)] {
            refused(sandboxes.snapshot(new).await, ErrorKind::AlreadyExists);
        }
    }
    // Nor is another team's sandbox there, and whoever runs the installation makes it its team's.
    let told = blue.snapshot(named(&of_red, "stolen")).await;
    refused(told, ErrorKind::NotFound);
    let operator = bench.plane.sandboxes();
    operator.snapshot(over(&of_red, "warm")).await.unwrap();
    assert_eq!(bench.agent.template("warm").unwrap().owner_id, "red");
}

#[tokio::test]
async fn another_team_s_snapshot_is_not_there() {
    let bench = Bench::new().await;
    let (red, blue) = (caller("red", "admin"), caller("blue", "admin"));
    let (sandboxes, theirs) = (
        bench.plane.sandboxes_of(&red),
        bench.plane.sandboxes_of(&blue),
    );
    let id = made_by(&sandboxes).await;
    sandboxes.snapshot(named(&id, "warm")).await.unwrap();
    let names = async |caller| {
        let listed = bench.plane.templates_of(caller).list().await.unwrap();
        let names = listed.into_iter().map(|template| template.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&red).await, ["minimal", "python", "warm"]);
    assert_eq!(names(&blue).await, ["minimal", "python"]);
    let operator = caller("default", "admin");
    assert_eq!(names(&operator).await, ["minimal", "python", "warm"]);

    let from = || NewSandbox {
        template: Some("warm".parse().unwrap()),
        ..NewSandbox::default()
    };
    let told = theirs.create(from(), Wait::Running).await.unwrap_err();
    let nowhere = NewSandbox {
        template: Some("nowhere".parse().unwrap()),
        ..NewSandbox::default()
    };
    let absent = theirs.create(nowhere, Wait::Running).await.unwrap_err();
    assert_eq!(told.kind, ErrorKind::NotFound);
    assert_eq!(told.message.replace("warm", "nowhere"), absent.message);
    sandboxes.create(from(), Wait::Running).await.unwrap();

    let warm = "warm".parse().unwrap();
    let told = bench.plane.templates_of(&blue).delete(&warm).await;
    assert_eq!(told.unwrap_err().kind, ErrorKind::NotFound);
    let minimal = "minimal".parse().unwrap();
    let told = bench.plane.templates_of(&red).delete(&minimal).await;
    assert_eq!(told.unwrap_err().kind, ErrorKind::Forbidden);
    bench.plane.templates_of(&red).delete(&warm).await.unwrap();
    assert!(bench.agent.template("warm").is_none());
    bench
        .plane
        .templates_of(&operator)
        .delete(&minimal)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_team_s_disk_is_its_limit() {
    let bench = Bench::new().await;
    let red = caller("red", "admin");
    let sandboxes = bench.plane.sandboxes_of(&red);
    let id = made_by(&sandboxes).await;
    let limits = TeamLimits {
        storage: Some(MiB(101)),
        ..TeamLimits::default()
    };
    let teams = bench.plane.teams();
    teams.put(&red.team, &limits).await.unwrap();
    sandboxes.snapshot(named(&id, "one")).await.unwrap();
    let told = sandboxes.snapshot(named(&id, "two")).await;
    let fault = refused(told, ErrorKind::QuotaExhausted);
    assert!(fault.remedy.contains("delete snapshots"), "{fault:?}");
    // It is the sandbox's team's, whoever asks.
    let told = bench.plane.sandboxes().snapshot(named(&id, "two")).await;
    refused(told, ErrorKind::QuotaExhausted);
}

/// A server dies before the agent has heard of it, or after it has done it; and an answer is lost.
#[tokio::test]
async fn a_row_that_is_left_is_settled_by_what_the_agent_says() {
    let long = Duration::from_secs(60);
    for (door, there) in [(Door::In(long), false), (Door::Out(long), true)] {
        let bench = Bench::new().await;
        let id = made_by(&bench.plane.sandboxes()).await;
        bench.agent.set(|knobs| knobs.door = door);
        let mortal = bench.another().await;
        let new = named(&id, "warm");
        mortal.call(|plane| async move { plane.sandboxes().snapshot(new).await });
        while bench.agent.held() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        mortal.kill();
        bench.agent.set(|knobs| knobs.door = Door::Open);
        tokio::time::sleep(common::OTHERS_TAKE * 2).await;
        for _ in 0..3 {
            bench.plane.reconcile().await.unwrap();
            tokio::time::sleep(common::OTHERS_TAKE).await;
        }
        let row = bench.get(&id).await;
        assert_eq!((row.status, row.transition), (Status::Running, None));
        assert_eq!(bench.agent.template("warm").is_some(), there, "{door:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_is_no_failure_of_the_sandbox() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = made_by(&sandboxes).await;
    bench.agent.set(|knobs| knobs.door = Door::Lost);
    let told = sandboxes.snapshot(named(&id, "warm")).await;
    refused(told, ErrorKind::Unavailable);
    bench.agent.set(|knobs| knobs.door = Door::Open);
    // Who asks again while its row still says so joins it, and is told that the name is taken by now.
    let told = sandboxes.snapshot(named(&id, "warm")).await;
    refused(told, ErrorKind::AlreadyExists);
    bench.plane.reconcile().await.unwrap();
    tokio::time::sleep(common::OTHERS_TAKE * 2).await;
    bench.plane.reconcile().await.unwrap();
    assert_eq!(bench.get(&id).await.transition, None);
}
