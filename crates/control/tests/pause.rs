//! Pause, resume and wake, against a fake agent on a real socket and a real database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::{Bench, command};
use wrenn_control::{CommandEvent, CommandStream, Input, NewSandbox, Wait};
use wrenn_model::{ErrorKind, Fault, OnTimeout, SandboxId, Status, Transition};

async fn create(bench: &Bench, new: NewSandbox) -> SandboxId {
    let sandboxes = bench.plane.sandboxes();
    sandboxes
        .create(new, Wait::Running)
        .await
        .unwrap()
        .sandbox
        .id
}

async fn paused(bench: &Bench, new: NewSandbox) -> SandboxId {
    let id = create(bench, new).await;
    bench.plane.sandboxes().pause(&id).await.unwrap();
    id
}

/// Its VM has died.
fn fail(bench: &Bench, id: &SandboxId) {
    let mut sandbox = bench.agent.sandbox(id.as_str()).unwrap();
    (sandbox.status, sandbox.status_reason) = ("error".into(), "the VMM was killed".into());
    bench.agent.put(sandbox);
}

fn waking() -> NewSandbox {
    NewSandbox {
        on_timeout: OnTimeout::Pause,
        auto_resume: true,
        ..NewSandbox::default()
    }
}

async fn pid(stream: &mut CommandStream) -> u32 {
    match stream.next().await.unwrap() {
        Some(CommandEvent::Start { pid }) => pid,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_sandbox_is_put_aside_and_taken_up_with_all_its_settings() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = create(&bench, waking()).await;
    let made = bench.get(&id).await;
    let paused = sandboxes.pause(&id).await.unwrap();
    assert_eq!(
        (paused.sandbox.status, paused.sandbox.transition),
        (Status::Paused, None)
    );
    assert!(paused.sandbox.host_ip.is_empty() && paused.sandbox.paused_at_ms.is_some());
    assert!(paused.memory_bytes.is_some() && paused.disk_bytes.is_some());
    assert_eq!(paused.steps[0].step, "sync");
    assert_eq!(bench.get(&id).await, paused.sandbox);

    let resumed = sandboxes.resume(&id, false).await.unwrap();
    let (row, steps) = (resumed.sandbox, resumed.steps);
    assert!(
        steps
            .iter()
            .any(|step| step.step == "load" && step.micros > 0)
    );
    assert_eq!(
        (row.status, row.transition, row.lost_since_ms),
        (Status::Running, None, None)
    );
    assert!(!row.host_ip.is_empty());
    assert_eq!(
        row.paused_at_ms, paused.sandbox.paused_at_ms,
        "its generation stays"
    );
    assert_eq!((row.on_timeout, row.auto_resume), (OnTimeout::Pause, true));
    assert_eq!(
        (row.template, row.vcpus, row.memory),
        (made.template, made.vcpus, made.memory)
    );
    assert_eq!(
        (row.timeout_sec, row.metadata),
        (made.timeout_sec, made.metadata)
    );
}

#[tokio::test]
async fn what_its_status_does_not_allow_is_refused_and_changes_nothing() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = create(&bench, NewSandbox::default()).await;
    let refused = |fault: Fault| assert_eq!(fault.kind, ErrorKind::InvalidState, "{fault}");
    refused(sandboxes.resume(&id, false).await.unwrap_err());
    sandboxes.pause(&id).await.unwrap();
    refused(sandboxes.pause(&id).await.unwrap_err());
    // Without auto_resume nothing wakes it, and each refusal says what would.
    let faults = [
        sandboxes.ping(&id).await.unwrap_err(),
        sandboxes
            .exec(&id, command("true", &[]), None)
            .await
            .unwrap_err(),
        sandboxes.exec_attach(&id, 1).await.unwrap_err(),
        sandboxes.read_file(&id, "/a", None).await.unwrap_err(),
        sandboxes.write_file(&id, "/a", None).await.unwrap_err(),
    ];
    for fault in faults {
        assert!(
            fault.remedy.contains(&format!("/v1/sandboxes/{id}/resume")),
            "{fault:?}"
        );
        refused(fault);
    }
    assert_eq!(
        (bench.get(&id).await.status, bench.agent.resumes()),
        (Status::Paused, 0)
    );

    sandboxes.delete(&id).await.unwrap();
    refused(sandboxes.pause(&id).await.unwrap_err());
    refused(sandboxes.resume(&id, true).await.unwrap_err());
    let absent = SandboxId::random();
    assert_eq!(
        sandboxes.pause(&absent).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
    assert_eq!(
        sandboxes.resume(&absent, false).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn the_second_joins_the_first_and_others_see_what_is_under_way() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    bench.agent.set(|knobs| {
        knobs.pause_takes = Duration::from_millis(300);
        knobs.resume_takes = Duration::from_millis(300);
    });
    let id = create(&bench, NewSandbox::default()).await;
    let meanwhile = async |transition| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let row = bench.get(&id).await;
        assert_eq!(row.transition, Some(transition));
        let other = match transition {
            Transition::Pausing => sandboxes.resume(&id, false).await.unwrap_err(),
            _ => sandboxes.pause(&id).await.unwrap_err(),
        };
        assert_eq!(other.kind, ErrorKind::InvalidState);
        // A sweep leaves it alone.
        bench.plane.reconcile().await.unwrap();
        assert_eq!(bench.get(&id).await.transition, Some(transition));
        row.status
    };
    let (one, two, status) = tokio::join!(
        sandboxes.pause(&id),
        sandboxes.pause(&id),
        meanwhile(Transition::Pausing)
    );
    assert_eq!(status, Status::Running, "until it has ended");
    assert_eq!(one.unwrap().sandbox.status, Status::Paused);
    assert_eq!(two.unwrap().sandbox.status, Status::Paused);
    let (one, two, status) = tokio::join!(
        sandboxes.resume(&id, false),
        sandboxes.resume(&id, false),
        meanwhile(Transition::Resuming)
    );
    assert_eq!(status, Status::Paused, "until it has ended");
    assert_eq!(one.unwrap().sandbox.status, Status::Running);
    assert_eq!(two.unwrap().sandbox.status, Status::Running);
    assert_eq!(bench.agent.resumes(), 1);
}

#[tokio::test]
async fn what_fails_leaves_it_as_it_was_and_may_be_tried_again() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = create(&bench, NewSandbox::default()).await;
    let full = Fault::new(ErrorKind::HostFull, "no space", "make some");
    bench
        .agent
        .set(|knobs| knobs.pause_fails = Some(full.clone()));
    assert_eq!(sandboxes.pause(&id).await.unwrap_err(), full);
    let row = bench.get(&id).await;
    assert_eq!((row.status, row.transition), (Status::Running, None));
    bench.agent.set(|knobs| knobs.pause_fails = None);
    sandboxes.pause(&id).await.unwrap();

    let elsewhere = Fault::new(
        ErrorKind::Conflict,
        "another CPU",
        "resume with {\"cold\": true}",
    );
    bench
        .agent
        .set(|knobs| knobs.resume_fails = Some(elsewhere.clone()));
    assert_eq!(sandboxes.resume(&id, false).await.unwrap_err(), elsewhere);
    let row = bench.get(&id).await;
    assert_eq!((row.status, row.transition), (Status::Paused, None));
    let resumed = sandboxes.resume(&id, true).await.unwrap();
    assert_eq!(resumed.sandbox.status, Status::Running);
    assert!(resumed.steps.iter().any(|step| step.step == "boot"));
}

