//! The operations as a caller brings them about, and what their sandboxes are before and after.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wrenn_agent::Operation;

use super::client::{Answer, Client};
use super::lane::Lane;

/// How long a sandbox may take to be something definite.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// How an operation is brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Pause,
    Resume,
    Destroy,
    /// A pause that succeeds gives its virtual machine back.
    Retire,
    /// A virtual machine that is killed is given back.
    Release,
    Export,
    Import,
    /// The internet is forbidden.
    Network,
    /// The agent dies, and its next start finds what it left.
    Recover,
}

/// What a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Gone,
    Running,
    Paused,
    Error,
}

impl Act {
    /// One that is not known here is not tested, and may not be forgotten.
    pub(crate) fn of(operation: &Operation) -> Self {
        match operation.name {
            "create" => Self::Create,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "destroy" => Self::Destroy,
            "retire" => Self::Retire,
            "release" => Self::Release,
            "export" => Self::Export,
            "import" => Self::Import,
            "network" => Self::Network,
            "recover" => Self::Recover,
            other => panic!("how is {other} brought about?"),
        }
    }

    /// What the sandbox is before, and when it has been done.
    pub(crate) fn path(self) -> (Fate, Fate) {
        match self {
            Self::Create => (Fate::Gone, Fate::Running),
            Self::Pause | Self::Retire => (Fate::Running, Fate::Paused),
            Self::Resume => (Fate::Paused, Fate::Running),
            Self::Destroy => (Fate::Running, Fate::Gone),
            Self::Release => (Fate::Running, Fate::Error),
            Self::Export => (Fate::Paused, Fate::Paused),
            Self::Import => (Fate::Gone, Fate::Paused),
            Self::Network | Self::Recover => (Fate::Running, Fate::Running),
        }
    }

    /// Whether a fault in it is tried again until it is done, since it must be.
    pub(crate) fn insists(self) -> bool {
        matches!(
            self,
            Self::Destroy | Self::Retire | Self::Release | Self::Recover
        )
    }
}

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
