//! Several servers on one PostgreSQL over one agent: each serves all sandboxes, none has to know of the others, and what one
//! of them leaves half made by its death the others settle.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::{Bench, Mortal, OTHERS_TAKE, command};
use wrenn_control::{CommandEvent, Filter, Input, NewSandbox, Sandbox, Wait};
use wrenn_model::{ErrorKind, Fault, SandboxId, Status};
use wrenn_testkit::postgres::Cluster;

async fn bench() -> Bench {
    Bench::on_postgresql(Cluster::shared()).await
}

async fn create(server: &Mortal) -> Result<Sandbox, Fault> {
    let created = server.call(|plane| async move {
        let created = plane
            .sandboxes()
            .create(NewSandbox::default(), Wait::Running)
            .await;
        created.map(|created| created.sandbox)
    });
    created.await.unwrap()
}

async fn reconcile(server: &Mortal) {
    let reconciled = server.call(|plane| async move { plane.reconcile().await });
    reconciled.await.unwrap().unwrap();
}

#[tokio::test]
async fn each_server_serves_what_another_made_also_after_its_death() {
    let bench = bench().await;
    let other = bench.another().await;
    let made = create(&other).await.unwrap();
    let mine = bench.create().await;
    assert_eq!(bench.get(&made.id).await, made);
    bench.plane.sandboxes().ping(&made.id).await.unwrap();
    bench.plane.sandboxes().pause(&made.id).await.unwrap();
    let id = made.id.clone();
    let resumed = other.call(|plane| async move { plane.sandboxes().resume(&id, false).await });
    assert_eq!(
        resumed.await.unwrap().unwrap().sandbox.status,
        Status::Running
    );
    other.kill();

    let sandboxes = bench.plane.sandboxes();
    let listed = sandboxes.list(&Filter::default()).await.unwrap();
    assert_eq!(listed.len(), 2);
    for id in [&made.id, &mine.id] {
        assert_eq!(bench.get(id).await.status, Status::Running);
        sandboxes.delete(id).await.unwrap();
    }
    assert_eq!(bench.agent.count(), 0);
}

