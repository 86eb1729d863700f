//! What a sandbox is after a resume: what it was, with the right time and its own randomness.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::ioctl_ficlone;
use wrenn_client::api::{CreateSandbox, ResumeRequest, Sandbox, StartCommand};
use wrenn_client::{Client, ExecEvent};
use wrenn_testkit::world::{INTERNET, Service};

use crate::harness::{MEMORY, Server, TestSandbox, kill_vmm, shared, shell, start, until};
use crate::pause_faults::{arm, revive};

/// How far the guest's clock may be off.
const CLOCK_ERROR: Duration = Duration::from_millis(50);

/// Every setting, and nothing that a resume may change.
fn settings(sandbox: &Sandbox) -> Sandbox {
    Sandbox {
        status: String::new(),
        host_ip: None,
        started_at: None,
        last_active_at: None,
        paused_at: None,
        expires_at: None,
        last_updated: sandbox.created_at,
        ..sandbox.clone()
    }
}

/// How far the guest's clock is off at the most: the closest of ten looks, each of which it answers between two looks at
/// the host's.
async fn clock_error(sandbox: &TestSandbox) -> Duration {
    let command = StartCommand {
        stdin: true,
        cmd: "python3".to_owned(),
        args: [
            "-c",
            "import sys, time\nfor line in sys.stdin: print(time.time_ns(), flush=True)",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Default::default()
    };
    let started = sandbox.client.exec_stream(&sandbox.id, &command).await;
    let (mut control, mut events) = started.unwrap();
    assert!(matches!(
        events.next().await.unwrap(),
        ExecEvent::Start { .. }
    ));
    let mut closest = Duration::MAX;
    for _ in 0..10 {
        let before = SystemTime::now();
        control.stdin("\n".into()).await.unwrap();
        let ExecEvent::Stdout(said) = events.next().await.unwrap() else {
            panic!("no time");
        };
        let after = SystemTime::now();
        let nanos = std::str::from_utf8(&said).unwrap().trim().parse().unwrap();
        let there = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        closest = closest.min(apart(before, there).max(apart(there, after)));
    }
    eprintln!("the guest's clock is off by {closest:?} at the most");
    closest
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .unwrap_or_else(|error| error.duration())
}

#[tokio::test]
async fn a_sandbox_comes_back_as_it_was() {
    let server = shared();
    let cpus = std::thread::available_parallelism().unwrap().get();
    let request = CreateSandbox {
        // Two, so that there is more than one to bring back, where the host lets a guest have them.
        vcpus: Some(if cpus > 1 { 2 } else { 1 }),
        memory_mb: Some(300),
        timeout_sec: Some(1234),
        hostname: Some("spring".to_owned()),
        metadata: [("purpose".to_owned(), "test".to_owned())].into(),
        envs: [("GREETING".to_owned(), "hello".to_owned())].into(),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&server.client(), request).await;
    let before = sandbox.now().await;
    let ask = "hostname; cat /etc/hostname /etc/hosts /etc/machine-id; echo $GREETING $WRENN_SANDBOX_ID $WRENN_TEMPLATE_ID; \
        nproc; grep MemTotal /proc/meminfo; cat /proc/sys/kernel/random/boot_id; cat /root/file; df /; \
        cat /sys/class/net/*/address /proc/net/route /proc/net/fib_trie; tail -n +2 /proc/net/arp | cut -c1-16,41-58";
    sandbox
        .sh("echo kept > /root/file; echo 10.0.0.1 friend >> /etc/hosts; sync")
        .await;
    let said = sandbox.sh(ask).await;
    assert!(
        said.starts_with("spring\n") && said.contains("\nkept\n") && said.contains("32 host LOCAL"),
        "{said}"
    );

    let paused = sandbox.pause().await;
    assert_eq!(settings(&paused.sandbox), settings(&before));
    assert!(paused.sandbox.paused_at.is_some() && paused.sandbox.expires_at.is_none());
    assert!(
        paused.memory_bytes.is_some_and(|bytes| bytes > 0),
        "{paused:?}"
    );
    assert!(!paused.timings.is_empty());
    let resumed = sandbox.resume().await;
    assert_eq!(settings(&resumed.sandbox), settings(&before));
    assert_eq!(resumed.sandbox.lost_since, None);
    assert!(resumed.sandbox.host_ip.is_some() && resumed.sandbox.expires_at.is_some());
    assert_eq!(sandbox.sh(ask).await, said);
    sandbox.delete().await;
}

#[tokio::test]
async fn the_clock_is_right_after_a_resume() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    sandbox.pause().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    sandbox.resume().await;
    let error = clock_error(&sandbox).await;
    assert!(error <= CLOCK_ERROR, "{error:?}");
    sandbox.delete().await;
}

