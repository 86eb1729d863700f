//! The stage: an agent, a control plane and the wire between them, each in a half of its own, and the time that passes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wrenn_agent::{Agent, Boot, DataDir, Host, Limits, Store};
use wrenn_control::{AgentAddress, ControlPlane, DatabaseUrl};
use wrenn_model::MiB;

use super::half::Half;
use super::machines::SimulatedVmm;
use super::slots::SimulatedSlots;
use super::threads::Threads;
use super::wire::Wire;
use super::world::World;

/// The template of every sandbox.
pub(crate) const TEMPLATE: &str = "nothing";
/// The memory of every guest: the least that may be asked for.
pub(crate) const MEMORY: MiB = MiB(128);
/// A clock that is paused begins behind the machine's, unless it begins well ahead of it.
const AHEAD: Duration = Duration::from_secs(3600);
/// How often in a row nothing must happen before nothing does: a call takes two looks to be taken.
const QUIET: u32 = 3;
/// How often threads that are at work are looked at.
const GLANCE: Duration = Duration::from_micros(50);
/// How far time goes at once while nothing happens, at the least and at the most.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(20);
/// The same at the most while an answer is waited for: what is asked is meant to be asked now.
const SOON: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Stage {
    pub(crate) world: World,
    folder: PathBuf,
    began: Instant,
    wire: Half,
    agent: Option<Half>,
    control: Option<(Half, Plane)>,
    threads: Threads,
    /// For how long nothing has happened.
    quiet: Duration,
    /// How often time has passed.
    pub(crate) steps: u64,
}

/// The control plane, once it is open.
type Plane = Arc<Mutex<Option<ControlPlane>>>;

impl Stage {
    /// Nobody is there yet.
    pub(crate) fn new(world: World, folder: &Path) -> Self {
        let began = Instant::now();
        let wire = Half::new(began + AHEAD);
        put_template(&folder.join("store/templates").join(TEMPLATE)).unwrap();
        let relay = Wire::new(world.clone(), &folder.join("agent.sock"));
        let socket = folder.join("wire.sock");
        wire.spawn(async move {
            relay.serve(UnixListener::bind(socket).unwrap()).await;
        });
        let stage = Self {
            world,
            folder: folder.to_owned(),
            began,
            wire,
            agent: None,
            control: None,
            threads: Threads::default(),
            quiet: Duration::ZERO,
            steps: 0,
        };
        stage.wire.pass();
        stage
    }

    fn half(&self) -> Half {
        Half::new(self.began + AHEAD + self.now())
    }

