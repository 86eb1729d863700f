//! What the agent says of itself, over its real socket: whom it answers, for which request it does something, and that all
//! it does is counted, by the names of its own list ([`wrenn_agent::OPERATIONS`]).
//!
//! It has the matrix's rig: the VMM is testkit's, and everything else is real.

#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]

mod rig;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use connectrpc::ErrorCode;
use futures::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::act::{SETTLE_LIMIT, act, comes_to, prepare, prove, prove_copy};
use rig::client::MEMORY_MB;
use rig::lane::{Lane, fresh_id};
use rig::suite::{self, Case};
use wrenn_agent::{OPERATIONS, Operation};
use wrenn_hostagent_api::protocol;
use wrenn_testkit::act::Act;
use wrenn_testkit::{vmm, world};

fn main() -> ExitCode {
    if let Some(code) = vmm::run_if_asked().or_else(rig::agent::run_if_asked) {
        return code;
    }
    world::require();
    let counted = OPERATIONS.iter().map(Claim::Counted);
    let others = [
        Claim::Load,
        Claim::Overwrite,
        Claim::Release,
        Claim::Request,
        Claim::Watch,
    ];
    suite::run(counted.chain(others).collect())
}

/// One case.
#[derive(Debug)]
enum Claim {
    /// This operation and its steps are counted.
    Counted(&'static Operation),
    /// What is promised goes up and down with sandboxes, and with what stands ready for them.
    Load,
    /// What is made of a name while it is overwritten is the one version or the other, and whole.
    Overwrite,
    /// A caller of another release is answered if its major version is ours.
    Release,
    /// What is done for a request says so in the log.
    Request,
    /// What changes is told to whoever listens, asked for or not.
    Watch,
}

impl Case for Claim {
    fn name(&self) -> String {
        match self {
            Self::Counted(operation) => format!("{} is counted", operation.name),
            Self::Load => "promises are counted".into(),
            Self::Overwrite => "a name is overwritten while it is used".into(),
            Self::Release => "another major version is refused".into(),
            Self::Request => "the log says for which request".into(),
            Self::Watch => "what changes is told".into(),
        }
    }

    fn alone(&self) -> bool {
        false
    }

    async fn run(&self, lane: &mut Lane) {
        match self {
            Self::Counted(operation) => counted(lane, operation).await,
            Self::Load => load(lane).await,
            Self::Overwrite => overwrite(lane).await,
            Self::Release => release(lane).await,
            Self::Request => request(lane).await,
            Self::Watch => watch(lane).await,
        }
        lane.assert_undisturbed().await;
    }
}

/// What a line of the metrics that begins so says.
async fn told(lane: &Lane, line: &str) -> Option<f64> {
    let text = lane.client.metrics().await.unwrap();
    let value = text.lines().find_map(|there| there.strip_prefix(line))?;
    Some(value.trim().parse().unwrap())
}

async fn counted(lane: &mut Lane, operation: &Operation) {
    let (id, what) = (fresh_id(), Act::of(operation.name));
    let line = format!(
        "wrenn_agent_operation_duration_seconds_count{{operation=\"{}\",result=\"ok\"}}",
        operation.name
    );
    let (before, done) = what.path();
    prepare(lane, &id, what, before).await;
    let already = if what == Act::Recover {
        lane.agent.kill();
        lane.start("");
        0.0
    } else {
        told(lane, &line).await.unwrap_or_default()
    };
    act(lane, &id, what).await.unwrap();
    comes_to(lane, &id, [done, done]).await;
    // What is announced may have a moment to go.
    let limit = Instant::now() + SETTLE_LIMIT;
    while told(lane, &line).await.unwrap_or_default() <= already {
        assert!(Instant::now() < limit, "{} is not counted", operation.name);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for point in operation.points() {
        // Looked for after a pause that nobody ended, and only then.
        if point == "recover.generation" {
            continue;
        }
        let step = point.rsplit('.').next().unwrap();
        let line = format!(
            "wrenn_agent_step_duration_seconds_count{{operation=\"{}\",step=\"{step}\",result=\"ok\"}}",
            operation.name
        );
        assert!(told(lane, &line).await >= Some(1.0), "{line}");
    }
    prove_copy(lane, &id, what, true).await;
    prove(lane, &id, done, what).await;
}

/// Slots, memory and disk.
async fn promised(lane: &Lane) -> [f64; 3] {
    let mut used = [0.0; 3];
    let names = ["slots_used", "promised_memory_bytes", "promised_disk_bytes"];
    for (used, name) in used.iter_mut().zip(names) {
        *used = told(lane, &format!("wrenn_agent_{name} ")).await.unwrap();
    }
    used
}

async fn load(lane: &mut Lane) {
    for limit in [
        "slots_limit",
        "promised_memory_limit_bytes",
        "promised_disk_limit_bytes",
        "starts_waiting_limit",
        "start_turns_limit",
    ] {
        let line = format!("wrenn_agent_{limit} ");
        assert!(told(lane, &line).await > Some(0.0), "{limit}");
    }
    let (id, idle) = (fresh_id(), promised(lane).await);
    assert_eq!(idle[0], 1.0, "the neighbour's");
    lane.client.create(&id).await.unwrap();
    let one = promised(lane).await;
    assert_eq!(one, idle.map(|used| 2.0 * used));
    lane.client.pause(&id).await.unwrap();
    assert_eq!(promised(lane).await, idle);
    lane.client.resume(&id).await.unwrap();
    assert_eq!(promised(lane).await, one);
    lane.client.destroy(&id).await.unwrap();
    assert_eq!(promised(lane).await, idle);
    lane.client.warm(1, 1).await.unwrap();
    assert_eq!(promised(lane).await, idle.map(|used| 3.0 * used));
    lane.client.drain().await.unwrap();
    assert_eq!(promised(lane).await, idle);
    let most = told(lane, "wrenn_agent_starts_in_flight_most ").await;
    assert!(most >= Some(1.0), "{most:?}");
    for nobody in ["starts_waiting", "start_turns_used", "starts_in_flight"] {
        let line = format!("wrenn_agent_{nobody} ");
        assert_eq!(told(lane, &line).await, Some(0.0), "{nobody}");
    }
}

/// How often a name is overwritten, and how many are made from it meanwhile, each again and again.
const VERSIONS: usize = 20;
const MAKERS: usize = 3;

async fn overwrite(lane: &mut Lane) {
    const NAME: &str = "overwritten";
    let source = fresh_id();
    let client = &lane.client;
    client.create(&source).await.unwrap();
    client.exec(&source, &["keep", "0"]).await.unwrap();
    client.snapshot(&source, NAME).await.unwrap();
    // The latest that was told to be there.
    let latest = AtomicUsize::new(0);
    let writing = async {
        for version in 1..=VERSIONS {
            let text = version.to_string();
            client.exec(&source, &["keep", &text]).await.unwrap();
            client.overwrite(&source, NAME).await.unwrap();
            latest.store(version, Ordering::Relaxed);
        }
    };
    let making = futures::future::join_all((0..MAKERS).map(|_| async {
        loop {
            let (child, before) = (fresh_id(), latest.load(Ordering::Relaxed));
            client.create_from(&child, NAME, MEMORY_MB).await.unwrap();
            let kept = client.exec(&child, &["kept"]).await.unwrap();
            let version: usize = kept.parse().unwrap();
            let after = latest.load(Ordering::Relaxed) + 1;
            assert!(
                (before..=after).contains(&version),
                "{version} of {before} to {after}"
            );
            client.destroy(&child).await.unwrap();
            if before == VERSIONS {
                break;
            }
        }
    }));
    futures::future::join(writing, making).await;
    client.delete_snapshot(NAME).await.unwrap();
    client.destroy(&source).await.unwrap();
    lane.assert_nothing_left().await;
}

async fn release(lane: &mut Lane) {
    let (id, own) = (fresh_id(), protocol::CURRENT);
    let newer = lane.client_with(protocol::HEADER, &format!("{}.9999", own.major));
    newer.create(&id).await.unwrap();
    newer.destroy(&id).await.unwrap();
    for major in [own.major - 1, own.major + 1] {
        let version = format!("{major}.0");
        let other = lane.client_with(protocol::HEADER, &version);
        for refused in [other.create(&id).await, other.export(&id).await.map(drop)] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code, ErrorCode::Unimplemented, "{refused:?}");
            let message = refused.message.unwrap_or_default();
            assert!(message.contains(&version), "{message}");
        }
    }
    assert!(lane.client.find(&id).await.unwrap().is_none());
}