/// Random bytes by each of the ways to them.
async fn random(client: &Client, id: &str) -> Vec<String> {
    let ask = "cat /proc/sys/kernel/random/uuid; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo; \
        python3 -c 'import os; print(os.getrandom(32).hex())'";
    let said = client.exec(id, &shell(ask)).await.unwrap();
    assert_eq!(said.exit_code, 0, "{said:?}");
    said.stdout.lines().map(str::to_owned).collect()
}

/// The token of every call into a sandbox's guest and the key of its next `/init`, by the newest record in the journal.
fn keys(data: &Path, id: &str) -> [String; 2] {
    let journal = std::fs::read(data.join("journal")).unwrap();
    let begins = format!("[\"{id}\",{{");
    let at = journal
        .windows(begins.len())
        .rposition(|window| window == begins.as_bytes())
        .unwrap();
    let mut values = serde_json::Deserializer::from_slice(&journal[at..]).into_iter();
    let record: serde_json::Value = values.next().unwrap().unwrap();
    ["token", "init_key"].map(|key| record[1]["vm"]["keys"][key].as_str().unwrap().to_owned())
}

/// Ends a sandbox's VMM by force and waits until that was noticed.
async fn lose(data: &Path, sandbox: &TestSandbox) -> Sandbox {
    kill_vmm(data, &sandbox.id);
    sandbox.becomes("error", Duration::from_secs(30)).await
}

#[tokio::test]
async fn two_resumes_of_one_state_draw_different_randomness() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let before = keys(&server.data(), &sandbox.id);
    sandbox.pause().await;
    let mut drawn = HashSet::new();
    let mut keys_seen = HashSet::from(before);
    for round in 1..=3 {
        sandbox.resume().await;
        for value in random(&client, &sandbox.id).await {
            assert!(
                drawn.insert(value.clone()),
                "round {round} drew {value} again"
            );
        }
        // The guest took these: it was called with them.
        for key in keys(&server.data(), &sandbox.id) {
            assert!(keys_seen.insert(key), "round {round} has an old key");
        }
        lose(&server.data(), &sandbox).await;
    }
    assert_eq!(drawn.len(), 9, "{drawn:?}");
    sandbox.delete().await;
}

#[tokio::test]
async fn after_the_death_of_its_vmm_it_goes_back_to_its_pause() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    sandbox
        .sh("echo before > /root/before; echo before > /run/before")
        .await;
    let paused_at = sandbox.pause().await.sandbox.paused_at;
    assert!(paused_at.is_some());
    assert_eq!(sandbox.resume().await.sandbox.lost_since, None);
    sandbox
        .sh("echo after > /root/after; sync; echo after > /run/after")
        .await;
    let lost = lose(&server.data(), &sandbox).await;
    assert_eq!(lost.paused_at, paused_at);
    assert!(lost.status_reason.is_some());

    let resumed = sandbox.resume().await;
    assert_eq!(resumed.sandbox.lost_since, paused_at);
    assert_eq!(resumed.sandbox.status_reason, None);
    let said = sandbox
        .sh("cat /root/before /run/before; ls /root/after /run/after 2>&1 || true")
        .await;
    assert_eq!(said.matches("before\n").count(), 2, "{said}");
    assert_eq!(said.matches("No such file").count(), 2, "{said}");

    // It may go back to the disk of its pause alone.
    lose(&server.data(), &sandbox).await;
    let resumed = sandbox.resume_with(&ResumeRequest { cold: true }).await;
    assert_eq!(resumed.sandbox.lost_since, paused_at);
    let said = sandbox
        .sh("cat /root/before; ls /run/before /root/after 2>&1 || true")
        .await;
    assert!(said.starts_with("before\n"), "{said}");
    assert_eq!(said.matches("No such file").count(), 2, "{said}");
    sandbox.delete().await;
}

#[tokio::test]
async fn a_guest_that_powers_off_takes_no_pause_with_it() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    sandbox.sh("echo here > /run/here").await;
    sandbox.pause().await;
    sandbox.resume().await;
    drop(sandbox.exec(&shell("poweroff")).await);
    until("the end", Duration::from_secs(30), || async {
        let now = client.sandbox(&sandbox.id).await.unwrap();
        (now.status == "error").then_some(())
    })
    .await;
    assert!(sandbox.resume().await.sandbox.lost_since.is_some());
    assert_eq!(sandbox.sh("cat /run/here").await, "here\n");
    sandbox.delete().await;
}