    /// Since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.world.lock().now
    }

    /// Starts an agent, unless there is one.
    pub(crate) fn start_agent(&mut self) {
        if self.agent.is_some() {
            return;
        }
        self.world.decide("the agent starts");
        let half = self.half();
        let (world, folder) = (self.world.clone(), self.folder.clone());
        half.spawn(async move {
            if let Err(error) = serve(world.clone(), &folder).await {
                world
                    .lock()
                    .never(format!("the agent ended by itself: {error}"));
            }
        });
        self.agent = Some(half);
    }

    /// The agent is gone, wherever it was.
    pub(crate) fn end_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            self.world.decide("the agent dies");
            self.world.lock().agents += 1;
            drop(agent);
            self.settle();
        }
    }

    /// Starts a control plane, unless there is one.
    pub(crate) fn start_control(&mut self) {
        if self.control.is_some() {
            return;
        }
        self.world.decide("the control plane starts");
        let half = self.half();
        let plane = Plane::default();
        let database = DatabaseUrl::file(self.folder.join("wrenn.db"));
        let agent = AgentAddress::Unix(self.folder.join("wire.sock"));
        let limits = wrenn_control::Limits {
            template: TEMPLATE.parse().ok(),
            memory: MEMORY,
            ..Default::default()
        };
        let (world, opened) = (self.world.clone(), plane.clone());
        half.spawn(async move {
            match ControlPlane::open(&database, agent, limits).await {
                Ok(control) => *opened.lock().unwrap() = Some(control),
                Err(error) => world
                    .lock()
                    .never(format!("the control plane ended by itself: {error:?}")),
            }
        });
        self.control = Some((half, plane));
    }

    /// The control plane is gone, wherever it was.
    pub(crate) fn end_control(&mut self) {
        if let Some(control) = self.control.take() {
            self.world.decide("the control plane dies");
            drop(control);
            self.settle();
        }
    }

    /// Has somebody call the control plane. Nobody hears of it when there is none, or it dies before its answer.
    pub(crate) fn call<T, W>(&self, work: impl FnOnce(ControlPlane) -> W) -> Option<JoinHandle<T>>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        let (half, plane) = self.control.as_ref()?;
        let control = plane.lock().unwrap().clone()?;
        Some(half.spawn(work(control)))
    }

    /// Calls the control plane and waits for its answer.
    pub(crate) fn consult<T, W>(&mut self, work: impl FnOnce(ControlPlane) -> W) -> Option<T>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        let called = self.call(work)?;
        self.settle();
        while !called.is_finished() {
            self.step(SOON);
        }
        let (half, _) = self.control.as_ref()?;
        Some(half.finish(called))
    }

    /// Does this beside the agent, with its socket, and gives back what came of it.
    pub(crate) fn ask<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let asked = self.wire.spawn(work);
        self.settle();
        while !asked.is_finished() {
            self.step(SOON);
        }
        self.wire.finish(asked)
    }

    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.folder.join("store/sandboxes")
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now() + time;
        self.settle();
        while self.now() < until {
            let left = until - self.now();
            self.step(left);
        }
    }

    /// Lets a little time pass, more of it the longer nothing has happened.
    pub(crate) fn step(&mut self, most: Duration) {
        let by = (self.quiet * 2).clamp(SHORTEST, LONGEST).min(most);
        self.jump(by);
    }

    /// Lets time pass at once: everything that is due in between is late.
    pub(crate) fn jump(&mut self, by: Duration) {
        self.steps += 1;
        self.quiet += by;
        self.world.lock().now += by;
        for half in self.halves() {
            half.advance(by);
        }
        self.settle();
    }

    fn halves(&self) -> impl Iterator<Item = &Half> {
        let control = self.control.iter().map(|(half, _)| half);
        [&self.wire].into_iter().chain(&self.agent).chain(control)
    }

    /// Returns when all that can happen at this moment has happened.
    pub(crate) fn settle(&mut self) {
        let mut looks = 0;
        while looks < QUIET {
            let before = self.world.lock().events;
            for half in self.halves() {
                half.pass();
            }
            if self.world.lock().events != before {
                self.quiet = Duration::ZERO;
                looks = 0;
                continue;
            }
            looks += 1;
            if looks == QUIET && !self.rests() {
                looks = 0;
            }
        }
    }

    /// Whether no thread is at work, and none has left anything to do.
    fn rests(&mut self) -> bool {
        let mut rested = true;
        while !self.threads.sleep() {
            rested = false;
            std::thread::sleep(GLANCE);
        }
        rested && !self.halves().any(Half::woken)
    }
}

async fn serve(
    world: World,
    folder: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let data = DataDir::open(folder)?;
    let instance = data.instance().clone();
    let store = Store::open(data, &folder.join("cache")).await?;
    let vmm = SimulatedVmm::open(world.clone(), &folder.join("store"))?;
    let slots = SimulatedSlots { world, instance };
    let boot = Boot {
        kernel: "no-kernel".into(),
        initrd: "no-initrd".into(),
    };
    let driver = (Arc::new(vmm) as _, Arc::new(wrenn_disk::Qcow2) as _);
    let host = Host::with(store, driver, Arc::new(slots), boot)?;
    // Its guests take nothing of what they are promised.
    let host = host.limited(Limits {
        memory_overcommit: "16".parse()?,
        ..Limits::default()
    })?;
    Agent::start(host)?.serve(CancellationToken::new()).await?;
    Ok(())
}

/// A template without an operating system: nobody boots it.
fn put_template(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let disk = File::create(folder.join("disk.ext4"))?;
    disk.set_len(1 << 20)?;
    disk.set_permissions(Permissions::from_mode(0o444))?;
    let about = r#"{"image_id": "none", "recipe_key": "none", "created_unix_ms": 1}"#;
    fs::write(folder.join("template.json"), about)
}