#[tokio::test]
async fn from_an_error_it_goes_back_to_its_pause_if_it_has_one() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let never = create(&bench, NewSandbox::default()).await;
    let once = paused(&bench, NewSandbox::default()).await;
    sandboxes.resume(&once, false).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    fail(&bench, &never);
    fail(&bench, &once);
    bench.plane.reconcile().await.unwrap();

    let fault = sandboxes.resume(&never, false).await.unwrap_err();
    assert_eq!(fault.kind, ErrorKind::InvalidState);
    assert!(fault.message.contains("no pause"), "{fault}");
    let failed = bench.get(&once).await;
    assert_eq!(failed.status, Status::Error);
    let fault = sandboxes.ping(&once).await.unwrap_err();
    assert!(fault.remedy.contains("last pause"), "{fault:?}");
    let resumed = sandboxes.resume(&once, false).await.unwrap().sandbox;
    assert_eq!(resumed.status, Status::Running);
    assert_eq!(resumed.lost_since_ms, failed.paused_at_ms);
}

#[tokio::test]
async fn a_call_wakes_it_once_however_many_there_are() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    bench
        .agent
        .set(|knobs| knobs.resume_takes = Duration::from_millis(200));
    let id = paused(&bench, waking()).await;
    let calls = (0..10).map(|_| sandboxes.exec(&id, command("echo", &["hi"]), None));
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(outcome.unwrap().stdout, b"hi\n");
    }
    assert_eq!(bench.agent.resumes(), 1);
    for _ in 0..100 {
        if bench.get(&id).await.status == Status::Running {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.get(&id).await.status, Status::Running);

    // Each kind of call does.
    for round in 2..=6 {
        sandboxes.pause(&id).await.unwrap();
        // No guest is as fast as the fake: rows and observations are told apart by the millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
        match round {
            2 => sandboxes.ping(&id).await.unwrap(),
            3 => {
                let streamed = sandboxes.exec_stream(&id, command("true", &[]), Input::default());
                pid(&mut streamed.await.unwrap()).await;
            }
            4 => {
                let mut upload = sandboxes.write_file(&id, "/tmp/a", None).await.unwrap();
                upload.write(b"one").await.unwrap();
                upload.complete().await.unwrap();
            }
            5 => {
                let mut file = sandboxes.read_file(&id, "/tmp/a", None).await.unwrap();
                assert_eq!(file.next().await.unwrap().unwrap(), "one");
            }
            _ => {
                let fault = sandboxes.read_file(&id, "/absent", None).await.unwrap_err();
                assert_eq!(
                    fault.kind,
                    ErrorKind::NotFound,
                    "of the file, not of the sandbox"
                );
            }
        }
        assert_eq!(bench.agent.resumes(), round);
    }
}

