//! The control plane against a fake agent on a real socket and a real database.

mod common;

use std::time::Duration;

use common::{Bench, OTHERS_TAKE, caller, command, database, open};
use wrenn_control::{AgentState, CommandEvent, Deleted, Filter, Input, NewSandbox, Wait};
use wrenn_model::{ErrorKind, Fault, MiB, SandboxId, Status, Transition};

#[tokio::test]
async fn a_life() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let made = bench.create().await;
    assert_eq!(
        (made.status, made.transition, made.version),
        (Status::Running, None, 2)
    );
    assert_eq!(
        (made.vcpus, made.memory, made.timeout_sec),
        (1, MiB(512), 300)
    );
    assert_eq!(made.isolation, "emulated");
    assert!(made.started_at_ms.is_some() && !made.host_ip.is_empty());

    sandboxes.ping(&made.id).await.unwrap();
    let outcome = sandboxes
        .exec(&made.id, command("echo", &["a", "b"]), None)
        .await
        .unwrap();
    assert_eq!(
        (outcome.stdout.as_slice(), outcome.exit_code),
        (&b"a b\n"[..], 0)
    );
    assert!(sandboxes.console(&made.id).await.unwrap().starts_with(b"["));

    assert_eq!(sandboxes.delete(&made.id).await.unwrap(), Deleted::Gone);
    assert_eq!(bench.agent.count(), 0);
    let gone = bench.get(&made.id).await;
    assert_eq!(
        (gone.status, gone.status_reason.as_str()),
        (Status::Stopped, "destroyed on request")
    );
    assert_eq!(sandboxes.delete(&made.id).await.unwrap(), Deleted::Gone);
    assert_eq!(
        sandboxes.ping(&made.id).await.unwrap_err().kind,
        ErrorKind::InvalidState
    );
    assert_eq!(
        sandboxes
            .delete(&SandboxId::random())
            .await
            .unwrap_err()
            .kind,
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn what_the_host_does_not_allow_leaves_no_trace() {
    let bench = Bench::new().await;
    for (new, kind) in [
        (
            NewSandbox {
                template: Some("absent".parse().unwrap()),
                ..Default::default()
            },
            ErrorKind::NotFound,
        ),
        (
            NewSandbox {
                vcpus: Some(5),
                ..Default::default()
            },
            ErrorKind::InvalidRequest,
        ),
        (
            NewSandbox {
                memory: Some(MiB(9000)),
                ..Default::default()
            },
            ErrorKind::InvalidRequest,
        ),
        (
            NewSandbox {
                memory: Some(MiB(1)),
                ..Default::default()
            },
            ErrorKind::InvalidRequest,
        ),
        (
            NewSandbox {
                timeout_sec: Some(u32::MAX),
                ..Default::default()
            },
            ErrorKind::InvalidRequest,
        ),
    ] {
        let fault = bench
            .plane
            .sandboxes()
            .create(new, Wait::Running)
            .await
            .unwrap_err();
        assert_eq!(fault.kind, kind, "{fault}");
    }
    bench.agent.set(|knobs| knobs.recovering = true);
    let fault = bench
        .plane
        .sandboxes()
        .create(NewSandbox::default(), Wait::Running)
        .await
        .unwrap_err();
    assert_eq!(fault.kind, ErrorKind::Unavailable);
    bench.agent.stop();
    let fault = bench
        .plane
        .sandboxes()
        .create(NewSandbox::default(), Wait::Accepted)
        .await
        .unwrap_err();
    assert_eq!(fault.kind, ErrorKind::Unavailable);
    assert_eq!(bench.list().await, []);
}

#[tokio::test]
async fn a_failed_create_is_an_error_that_says_why() {
    let bench = Bench::new().await;
    let full = Fault::new(ErrorKind::HostFull, "no memory left", "destroy some");
    bench
        .agent
        .set(|knobs| knobs.create_fails = Some(full.clone()));
    let told = bench
        .plane
        .sandboxes()
        .create(NewSandbox::default(), Wait::Running)
        .await
        .unwrap_err();
    assert_eq!((told.kind, told.message), (full.kind, full.message));
    let rows = bench.list().await;
    assert_eq!((rows[0].status, rows[0].transition), (Status::Error, None));
    assert_eq!(rows[0].status_reason, "no memory left");
    assert_eq!(
        bench.plane.sandboxes().delete(&rows[0].id).await.unwrap(),
        Deleted::Gone
    );
}

/// A crowd that is sent away again and again would fill the list with sandboxes that never were.
#[tokio::test]
async fn a_busy_host_leaves_a_row_only_for_who_did_not_wait() {
    let bench = Bench::new().await;
    let busy = Fault::new(ErrorKind::HostBusy, "too many", "come back").retry_after(9);
    bench
        .agent
        .set(|knobs| knobs.create_fails = Some(busy.clone()));
    let sandboxes = bench.plane.sandboxes();
    let told = sandboxes
        .create(NewSandbox::default(), Wait::Running)
        .await
        .unwrap_err();
    assert_eq!(told, busy);
    assert_eq!(sandboxes.list(&Filter::default()).await.unwrap(), []);
    let row = sandboxes
        .create(NewSandbox::default(), Wait::Accepted)
        .await
        .unwrap()
        .sandbox;
    let begun = std::time::Instant::now();
    while bench.get(&row.id).await.status == Status::Pending {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failed = bench.get(&row.id).await;
    assert_eq!(
        (failed.status, failed.status_reason.as_str()),
        (Status::Error, "too many")
    );
}

#[tokio::test]
async fn a_creator_that_goes_away_leaves_nothing() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_secs(60));
    let sandboxes = bench.plane.sandboxes();
    let create = sandboxes.create(NewSandbox::default(), Wait::Running);
    tokio::time::timeout(Duration::from_millis(300), create)
        .await
        .unwrap_err();
    let row = bench.list().await.remove(0);
    let gone = bench
        .until(&row.id, |row| row.status == Status::Stopped)
        .await;
    assert_eq!(gone.status_reason, "its creator went away");
    assert_eq!(bench.agent.count(), 0);
}

