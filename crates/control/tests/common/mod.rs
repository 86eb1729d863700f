//! A control plane for a test, over a fake agent and a real database, whichever of the two it is
//! (`wrenn_testkit::database`).

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wrenn_control::{
    AgentAddress, Caller, Command, ControlPlane, DatabaseUrl, Filter, Limits, NewSandbox, Sandbox,
    Wait,
};
use wrenn_model::{KeyId, SandboxId, Status};
use wrenn_testkit::agent::FakeAgent;
use wrenn_testkit::postgres::Cluster;

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: DatabaseUrl,
    pub(crate) agent: FakeAgent,
    pub(crate) plane: ControlPlane,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = database(folder.path());
        Self::on(folder, database).await
    }

    /// Over a database of PostgreSQL's, whatever the others are on.
    pub(crate) async fn on_postgresql(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::on(folder, cluster.database().parse().unwrap()).await
    }

    async fn on(folder: tempfile::TempDir, database: DatabaseUrl) -> Self {
        let socket = folder.path().join("agent.sock");
        let agent = FakeAgent::start(&socket).unwrap();
        let plane = open(&database, &socket).await;
        Self {
            folder,
            database,
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

    /// Every sandbox, as it is stored.
    pub(crate) async fn list(&self) -> Vec<Sandbox> {
        let all = Filter::default();
        self.plane.sandboxes().list(&all).await.unwrap()
    }

    /// Returns when the store has it like this, whoever asks or not.
    pub(crate) async fn stands(&self, id: &SandboxId, status: Status) {
        for _ in 0..200 {
            let all = self.list().await;
            if all.iter().any(|row| row.id == *id && row.status == status) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?} is not {status}", self.list().await);
    }

    /// The server is ended and started again.
    pub(crate) async fn reopen(&mut self) {
        self.plane.close().await;
        self.plane = open(&self.database, &self.socket()).await;
    }

    /// Another server over the same database and agent, which can be killed.
    pub(crate) async fn another(&self) -> Mortal {
        self.another_ahead(Duration::ZERO).await
    }

    /// The same, on a machine whose clock is so much ahead.
    pub(crate) async fn another_ahead(&self, ahead: Duration) -> Mortal {
        let (database, socket) = (self.database.clone(), self.socket());
        let (give, opened) = oneshot::channel();
        let (alive, killed) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                // The wall clock goes with tokio's (`wrenn_sys::wall`).
                if !ahead.is_zero() {
                    tokio::time::pause();
                    tokio::time::advance(ahead).await;
                    tokio::time::resume();
                }
                let plane = open(&database, &socket).await;
                drop(give.send((Handle::current(), plane)));
                drop(killed.await);
            });
            runtime.shutdown_background();
        });
        let (runtime, plane) = opened.await.unwrap();
        Mortal {
            runtime,
            plane,
            life: Some((alive, thread)),
        }
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

/// How long another server is waited for.
pub(crate) const OTHERS_TAKE: Duration = Duration::from_millis(300);

/// A control plane on a runtime of its own.
pub(crate) struct Mortal {
    runtime: Handle,
    plane: ControlPlane,
    /// What it lives as long as, and what ends then.
    life: Option<(oneshot::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl Mortal {
    /// Has it do something, which ends with it.
    pub(crate) fn call<T, W>(&self, work: impl FnOnce(ControlPlane) -> W) -> JoinHandle<T>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        self.runtime.spawn(work(self.plane.clone()))
    }

    /// It is gone, wherever it was.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let (alive, thread) = self.life.take().unwrap();
        drop(alive);
        thread.join().unwrap();
    }
}

/// A new, empty database; its file, if it is one, is in the folder.
pub(crate) fn database(folder: &Path) -> DatabaseUrl {
    wrenn_testkit::database::new(folder).parse().unwrap()
}

/// The sweeps of these tests are those that they ask for.
pub(crate) async fn open(database: &DatabaseUrl, socket: &Path) -> ControlPlane {
    let limits = Limits {
        sweep_every: Duration::from_secs(3600),
        others_take: OTHERS_TAKE,
        ..Limits::default()
    };
    let agent = AgentAddress::Unix(socket.to_owned());
    ControlPlane::open(database, agent, limits).await.unwrap()
}

/// Somebody with a key of this team, for these scopes.
pub(crate) fn caller(team: &str, scopes: &str) -> Caller {
    Caller {
        key: KeyId::random(),
        name: "somebody".into(),
        team: team.parse().unwrap(),
        scopes: scopes.parse().unwrap(),
    }
}

pub(crate) fn command(cmd: &str, args: &[&str]) -> Command {
    Command {
        cmd: cmd.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        timeout_sec: 5,
        ..Command::default()
    }
}