#[tokio::test]
async fn a_wake_that_fails_tells_why_and_leaves_it_paused() {
    let bench = Bench::new().await;
    let id = paused(&bench, waking()).await;
    let elsewhere = Fault::new(
        ErrorKind::Conflict,
        "another CPU",
        "resume with {\"cold\": true}",
    );
    bench
        .agent
        .set(|knobs| knobs.resume_fails = Some(elsewhere.clone()));
    assert_eq!(
        bench.plane.sandboxes().ping(&id).await.unwrap_err(),
        elsewhere
    );
    assert_eq!(bench.get(&id).await.status, Status::Paused);
}

#[tokio::test]
async fn what_the_agent_pauses_by_itself_is_noticed() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = create(&bench, NewSandbox::default()).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut sandbox = bench.agent.sandbox(id.as_str()).unwrap();
    sandbox.transition = "pausing".into();
    bench.agent.put(sandbox.clone());
    bench.plane.reconcile().await.unwrap();
    let row = bench.get(&id).await;
    assert_eq!(
        (row.status, row.transition),
        (Status::Running, Some(Transition::Pausing))
    );
    (sandbox.status, sandbox.paused_at_unix_ms) = ("paused".into(), 7);
    sandbox.transition.clear();
    bench.agent.put(sandbox);
    // The row still says that it runs: the first call that meets it learns better.
    assert_eq!(
        sandboxes.ping(&id).await.unwrap_err().kind,
        ErrorKind::InvalidState
    );
    let row = bench.get(&id).await;
    assert_eq!((row.status, row.paused_at_ms), (Status::Paused, Some(7)));
}