#[tokio::test]
async fn a_creator_that_does_not_wait_finds_it_running() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_millis(200));
    let row = bench
        .plane
        .sandboxes()
        .create(NewSandbox::default(), Wait::Accepted)
        .await
        .unwrap()
        .sandbox;
    assert_eq!(
        (row.status, row.transition),
        (Status::Pending, Some(Transition::Starting))
    );
    // While it is being made, the reconciler leaves it alone.
    bench.plane.reconcile().await.unwrap();
    bench
        .until(&row.id, |row| row.status == Status::Running)
        .await;
}

#[tokio::test]
async fn a_delete_overtakes_a_create() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_millis(300));
    let row = bench
        .plane
        .sandboxes()
        .create(NewSandbox::default(), Wait::Accepted)
        .await
        .unwrap()
        .sandbox;
    assert_eq!(
        bench.plane.sandboxes().delete(&row.id).await.unwrap(),
        Deleted::Gone
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.agent.count(), 0);
    assert_eq!(bench.get(&row.id).await.status, Status::Stopped);
}

#[tokio::test]
async fn a_delete_without_the_host_is_finished_later() {
    let mut bench = Bench::new().await;
    let made = bench.create().await;
    bench.agent.stop();
    assert_eq!(
        bench.plane.sandboxes().delete(&made.id).await.unwrap(),
        Deleted::Accepted
    );
    let row = bench.get(&made.id).await;
    assert_eq!(
        (row.status, row.transition),
        (Status::Running, Some(Transition::Stopping))
    );
    assert!(bench.plane.reconcile().await.is_err());
    let socket = bench.socket();
    bench.agent.restart(&socket).unwrap();
    // The wish outlives the server too.
    bench.reopen().await;
    bench
        .until(&made.id, |row| row.status == Status::Stopped)
        .await;
    assert_eq!(bench.agent.count(), 0);
}

