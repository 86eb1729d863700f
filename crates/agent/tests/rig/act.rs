//! The operations as a caller brings them about, and what becomes of their sandboxes.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wrenn_testkit::act::{Act, Fate};

use super::agent::TEMPLATE;
use super::client::{Answer, Client, MEMORY_MB};
use super::lane::{self, Lane};

/// How long a sandbox may take to be something definite.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// Does it, up to its end; a death of the agent is one.
pub(crate) async fn act(lane: &mut Lane, id: &str, act: Act) -> Answer {
    let client = &lane.client;
    match act {
        Act::Create => client.create(id).await,
        Act::Pause | Act::Retire => client.pause(id).await,
        Act::Resume => client.resume(id).await,
        Act::Destroy => client.destroy(id).await,
        Act::Export => client.export(id).await.map(drop),
        Act::Import => client.import(id, &lane.archive).await,
        Act::Network => client.forbid_internet(id).await,
        Act::Release => {
            let machine = Pid::from_raw(lane.machine(id));
            kill(machine, Signal::SIGKILL).unwrap();
            while client
                .find(id)
                .await?
                .is_some_and(|found| found.status != "error")
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        }
        Act::Recover => lane.recovers().await,
        Act::Clone => client.create_from(id, lane::SNAPSHOT, MEMORY_MB).await,
        Act::Take => client.create_from(id, TEMPLATE, MEMORY_MB).await,
        Act::Settle | Act::Image => client.create_from(id, TEMPLATE, lane.new_memory_mb()).await,
        Act::Fill => client.warm(1, 0).await,
        Act::StandBy => client.warm(0, 1).await,
        Act::Snapshot => client.snapshot(id, &copy_of(id)).await,
        Act::Fork => client.fork(id, &copy_of(id)).await,
    }
}

/// The name of a sandbox's snapshot, and the id of its child.
fn copy_of(id: &str) -> String {
    let reversed: String = id.trim_start_matches("sb-").chars().rev().collect();
    format!("sb-{reversed}")
}

/// Brings the sandbox to where the operation begins.
pub(crate) async fn prepare(lane: &Lane, id: &str, act: Act, fate: Fate) {
    if act == Act::Take {
        lane.client.warm(1, 0).await.unwrap();
    }
    if fate == Fate::Gone {
        return;
    }
    lane.client.create(id).await.unwrap();
    lane.client.exec(id, &["keep", id]).await.unwrap();
    if fate == Fate::Paused {
        lane.client.pause(id).await.unwrap();
    }
}

/// Waits until the sandbox is one of these. One that could not be made is told as an error for a moment.
pub(crate) async fn comes_to(lane: &Lane, id: &str, fates: [Fate; 2]) -> Fate {
    let limit = Instant::now() + SETTLE_LIMIT;
    loop {
        let found = lane.client.find(id).await.unwrap();
        let fate = match &found {
            None => Some(Fate::Gone),
            Some(found) if !found.transition.is_empty() => None,
            Some(found) => match found.status.as_str() {
                // One that has died says so until somebody has noticed.
                "running" => {
                    let answers = lane.client.exec(id, &["kept"]).await.is_ok();
                    answers.then_some(Fate::Running)
                }
                "paused" => Some(Fate::Paused),
                "error" => Some(Fate::Error),
                _ => None,
            },
        };
        if let Some(fate) = fate.filter(|fate| fates.contains(fate)) {
            return fate;
        }
        assert!(Instant::now() < limit, "none of {fates:?}: {found:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What was made of the sandbox is there if that was told, can be used, and goes.
pub(crate) async fn prove_copy(lane: &Lane, id: &str, act: Act, told: bool) {
    let (client, copy) = (&lane.client, copy_of(id));
    if act == Act::Snapshot {
        let there = client.snapshots().await.unwrap().contains(&copy);
        assert!(there || !told, "the snapshot is not there");
        if there {
            let child = super::lane::fresh_id();
            client.create_from(&child, &copy, MEMORY_MB).await.unwrap();
            client.delete_snapshot(&copy).await.unwrap();
            assert_eq!(client.exec(&child, &["kept"]).await.unwrap(), id);
            client.pause(&child).await.unwrap();
            client.resume(&child).await.unwrap();
            assert_eq!(client.exec(&child, &["kept"]).await.unwrap(), id);
            client.destroy(&child).await.unwrap();
        }
        assert!(client.delete_snapshot(&copy).await.is_err());
    }
    if act == Act::Fork {
        let child = client.find(&copy).await.unwrap();
        assert!(child.is_some() || !told, "the child is not there");
        if child.is_some_and(|child| child.status == "running") {
            assert_eq!(client.exec(&copy, &["kept"]).await.unwrap(), id);
            client.exec(&copy, &["keep", "other"]).await.unwrap();
            assert_eq!(client.exec(id, &["kept"]).await.unwrap(), id);
        }
        client.destroy(&copy).await.unwrap();
    }
    if act.needs_images() {
        client.drain().await.unwrap();
    }
}

/// That the sandbox is what it was, can be paused and resumed once more, and leaves nothing when it is destroyed.
pub(crate) async fn prove(lane: &Lane, id: &str, fate: Fate, act: Act) {
    let client: &Client = &lane.client;
    match fate {
        Fate::Gone | Fate::Error => {}
        Fate::Running | Fate::Paused => {
            if fate == Fate::Paused {
                client.resume(id).await.unwrap();
            }
            let kept = client.exec(id, &["kept"]).await.unwrap();
            let expected = match act {
                Act::Create | Act::Take | Act::Settle | Act::Image => "",
                Act::Clone => lane::SNAPSHOT,
                Act::Import => "archived",
                _ => id,
            };
            assert_eq!(kept, expected);
            let count = client.count(id).await.unwrap();
            client.pause(id).await.unwrap();
            client.resume(id).await.unwrap();
            let later = client.count(id).await.unwrap();
            assert_eq!(later.boot, count.boot);
            assert!(later.count > count.count);
        }
    }
    client.destroy(id).await.unwrap();
    assert!(client.find(id).await.unwrap().is_none());
    lane.assert_nothing_left().await;
}