#[tokio::test]
async fn without_a_pause_of_its_own_an_error_has_nothing_to_go_back_to() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    lose(&server.data(), &sandbox).await;
    let refused = sandbox
        .client
        .resume(&sandbox.id, &ResumeRequest::default())
        .await;
    crate::harness::assert_invalid_state(refused);
    sandbox.delete().await;
}

/// Nobody in the guest has its files written out: the pause does.
#[tokio::test]
async fn a_cold_resume_boots_from_the_pauses_disk() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let boot = "cat /proc/sys/kernel/random/boot_id";
    sandbox
        .sh("echo kept > /root/file; echo gone > /run/file")
        .await;
    let first = sandbox.sh(boot).await;
    sandbox.pause().await;
    sandbox.resume_with(&ResumeRequest { cold: true }).await;
    assert_ne!(sandbox.sh(boot).await, first);
    assert_eq!(
        sandbox
            .sh("cat /root/file; ls /run/file 2>/dev/null || true")
            .await,
        "kept\n"
    );
    // It is a sandbox like any other: it can be paused and resumed warm.
    let second = sandbox.sh(boot).await;
    sandbox.pause().await;
    sandbox.resume().await;
    assert_eq!(sandbox.sh(boot).await, second);
    sandbox.delete().await;
}

/// Says something on a connection every now and then, and waits for the echo for as long as the kernel does.
const TALK: &str = "
import os, socket, sys, time
def write(text):
    open('/run/said.new', 'w').write(text)
    os.rename('/run/said.new', '/run/said')
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
count = 0
try:
    while True:
        peer.sendall(b'x')
        if not peer.recv(1): raise OSError('it was closed')
        count += 1
        write(f'talked {count}')
        time.sleep(0.05)
except OSError as error:
    write(f'cut {error}')
";

/// The other end knows nothing of a pause. The guest is told by its kernel as soon as it says something, or goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_the_internet_goes_on_or_is_told_to_be_cut() {
    const PORT: u16 = 4032;
    let server = shared();
    let _outside = Service::tcp_echo(PORT).unwrap();
    let sandbox = TestSandbox::create(&server.client()).await;
    sandbox
        .sh(&format!("cat > /run/talk.py <<'END'{TALK}END"))
        .await;
    let talk = format!("exec python3 /run/talk.py {INTERNET} {PORT} 2> /run/wrong");
    let said = async || {
        sandbox
            .sh("cat /run/wrong /run/said 2>/dev/null || true")
            .await
    };
    let count = |said: &str| said.strip_prefix("talked ")?.trim().parse::<u64>().ok();
    let patience = Duration::from_secs(60);
    let pid = sandbox.begin(&talk).await;
    let before = until("the first echo", patience, || async {
        count(&said().await)
    })
    .await;
    sandbox.pause().await;
    sandbox.resume().await;
    let outcome = until("an end or an echo", patience, || async {
        let said = said().await;
        let goes_on = count(&said).is_some_and(|count| count > before + 20);
        (goes_on || said.starts_with("cut ")).then_some(said)
    })
    .await;
    eprintln!("after the resume: {outcome}");
    // Another one is as good as ever.
    let end = format!("kill {pid} 2>/dev/null; rm -f /run/said /run/wrong");
    sandbox.sh(&end).await;
    sandbox.begin(&talk).await;
    until("the next echo", patience, || async { count(&said().await) }).await;
    sandbox.delete().await;
}

/// A template of its own that shares all blocks with another.
fn copy_template(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let copy = File::create_new(to.join(entry.file_name())).unwrap();
        ioctl_ficlone(&copy, File::open(entry.path()).unwrap()).unwrap();
        copy.set_permissions(entry.metadata().unwrap().permissions())
            .unwrap();
    }
}

#[tokio::test]
async fn a_template_may_go_under_a_sandbox_that_is_paused() {
    let server = shared();
    let client = server.client();
    let templates = server.data().join("store/templates");
    let name = "goes-away";
    copy_template(&templates.join("minimal"), &templates.join(name));
    let request = CreateSandbox {
        template: Some(name.to_owned()),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&client, request).await;
    sandbox.sh("echo kept > /root/file").await;
    sandbox.pause().await;
    client.delete_template(name).await.unwrap();
    assert!(!templates.join(name).exists());
    let refused = client.delete_template(name).await.unwrap_err();
    assert_eq!(refused.api().unwrap().code, "not_found");
    sandbox.resume().await;
    // From the disk, not from what the guest remembers of it.
    let look = "echo 3 > /proc/sys/vm/drop_caches; cat /root/file; sha256sum /bin/sh /usr/bin/python3 /etc/passwd";
    let said = sandbox.sh(look).await;
    assert!(said.starts_with("kept\n"), "{said}");
    sandbox.pause().await;
    sandbox.resume_with(&ResumeRequest { cold: true }).await;
    assert_eq!(sandbox.sh(look).await, said);
    sandbox.delete().await;
}

