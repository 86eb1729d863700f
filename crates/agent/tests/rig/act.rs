//! The operations as a caller brings them about, and what becomes of their sandboxes.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wrenn_testkit::act::{Act, Fate};

use super::client::{Answer, Client};
use super::lane::Lane;

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
    }
}

/// Brings the sandbox to where the operation begins.
pub(crate) async fn prepare(lane: &Lane, id: &str, fate: Fate) {
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
                "running" => Some(Fate::Running),
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
                Act::Create => "",
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