#[tokio::test]
async fn what_the_agent_tells_of_is_looked_at_at_once() {
    let mut bench = Bench::new().await;
    bench.agent.set(|knobs| knobs.tells = true);
    bench.reopen().await;
    let (lost, kept) = (bench.create().await, bench.create().await);
    bench.agent.lose(lost.id.as_str());
    bench.stands(&lost.id, Status::Stopped).await;
    assert_eq!(bench.get(&kept.id).await.status, Status::Running);

    // What happens while somebody is at work on it is looked at afterwards.
    bench
        .agent
        .set(|knobs| knobs.pause_takes = Duration::from_millis(600));
    let (sandboxes, id) = (bench.plane.sandboxes(), kept.id.clone());
    let pausing = tokio::spawn(async move { sandboxes.pause(&id).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.agent.lose(kept.id.as_str());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!pausing.is_finished());
    let busy = bench.list().await.into_iter().find(|row| row.id == kept.id);
    assert_eq!(busy.unwrap().status, Status::Running);
    drop(pausing.await.unwrap());
    bench.stands(&kept.id, Status::Stopped).await;

    // What nobody here has heard of is adopted.
    let other = bench.create().await;
    let mut unheard = bench.agent.sandbox(other.id.as_str()).unwrap();
    let id = SandboxId::random();
    unheard.sandbox_id = id.to_string();
    bench.agent.put(unheard);
    bench.stands(&id, Status::Running).await;

    // Whoever was not listening looks at everything.
    let missed = bench.create().await;
    bench.agent.stop();
    bench.agent.lose(missed.id.as_str());
    let socket = bench.socket();
    bench.agent.restart(&socket).unwrap();
    bench.stands(&missed.id, Status::Stopped).await;
}

/// A poller of many sandboxes costs a call for many looks, and each sees what is.
#[tokio::test]
async fn looks_that_come_together_are_one_call() {
    let bench = Bench::new().await;
    let made = futures::future::join_all((0..20).map(|_| bench.create())).await;
    bench
        .agent
        .set(|knobs| knobs.list_takes = Duration::from_millis(100));
    let before = bench.agent.calls();
    let looks = (0..10).flat_map(|_| &made).map(|row| bench.get(&row.id));
    let seen = futures::future::join_all(looks).await;
    assert!(seen.iter().all(|row| row.status == Status::Running));
    let asked = bench.agent.calls() - before;
    assert!(asked < 20, "{asked} calls for {} looks", seen.len());
    // Nobody is told of the past.
    bench.plane.sandboxes().ping(&made[0].id).await.unwrap();
    let used = bench.get(&made[0].id).await;
    assert!(used.last_active_at_ms > seen[0].last_active_at_ms);
    bench.agent.lose(made[0].id.as_str());
    assert_eq!(bench.get(&made[0].id).await.status, Status::Stopped);
}

#[tokio::test]
async fn an_agent_that_is_away_or_recovering_changes_nothing() {
    let mut bench = Bench::new().await;
    let made = bench.create().await;
    bench.agent.stop();
    assert_eq!(
        bench.plane.reconcile().await.unwrap_err().kind,
        ErrorKind::Unavailable
    );
    assert_eq!(bench.get(&made.id).await, made);
    let socket = bench.socket();
    bench.agent.restart(&socket).unwrap();
    bench.agent.set(|knobs| knobs.recovering = true);
    assert!(bench.plane.reconcile().await.is_err());
    assert_eq!(bench.get(&made.id).await, made);
}

#[tokio::test]
async fn rows_follow_what_the_agent_has() {
    let mut bench = Bench::new().await;
    let (lost, failed, kept) = (
        bench.create().await,
        bench.create().await,
        bench.create().await,
    );
    tokio::time::sleep(Duration::from_millis(5)).await;
    bench.agent.lose(lost.id.as_str());
    let mut panicked = bench.agent.sandbox(failed.id.as_str()).unwrap();
    (panicked.status, panicked.status_reason) =
        ("error".into(), "the guest kernel panicked".into());
    bench.agent.put(panicked);
    bench.plane.reconcile().await.unwrap();
    assert_eq!(bench.get(&lost.id).await.status, Status::Stopped);
    let row = bench.get(&failed.id).await;
    assert_eq!(
        (row.status, row.status_reason.as_str()),
        (Status::Error, "the guest kernel panicked")
    );
    assert_eq!(bench.get(&kept.id).await.status, Status::Running);

    // A new database knows nothing, and loses nothing.
    bench.plane.close().await;
    let elsewhere = tempfile::tempdir().unwrap();
    bench.plane = open(&database(elsewhere.path()), &bench.socket()).await;
    bench.plane.reconcile().await.unwrap();
    let rows = bench.list().await;
    assert_eq!(rows.len(), 2);
    assert_eq!(bench.get(&kept.id).await.host_ip, kept.host_ip);
    assert_eq!(bench.agent.count(), 2);
}

#[tokio::test]
async fn a_database_restored_from_an_older_copy_learns_what_became_of_all() {
    let mut bench = Bench::new().await;
    let (kept, gone) = (bench.create().await, bench.create().await);
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = database(elsewhere.path());
    let store = wrenn_store::Store::open(&copy).await.unwrap();
    for row in [&kept, &gone] {
        store.insert(row).await.unwrap();
    }
    store.close().await;
    let labelled = NewSandbox {
        metadata: [("team".into(), "red".into())].into(),
        ..Default::default()
    };
    let theirs = bench.plane.sandboxes_of(&caller("red", "sandboxes"));
    let since = theirs.create(labelled, Wait::Running).await;
    let since = since.unwrap().sandbox;
    let sandboxes = bench.plane.sandboxes();
    sandboxes.pause(&kept.id).await.unwrap();
    sandboxes.delete(&gone.id).await.unwrap();

    bench.plane.close().await;
    bench.plane = open(&copy, &bench.socket()).await;
    bench.plane.reconcile().await.unwrap();
    assert_eq!(bench.get(&kept.id).await.status, Status::Paused);
    assert_eq!(bench.get(&gone.id).await.status, Status::Stopped);
    let adopted = bench.get(&since.id).await;
    assert_eq!(adopted.status, Status::Running);
    assert_eq!(
        (adopted.owner_id.as_str(), &adopted.metadata),
        ("red", &since.metadata)
    );
}

#[tokio::test]
async fn a_row_that_a_crash_left_pending_is_settled() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_secs(60));
    let doomed = bench.another().await;
    let created = doomed.call(|plane| async move {
        let sandboxes = plane.sandboxes();
        let created = sandboxes.create(NewSandbox::default(), Wait::Accepted);
        created.await.unwrap().sandbox
    });
    let row = created.await.unwrap();
    while bench.agent.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    doomed.kill();
    bench.agent.lose(row.id.as_str());
    // At once, but for a database that servers share: another one might be about to ask the agent.
    bench.plane.reconcile().await.unwrap();
    if wrenn_testkit::database::on_postgresql() {
        assert_eq!(bench.get(&row.id).await.status, Status::Pending);
        tokio::time::sleep(OTHERS_TAKE).await;
        bench.plane.reconcile().await.unwrap();
    }
    let row = bench.get(&row.id).await;
    assert_eq!((row.status, row.transition), (Status::Stopped, None));
    assert_eq!(row.status_reason, "its creation was interrupted");
}