#[tokio::test]
async fn a_command_goes_on_across_a_pause_and_is_taken_up_again() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let script = "i=0; while [ ! -e /run/end ]; do i=$((i+1)); echo $i > /run/count; echo tick $i; sleep 0.1; done; exit 7";
    let (control, mut events) = client
        .exec_stream(&sandbox.id, &start(script))
        .await
        .unwrap();
    let ExecEvent::Start { pid } = events.next().await.unwrap() else {
        panic!("no start");
    };
    assert!(matches!(events.next().await.unwrap(), ExecEvent::Stdout(_)));
    sandbox.pause().await;
    let broken = async { while events.next().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), broken)
        .await
        .expect("its stream ends with the pause");
    drop((control, events));
    sandbox.resume().await;

    // The file is empty for a moment each time that it is written.
    let count = async || {
        sandbox
            .sh("cat /run/count")
            .await
            .trim()
            .parse::<u64>()
            .ok()
    };
    let patience = Duration::from_secs(20);
    let counted = until("a count", patience, &count).await;
    until("the next count", patience, || async {
        count().await.filter(|now| *now > counted)
    })
    .await;
    let (_control, mut events) = client.exec_attach(&sandbox.id, pid).await.unwrap();
    assert_eq!(events.next().await.unwrap(), ExecEvent::Start { pid });
    let ExecEvent::Stdout(said) = events.next().await.unwrap() else {
        panic!("no output");
    };
    assert!(said.starts_with(b"tick "), "{said:?}");
    sandbox.sh("touch /run/end").await;
    let code = loop {
        match events.next().await.unwrap() {
            ExecEvent::Exit { exit_code, .. } => break exit_code,
            _ => continue,
        }
    };
    assert_eq!(code, 7);
    sandbox.delete().await;
}

#[tokio::test]
async fn a_paused_sandbox_outlives_wrenn() {
    let mut server = Server::start();
    let request = CreateSandbox {
        memory_mb: Some(MEMORY),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&server.client(), request).await;
    sandbox.begin("echo $$ > /run/pid; exec sleep 86400").await;
    sandbox.pause().await;
    for end in ["KILL", "TERM", "down"] {
        match end {
            "KILL" => server.kill(),
            "TERM" => drop(server.terminate()),
            _ => {
                let told = String::from_utf8(server.down().stdout).unwrap();
                assert!(told.contains("\"kept\": 1"), "{told}");
            }
        }
        server.resume();
        let client = server.client();
        let now = client.sandbox(&sandbox.id).await.unwrap();
        assert_eq!(now.status, "paused", "after {end}");
        client
            .resume(&sandbox.id, &ResumeRequest::default())
            .await
            .unwrap();
        let alive = shell("kill -0 $(cat /run/pid)");
        let alive = client.exec(&sandbox.id, &alive).await.unwrap();
        assert_eq!(alive.exit_code, 0, "{alive:?}");
        client.pause(&sandbox.id).await.unwrap();
    }
    assert!(server.client().delete_sandbox(&sandbox.id).await.unwrap());
}

/// `server.down` holds a thread of the runtime: the pause is asked for on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_under_way_is_kept_by_down() {
    let mut server = Server::start();
    let mut sandbox = TestSandbox::create(&server.client()).await;
    arm(&mut server, &mut sandbox, "pause.quiesce=late");
    sandbox.sh("echo mine > /root/mine").await;
    let (client, id) = (sandbox.client.clone(), sandbox.id.clone());
    let pausing = tokio::spawn(async move { client.pause(&id).await });
    until("the pause", Duration::from_secs(5), || async {
        sandbox.now().await.transition.map(drop)
    })
    .await;
    let told = String::from_utf8(server.down().stdout).unwrap();
    assert!(told.contains("\"kept\": 1"), "{told}");
    // Wrenn may have ended before it could answer.
    drop(pausing.await.unwrap());
    revive(&mut server, &mut sandbox);
    assert_eq!(sandbox.now().await.status, "paused");
    // Its guest was told to sync, whoever wanted Wrenn down meanwhile.
    sandbox.resume_with(&ResumeRequest { cold: true }).await;
    assert_eq!(sandbox.sh("cat /root/mine").await, "mine\n");
    sandbox.delete().await;
}