/// While one makes, pauses, resumes and ends sandboxes, the other looks after all of them without a pause.
#[tokio::test]
async fn servers_that_reconcile_at_once_do_not_fight() {
    let bench = bench().await;
    bench.agent.set(|knobs| {
        knobs.create_takes = Duration::from_millis(20);
        knobs.pause_takes = Duration::from_millis(10);
        knobs.resume_takes = Duration::from_millis(10);
    });
    let other = bench.another().await;
    let plane = bench.plane.clone();
    let sweeping = tokio::spawn(async move {
        loop {
            plane.reconcile().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let lives: Vec<_> = (0..12)
        .map(|_| {
            other.call(|plane| async move {
                let sandboxes = plane.sandboxes();
                let made = sandboxes
                    .create(NewSandbox::default(), Wait::Running)
                    .await?;
                let id = made.sandbox.id;
                assert_eq!(made.sandbox.status, Status::Running);
                for _ in 0..3 {
                    let paused = sandboxes.pause(&id).await?.sandbox;
                    assert_eq!((paused.status, paused.transition), (Status::Paused, None));
                    let resumed = sandboxes.resume(&id, false).await?.sandbox;
                    assert_eq!(
                        (resumed.status, resumed.transition),
                        (Status::Running, None)
                    );
                }
                sandboxes.delete(&id).await?;
                Ok::<SandboxId, Fault>(id)
            })
        })
        .collect();
    for life in lives {
        let id = life.await.unwrap().unwrap();
        assert_eq!(bench.get(&id).await.status_reason, "destroyed on request");
    }
    assert!(!sweeping.is_finished());
    sweeping.abort();
    assert_eq!(bench.agent.count(), 0);
}

#[tokio::test]
async fn a_creation_that_its_server_survived_not_is_settled_by_another() {
    let bench = bench().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_millis(200));
    let other = bench.another().await;
    // One that goes on at the agent, and one that ends with its creator.
    let accepted = other.call(|plane| async move {
        let sandboxes = plane.sandboxes();
        let created = sandboxes
            .create(NewSandbox::default(), Wait::Accepted)
            .await;
        created.unwrap().sandbox.id
    });
    let accepted = accepted.await.unwrap();
    drop(other.call(|plane| async move {
        let sandboxes = plane.sandboxes();
        sandboxes.create(NewSandbox::default(), Wait::Running).await
    }));
    while bench.agent.count() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.plane.reconcile().await.unwrap();
    assert_eq!(bench.get(&accepted).await.status, Status::Running);
    tokio::time::sleep(OTHERS_TAKE).await;
    bench.plane.reconcile().await.unwrap();
    let rows = bench.list().await;
    let interrupted = rows.iter().find(|row| row.id != accepted).unwrap();
    assert_eq!(interrupted.status, Status::Stopped);
    assert_eq!(interrupted.status_reason, "its creation was interrupted");
    assert_eq!(bench.agent.count(), 1);
}

#[tokio::test]
async fn a_pause_and_a_destruction_that_their_server_survived_not_are_settled_by_another() {
    let bench = bench().await;
    let (paused, gone) = (bench.create().await.id, bench.create().await.id);
    bench.agent.set(|knobs| {
        knobs.pause_takes = Duration::from_millis(200);
        knobs.destroy_takes = Duration::from_secs(60);
    });
    let other = bench.another().await;
    let ids = (paused.clone(), gone.clone());
    drop(other.call(|plane| async move {
        let sandboxes = plane.sandboxes();
        tokio::join!(sandboxes.pause(&ids.0), sandboxes.delete(&ids.1))
    }));
    while bench.agent.count() > 1
        || bench
            .agent
            .sandbox(paused.as_str())
            .unwrap()
            .transition
            .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.kill();
    bench
        .agent
        .set(|knobs| knobs.destroy_takes = Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.plane.reconcile().await.unwrap();
    assert_eq!(bench.get(&gone).await.status, Status::Stopped);
    // The caller's end may have cut the pause short at the agent: then it runs, and says so when nobody may be at work on it.
    tokio::time::sleep(OTHERS_TAKE).await;
    bench.plane.reconcile().await.unwrap();
    let row = bench.get(&paused).await;
    let seen = bench.agent.sandbox(paused.as_str()).unwrap();
    assert_eq!(
        (row.status.as_str(), row.transition),
        (seen.status.as_str(), None)
    );
}

/// What two of them adopt at once is one row.
#[tokio::test]
async fn a_sandbox_is_adopted_once() {
    let former = bench().await;
    let made = former.create().await;
    let cluster = Cluster::shared();
    let mut bench = Bench::on_postgresql(cluster).await;
    bench.agent = former.agent;
    let socket = bench.socket();
    bench.agent.restart(&socket).unwrap();
    let other = bench.another().await;
    tokio::join!(reconcile(&other), async {
        bench.plane.reconcile().await.unwrap();
    });
    let rows = bench.list().await;
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0].id, rows[0].status), (&made.id, Status::Running));
}

/// What runs, and who listens to it, does not notice; what was accepted comes to be.
#[tokio::test]
async fn while_the_database_is_away_what_has_begun_goes_on() {
    let cluster = Cluster::start();
    let bench = Bench::on_postgresql(&cluster).await;
    let made = bench.create().await;
    let sandboxes = bench.plane.sandboxes();
    let input = Input {
        stdin: true,
        ..Input::default()
    };
    let cat = sandboxes.exec_stream(&made.id, command("cat", &[]), input);
    let mut stream = cat.await.unwrap();
    let Some(CommandEvent::Start { pid }) = stream.next().await.unwrap() else {
        panic!("no start")
    };
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_millis(200));
    let accepted = sandboxes
        .create(NewSandbox::default(), Wait::Accepted)
        .await;
    let accepted = accepted.unwrap().sandbox.id;
    cluster.stop();
    stream.input(pid).send(b"on".to_vec()).await.unwrap();
    let said = stream.next().await.unwrap();
    assert_eq!(said, Some(CommandEvent::Stdout("on".into())));
    let fault = bench.plane.reconcile().await.unwrap_err();
    assert_eq!(fault.kind, ErrorKind::Unavailable);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(bench.agent.count(), 2);
    cluster.restart();
    bench.plane.reconcile().await.unwrap();
    for id in [&made.id, &accepted] {
        assert_eq!(bench.get(id).await.status, Status::Running);
    }
}