#[tokio::test]
async fn a_get_tells_what_the_agent_knows() {
    let bench = Bench::new().await;
    let made = bench.create().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    bench.plane.sandboxes().ping(&made.id).await.unwrap();
    bench.plane.reconcile().await.unwrap();
    assert!(bench.get(&made.id).await.last_active_at_ms > made.last_active_at_ms);

    // Gone between two sweeps: the first call that meets it says so.
    bench.agent.lose(made.id.as_str());
    let fault = bench.plane.sandboxes().ping(&made.id).await.unwrap_err();
    assert_eq!(fault.kind, ErrorKind::InvalidState);
    assert_eq!(bench.get(&made.id).await.status, Status::Stopped);
}

#[tokio::test]
async fn commands_stream_read_and_end_with_their_listener() {
    let bench = Bench::new().await;
    let made = bench.create().await;
    let sandboxes = bench.plane.sandboxes();
    let input = Input {
        stdin: true,
        detach: false,
        ..Input::default()
    };
    let mut stream = sandboxes
        .exec_stream(&made.id, command("cat", &[]), input)
        .await
        .unwrap();
    let Some(CommandEvent::Start { pid }) = stream.next().await.unwrap() else {
        panic!("no start")
    };
    let stdin = stream.input(pid);
    stdin.send(b"hello".to_vec()).await.unwrap();
    assert_eq!(
        stream.next().await.unwrap(),
        Some(CommandEvent::Stdout("hello".into()))
    );
    stdin.close().await.unwrap();
    assert_eq!(
        stream.next().await.unwrap(),
        Some(CommandEvent::End {
            exit_code: 0,
            timed_out: false
        })
    );
    assert_eq!(stream.next().await.unwrap(), None);

    let mut stream = sandboxes
        .exec_stream(&made.id, command("sleep", &["60"]), Input::default())
        .await
        .unwrap();
    stream.next().await.unwrap();
    assert_eq!(bench.agent.commands(), 1);
    drop(stream);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if bench.agent.commands() == 0 {
            break;
        }
    }
    assert_eq!(bench.agent.commands(), 0);

    let mut stream = sandboxes
        .exec_stream(&made.id, command("lost", &[]), Input::default())
        .await
        .unwrap();
    stream.next().await.unwrap();
    assert!(matches!(
        stream.next().await.unwrap(),
        Some(CommandEvent::Lost(_))
    ));
    let fault = sandboxes
        .exec_stream(&made.id, command("absent", &[]), Input::default())
        .await;
    let fault = match fault {
        Err(fault) => fault,
        Ok(mut stream) => stream.next().await.unwrap_err(),
    };
    assert_eq!(fault.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn stalled_listeners_hold_up_nobody() {
    let bench = Bench::new().await;
    let made = bench.create().await;
    let mut stalled = Vec::new();
    for _ in 0..300 {
        let mut stream = bench
            .plane
            .sandboxes()
            .exec_stream(&made.id, command("spew", &["4"]), Input::default())
            .await
            .unwrap();
        stream.next().await.unwrap();
        stalled.push(stream);
    }
    let ping = bench.plane.sandboxes();
    tokio::time::timeout(Duration::from_secs(2), ping.ping(&made.id))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bench.agent.commands(), 300);
}

