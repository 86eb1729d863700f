//! Agent and control plane end and begin apart from each other; sandboxes notice neither.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wrenn_client::api::{CreateSandbox, StartCommand};
use wrenn_client::{Client, ExecEvent, ExecEvents};

use crate::harness::{Apart, Server, TestSandbox, start, until};

/// More than a stream needs to break after its other end has gone.
const BREAKS: Duration = Duration::from_secs(20);

/// Writes a number every tenth of a second, for as long as it lives. Gives its process id and what comes of it.
pub(crate) async fn count(client: &Client, sandbox: &TestSandbox) -> (u32, ExecEvents) {
    let command = StartCommand {
        detach: true,
        ..start("i=0; while :; do i=$((i+1)); echo $i | tee /run/count; sleep 0.1; done")
    };
    let (_control, mut events) = client.exec_stream(&sandbox.id, &command).await.unwrap();
    let ExecEvent::Start { pid } = events.next().await.unwrap() else {
        panic!("it did not start")
    };
    assert!(matches!(events.next().await.unwrap(), ExecEvent::Stdout(_)));
    (pid, events)
}

/// A conversation whose other end has gone is over, and says so.
pub(crate) async fn breaks(mut events: ExecEvents) {
    let broken = async { while events.next().await.is_ok() {} };
    tokio::time::timeout(BREAKS, broken).await.unwrap();
}

/// That the command runs on, by what it says from now on.
pub(crate) async fn counts_on(client: &Client, sandbox: &TestSandbox, pid: u32) {
    let (_control, mut events) = client.exec_attach(&sandbox.id, pid).await.unwrap();
    loop {
        if let ExecEvent::Stdout(_) = events.next().await.unwrap() {
            return;
        }
    }
}

fn status(pid: u32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(":\t"));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn namespace(pid: u32, kind: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap()
}

/// Everything that a process can find, below its own root.
fn visible(pid: u32, below: &str, seen: &mut Vec<String>) {
    let root = format!("/proc/{pid}/root");
    for entry in fs::read_dir(format!("{root}{below}")).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            visible(pid, &path, seen);
        }
        seen.push(path);
    }
}

#[tokio::test]
async fn the_control_plane_has_next_to_nothing() {
    let server = Server::start();
    let pid = server.control_plane();
    let status = status(pid);
    let user: u32 = status["Uid"].split('\t').next().unwrap().parse().unwrap();
    assert!(user >= 0x4000_0000, "{user}");
    assert_eq!(status["Uid"], [user.to_string().as_str(); 4].join("\t"));
    assert_eq!(status["Gid"], status["Uid"]);
    assert_eq!(status["Groups"], "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!(status["NoNewPrivs"], "1");
    for kind in ["mnt", "net", "ipc", "uts"] {
        assert_ne!(
            namespace(pid, kind),
            namespace(server.pid(), kind),
            "{kind}"
        );
    }
    let data = server.data();
    let data = data.to_str().unwrap();
    let mut seen = Vec::new();
    visible(pid, "", &mut seen);
    for path in &seen {
        let own = [format!("{data}/rpc"), format!("{data}/server")];
        let ours = own
            .iter()
            .any(|own| path.starts_with(own) || own.starts_with(path));
        assert!(ours, "{path} is seen");
    }
    assert!(seen.contains(&format!("{data}/rpc/agent.sock")), "{seen:?}");
}

#[tokio::test]
async fn a_control_plane_that_dies_is_started_again() {
    let mut server = Server::start();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let (pid, events) = count(&client, &sandbox).await;
    let first = server.control_plane();
    kill(first);
    breaks(events).await;
    // Callers wait in the listener, which outlives who served it.
    let client = server.client();
    let listed = client.sandboxes().await.unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|one| (one.id.as_str(), one.status.as_str()))
            .collect::<Vec<_>>(),
        [(sandbox.id.as_str(), "running")]
    );
    assert_ne!(server.control_plane(), first);
    counts_on(&client, &sandbox, pid).await;
    assert!(client.delete_sandbox(&sandbox.id).await.unwrap());
    // With `wrenn up` it ends, whatever way that ends.
    let last = server.control_plane();
    server.kill();
    until(
        "the control plane's end",
        Duration::from_secs(5),
        || async { (!fs::exists(format!("/proc/{last}")).unwrap()).then_some(()) },
    )
    .await;
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn either_half_ends_and_comes_back_under_running_sandboxes() {
    let mut apart = Apart::new();
    // Without an agent: what the database knows is answered, and what needs the agent says so.
    apart.start_server();
    let client = apart.client();
    assert_eq!(client.sandboxes().await.unwrap(), []);
    let refused = client
        .create_sandbox(&CreateSandbox::default())
        .await
        .unwrap_err();
    let told = refused.api().unwrap_or_else(|| panic!("{refused}"));
    let status = told.status.map(|status| status.as_u16());
    assert_eq!(
        (told.code.as_str(), status),
        ("unavailable", Some(503)),
        "{refused}"
    );
    assert!(told.message.contains("agent"), "{refused}");

    apart.start_agent();
    let sandbox = TestSandbox::create(&client).await;
    let boot = sandbox.sh("cat /proc/sys/kernel/random/boot_id").await;
    let (pid, events) = count(&client, &sandbox).await;

    // The agent ends: its database still lists, what streams breaks, what runs in the guest runs on.
    apart.kill_agent();
    breaks(events).await;
    assert_eq!(client.sandboxes().await.unwrap().len(), 1);
    let refused = sandbox
        .exec(&crate::harness::shell("true"))
        .await
        .unwrap_err();
    assert!(
        refused.api().is_some_and(|told| told.retryable),
        "{refused}"
    );
    let begun = Instant::now();
    apart.start_agent();
    assert_eq!(
        sandbox.sh("cat /proc/sys/kernel/random/boot_id").await,
        boot
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    counts_on(&client, &sandbox, pid).await;

    // The control plane ends, in either way, and the agent does not care.
    for kill in [true, false] {
        let (_, events) = count(&apart.client(), &sandbox).await;
        if kill {
            apart.kill_server();
        } else {
            apart.stop_server();
        }
        breaks(events).await;
        apart.start_server();
        let client = apart.client();
        let listed = client.sandboxes().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (&listed[0].id, listed[0].status.as_str()),
            (&sandbox.id, "running")
        );
        counts_on(&client, &sandbox, pid).await;
    }
    assert!(apart.client().delete_sandbox(&sandbox.id).await.unwrap());
}

#[tokio::test]
async fn timeouts_are_kept_while_nobody_serves_the_api() {
    let mut apart = Apart::new();
    apart.start_agent();
    apart.start_server();
    let request = CreateSandbox {
        timeout_sec: Some(10),
        on_timeout: Some("pause".into()),
        ..Default::default()
    };
    let sandbox = TestSandbox::create_with(&apart.client(), request).await;
    apart.stop_server();
    let generations = apart
        .data()
        .join("store/sandboxes")
        .join(&sandbox.id)
        .join("generations");
    until("its pause", Duration::from_secs(60), || async {
        let published = fs::read_dir(&generations).ok()?.next().is_some();
        published.then_some(())
    })
    .await;
    apart.start_server();
    let client = apart.client();
    until("the news", Duration::from_secs(30), || async {
        let now = client.sandbox(&sandbox.id).await.unwrap();
        (now.status == "paused").then_some(())
    })
    .await;
    assert!(client.delete_sandbox(&sandbox.id).await.unwrap());
}