async fn request(lane: &mut Lane) {
    const ID: &str = "req-of-this-test";
    let (id, client) = (fresh_id(), lane.client_with(protocol::REQUEST_ID, ID));
    client.create(&id).await.unwrap();
    client.pause(&id).await.unwrap();
    client.forbid_internet(&id).await.unwrap();
    // Nobody's request in between.
    lane.client.resume(&id).await.unwrap();
    client.destroy(&id).await.unwrap();
    let log = lane.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&id)).collect();
    for what in [
        "created",
        "captured for a pause",
        "network policy",
        "to=Stopping",
    ] {
        let mut of_it = lines.iter().filter(|line| line.contains(what));
        assert!(of_it.any(|line| line.contains(ID)), "{what}: {lines:#?}");
    }
    let mut resumed = lines.iter().filter(|line| line.contains("resumed"));
    assert!(resumed.all(|line| !line.contains(ID)), "{lines:#?}");

    let wrong = lane.client_with(protocol::REQUEST_ID, "no id, but somebody's words");
    wrong.destroy(&id).await.unwrap();
    assert!(!lane.log().contains("somebody's words"));
}

async fn watch(lane: &mut Lane) {
    let mut told = std::pin::pin!(lane.client.watch().await.unwrap());
    assert!(told.next().await.unwrap().all);
    let id = fresh_id();
    // Until the sandbox is as it should be, whenever it is told of.
    let mut becomes = async |status: Option<&str>| {
        let follow = async {
            loop {
                let message = told.next().await.unwrap();
                if !message.sandbox_ids.contains(&id) {
                    continue;
                }
                let now = lane.client.find(&id).await.unwrap();
                if now.as_ref().map(|sandbox| sandbox.status.as_str()) == status {
                    break;
                }
            }
        };
        let told = tokio::time::timeout(SETTLE_LIMIT, follow).await;
        told.unwrap_or_else(|_| panic!("nobody told of {status:?}"));
    };
    lane.client.create(&id).await.unwrap();
    becomes(Some("running")).await;
    lane.client.pause(&id).await.unwrap();
    becomes(Some("paused")).await;
    lane.client.resume(&id).await.unwrap();
    becomes(Some("running")).await;
    // Nobody asked for this.
    kill(Pid::from_raw(lane.machine(&id)), Signal::SIGKILL).unwrap();
    becomes(Some("error")).await;
    lane.client.destroy(&id).await.unwrap();
    becomes(None).await;
}