#[tokio::test]
async fn files_go_both_ways_and_half_of_one_counts_for_nothing() {
    let bench = Bench::new().await;
    let made = bench.create().await;
    let sandboxes = bench.plane.sandboxes();
    let mut upload = sandboxes
        .write_file(&made.id, "/tmp/a", None)
        .await
        .unwrap();
    upload.write(b"one ").await.unwrap();
    upload.write(b"two").await.unwrap();
    upload.complete().await.unwrap();
    let mut file = sandboxes.read_file(&made.id, "/tmp/a", None).await.unwrap();
    let mut content = Vec::new();
    while let Some(chunk) = file.next().await.unwrap() {
        content.extend(chunk);
    }
    assert_eq!(content, b"one two");

    let mut upload = sandboxes
        .write_file(&made.id, "/tmp/a", None)
        .await
        .unwrap();
    upload.write(b"other").await.unwrap();
    drop(upload);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        bench.agent.file(made.id.as_str(), "/tmp/a").unwrap(),
        "one two"
    );

    let fault = sandboxes
        .read_file(&made.id, "/absent", None)
        .await
        .unwrap_err();
    assert_eq!(fault.kind, ErrorKind::NotFound);
    let mut upload = sandboxes.write_file(&made.id, "/tmp", None).await.unwrap();
    let fault = loop {
        if let Err(fault) = upload.write(&[0; 65536]).await {
            break fault;
        }
    };
    assert_eq!(fault.kind, ErrorKind::InvalidRequest, "{fault}");
}