#[tokio::test]
async fn a_pause_that_a_crash_cut_off_is_settled_by_what_the_agent_has() {
    let mut bench = Bench::new().await;
    let id = create(&bench, NewSandbox::default()).await;
    bench
        .agent
        .set(|knobs| knobs.pause_takes = Duration::from_secs(60));
    let sandboxes = bench.plane.sandboxes();
    let pausing = id.clone();
    let caller = tokio::spawn(async move { sandboxes.pause(&pausing).await });
    while bench.get(&id).await.transition.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.agent.stop();
    let fault = caller.await.unwrap().unwrap_err();
    assert_eq!(fault.kind, ErrorKind::Unavailable);
    let row = bench.get(&id).await;
    assert_eq!(
        (row.status, row.transition),
        (Status::Running, Some(Transition::Pausing))
    );

    let mut sandbox = bench.agent.sandbox(id.as_str()).unwrap();
    sandbox.transition.clear();
    (sandbox.status, sandbox.paused_at_unix_ms) = ("paused".into(), 7);
    bench.agent.put(sandbox);
    let socket = bench.socket();
    bench.agent.restart(&socket).unwrap();
    bench.reopen().await;
    bench.plane.reconcile().await.unwrap();
    let row = bench.get(&id).await;
    assert_eq!((row.status, row.transition), (Status::Paused, None));
}

#[tokio::test]
async fn a_destroy_overtakes_a_pause() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    // Whatever the agent says of one that it came to too late.
    let gone = Fault::new(ErrorKind::NotFound, "there is no such sandbox", "none");
    let going = Fault::new(ErrorKind::InvalidState, "it is being unmade", "none");
    for told in [None, Some(gone), Some(going)] {
        let id = create(&bench, NewSandbox::default()).await;
        bench.agent.set(|knobs| {
            knobs.pause_takes = Duration::from_millis(300);
            knobs.pause_fails = told;
        });
        let (paused, ()) = tokio::join!(sandboxes.pause(&id), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            sandboxes.delete(&id).await.unwrap();
        });
        assert_eq!(paused.unwrap_err().kind, ErrorKind::Conflict);
        let row = bench.get(&id).await;
        assert_eq!(
            (row.status, row.transition, row.paused_at_ms),
            (Status::Stopped, None, None)
        );
        assert_eq!(bench.agent.count(), 0);
    }
}

#[tokio::test]
async fn a_pause_that_its_host_lost_is_an_error_without_a_way_back() {
    let bench = Bench::new().await;
    let id = paused(&bench, NewSandbox::default()).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    bench.agent.lose(id.as_str());
    bench.plane.reconcile().await.unwrap();
    let row = bench.get(&id).await;
    assert_eq!((row.status, row.paused_at_ms), (Status::Error, None));
    let fault = bench
        .plane
        .sandboxes()
        .resume(&id, false)
        .await
        .unwrap_err();
    assert_eq!(fault.kind, ErrorKind::InvalidState);
}

#[tokio::test]
async fn a_command_goes_on_under_a_pause_and_is_taken_up_again() {
    let bench = Bench::new().await;
    let sandboxes = bench.plane.sandboxes();
    let id = create(&bench, NewSandbox::default()).await;
    let input = Input {
        stdin: true,
        detach: false,
        ..Input::default()
    };
    let mut stream = sandboxes
        .exec_stream(&id, command("cat", &[]), input)
        .await
        .unwrap();
    let pid = pid(&mut stream).await;
    sandboxes.pause(&id).await.unwrap();
    let fault = stream.next().await.unwrap_err();
    let told = sandboxes.broke_off(&id, pid, fault).await;
    assert_eq!(told.kind, ErrorKind::InvalidState);
    assert!(
        told.message.contains(&pid.to_string()) && told.remedy.contains("connect"),
        "{told:?}"
    );
    drop(stream);

    sandboxes.resume(&id, false).await.unwrap();
    assert_eq!(bench.agent.commands(), 1);
    let mut stream = sandboxes.exec_attach(&id, pid).await.unwrap();
    assert_eq!(self::pid(&mut stream).await, pid);
    let stdin = stream.input(pid);
    stdin.send(b"again".to_vec()).await.unwrap();
    assert_eq!(
        stream.next().await.unwrap(),
        Some(CommandEvent::Stdout("again".into()))
    );
    drop(stream);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        bench.agent.commands(),
        1,
        "it does not end with its listener"
    );
    stdin.close().await.unwrap();

    let absent = match sandboxes.exec_attach(&id, 1).await {
        Err(fault) => fault,
        Ok(mut stream) => stream.next().await.unwrap_err(),
    };
    assert_eq!(absent.kind, ErrorKind::NotFound);
}
