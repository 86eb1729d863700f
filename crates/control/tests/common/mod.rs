//! A control plane for a test, over a fake agent.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::PathBuf;
use std::time::Duration;

use wrenn_control::{
    AgentAddress, Command, ControlPlane, DatabaseUrl, Limits, NewSandbox, Sandbox, Wait,
};
use wrenn_model::SandboxId;
use wrenn_testkit::agent::FakeAgent;

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) agent: FakeAgent,
    pub(crate) plane: ControlPlane,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agent = FakeAgent::start(&folder.path().join("agent.sock")).unwrap();
        let plane = open(&folder).await;
        Self {
            folder,
            agent,
            plane,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    pub(crate) async fn create(&self) -> Sandbox {
        self.plane
            .sandboxes()
            .create(NewSandbox::default(), Wait::Running)
            .await
            .unwrap()
            .sandbox
    }

    pub(crate) async fn get(&self, id: &SandboxId) -> Sandbox {
        self.plane.sandboxes().get(id).await.unwrap()
    }

    /// The server is killed and started again.
    pub(crate) async fn reopen(&mut self) {
        self.plane.close().await;
        self.plane = open(&self.folder).await;
    }

    pub(crate) async fn until(&self, id: &SandboxId, what: impl Fn(&Sandbox) -> bool) -> Sandbox {
        for _ in 0..200 {
            let row = self.get(id).await;
            if what(&row) {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it stayed {:?}", self.get(id).await);
    }
}

/// The sweeps of these tests are those that they ask for.
pub(crate) async fn open(folder: &tempfile::TempDir) -> ControlPlane {
    let limits = Limits {
        sweep_every: Duration::from_secs(3600),
        ..Limits::default()
    };
    ControlPlane::open(
        &DatabaseUrl::file(folder.path().join("wrenn.db")),
        AgentAddress::Unix(folder.path().join("agent.sock")),
        limits,
    )
    .await
    .unwrap()
}

pub(crate) fn command(cmd: &str, args: &[&str]) -> Command {
    Command {
        cmd: cmd.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        timeout_sec: 5,
        ..Command::default()
    }
}