#[tokio::test]
async fn keys_let_in_those_who_have_them() {
    let bench = Bench::new().await;
    let key = wrenn_control::ApiKey::random();
    let keys = bench.plane.keys();
    assert_eq!(
        keys.check(key.reveal()).await.unwrap_err().kind,
        ErrorKind::Unauthorized
    );
    keys.register("first", &key).await.unwrap();
    keys.register("again", &key).await.unwrap();
    for _ in 0..2 {
        let caller = keys.check(key.reveal()).await.unwrap();
        assert_eq!(&*caller.name, "first");
        assert!(caller.is_operator());
    }
    assert!(keys.check("").await.is_err());
}

#[tokio::test]
async fn after_the_end_nothing_begins() {
    let bench = Bench::new().await;
    let made = bench.create().await;
    bench.plane.close().await;
    let sandboxes = bench.plane.sandboxes();
    assert_eq!(
        sandboxes.delete(&made.id).await.unwrap_err().kind,
        ErrorKind::Unavailable
    );
    assert_eq!(bench.agent.count(), 1, "sandboxes run on");
}

#[tokio::test]
async fn an_agent_that_was_started_anew_is_found_by_idle_connections() {
    let mut bench = Bench::new().await;
    let made = bench.create().await;
    let sandboxes = bench.plane.sandboxes();
    futures::future::try_join_all((0..20).map(|_| sandboxes.ping(&made.id)))
        .await
        .unwrap();
    let socket = bench.socket();
    bench.agent.stop();
    // A process takes longer to come back than a closed socket takes to show.
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.agent.restart(&socket).unwrap();
    for _ in 0..40 {
        sandboxes.ping(&made.id).await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_of_another_release_says_whom_to_upgrade() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let made = bench.create().await;
    let speaks = |version: &str| {
        let version = version.parse().unwrap();
        bench.agent.set(|knobs| knobs.speaks = Some(version));
    };
    for (version, older) in [("0.9", "`wrenn agent`"), ("2.0", "`wrenn server`")] {
        speaks(version);
        let unary = sandboxes.ping(&made.id).await.unwrap_err();
        let streaming = sandboxes.read_file(&made.id, "/zeros/1", None).await;
        for fault in [unary, streaming.unwrap_err()] {
            assert_eq!(fault.kind, ErrorKind::NotSupported);
            assert!(fault.message.contains(version), "{fault}");
            assert!(fault.remedy.contains(older), "{}", fault.remedy);
        }
        let state = bench.plane.check().await.unwrap();
        assert_eq!(state, AgentState::Incompatible);
    }
    // It takes neither long nor a restart to notice the upgrade.
    speaks("1.7");
    assert_eq!(bench.plane.check().await.unwrap(), AgentState::Ready);
    sandboxes.ping(&made.id).await.unwrap();
    assert_eq!(bench.get(&made.id).await.status, Status::Running);
}

/// Wherever it was: before the row was written, while it was, before the agent had heard of it or after. No sweep comes to help.
#[tokio::test]
async fn a_creator_that_goes_away_at_any_moment_leaves_nothing_under_way() {
    let bench = Bench::new().await;
    bench
        .agent
        .set(|knobs| knobs.create_takes = Duration::from_millis(50));
    for moment in 0..60 {
        let sandboxes = bench.plane.sandboxes();
        let create = sandboxes.create(NewSandbox::default(), Wait::Running);
        let moment = Duration::from_micros(500 * moment);
        drop(tokio::time::timeout(moment, create).await);
    }
    for _ in 0..200 {
        let all = bench.list().await;
        let left: Vec<_> = all
            .iter()
            .filter(|row| row.status != Status::Stopped)
            .collect();
        if left.is_empty() && bench.agent.count() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!(
        "{:?} of {} at the agent",
        bench.list().await,
        bench.agent.count()
    );
}
