//! The host agent: the life of every sandbox on this machine. It owns the truth about what exists.
//!
//! ```text
//!   socket    where the RPC is served, and for whom
//!   service   the RPC: requests in, faults out
//!   Agent     create, destroy, find; one Sandbox task for each
//!   admission who may have a virtual machine, by what the host has, and in turn
//!   sandbox   the task: events of the lifecycle, their effects
//!   handle    a sandbox as the others hold it: requests in, a view out
//!   driver    which VMM runs guests; watched_disk stops one whose disk is full, where the VMM does not
//!   steps     how a sandbox gets a virtual machine, forwards and backwards
//!   capture   how what one is at one instant is kept: for its sandbox, for a template, for children
//!   library   what is kept by name: snapshots, boot_images; fork: sandboxes of what another is
//!   pools     what stands ready for creations, each a spare; refill keeps them full
//!   archive   generations out of this host and into it; scrub reads those that lie here, first what is in doubt (doubts)
//!   backup    a data directory into a backup, and out of it
//!   recovery  the same after a restart, from the journal
//!   sweep     what nobody owns any more goes
//!   clock     guests' clocks follow the host's when that is set
//! ```

mod activity;
mod admission;
mod archive;
mod backup;
mod boot_images;
mod capture;
mod clock;
mod connections;
mod data_dir;
mod doubts;
mod driver;
mod exec;
mod failpoint;
mod failure;
mod fork;
mod guest;
mod handle;
mod host;
mod journal;
mod lately;
mod library;
mod machine;
mod messages;
mod metrics;
mod news;
mod operations;
mod page_server;
mod pools;
mod ready_slots;
mod record;
mod recovery;
mod refill;
mod salvage;
mod sandbox;
mod scrub;
mod service;
mod slots;
mod snapshots;
mod socket;
mod source;
mod spare;
mod starts;
mod steps;
mod sweep;
mod table;
mod tidy;
mod time;
mod tls;
mod traced;
mod usage;
mod watched_disk;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wrenn_guest_image::Template;
use wrenn_model::lifecycle::{Event, Reason};
use wrenn_model::{ErrorKind, Fault, MiB, SandboxId, SandboxSpec, TemplateName};

pub use admission::{InvalidOvercommit, Limits, MemoryOvercommit};
pub use archive::{EXPORT, IMPORT};
pub use backup::{Backup, BackupError, LeftOut, Restore, Restored, restore};
pub use capture::{Capture, CaptureStep, FORK, IMAGE, PAUSE, SNAPSHOT};
pub use data_dir::{DataDir, DataDirError};
pub use driver::{Choice as VmmChoice, NoChoice as NoVmm};
pub use failpoint::Failpoints;
pub use host::{Boot, Config, GuestNetwork, Host, OpenError, Store, Warm};
pub use operations::{OPERATIONS, Operation};
pub use page_server::serve_pages;
pub use sandbox::NETWORK;
pub use slots::{Slot, Slots};
pub use socket::{ServerSocket, Sockets};
pub use spare::{InvalidShape, PoolSize, Shape};
pub use steps::{CLONE, CREATE, FILL, Plan, RESUME, SETTLE, STAND_BY, Step, TAKE};
pub use sweep::{Outcome, SweepError, Swept, sweep_dead};
pub use tls::{ENDS_SOON, IdentityFile, TlsConnection, TlsError, TlsListener};
pub use wrenn_backup::Error as StreamError;

use admission::Asked;
use failure::internal;
use handle::{Handle, View};
use journal::{Journal, Replay};
use library::Lent;
use record::Origin;
use sandbox::{Sandbox, Start, refused};
use source::Source;
use table::{Claim, Coming, Table, Taken};
use wrenn_model::chain;

/// How often the store's room is looked at.
const ROOM_CHECK: Duration = Duration::from_secs(1);
/// How long a caller waits for a sandbox to be gone before it is told that the work goes on.
const DESTROY_LIMIT: Duration = Duration::from_secs(60);

/// What [`Agent::take_down`] did with the sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenDown {
    /// They are gone.
    pub destroyed: u32,
    /// They are paused, and there at the next start.
    pub kept: u32,
}

/// How far an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It takes up what a former agent left.
    Recovering,
    /// It answers.
    Ready,
    /// Nothing wakes or begins any more. There is no way back: what guests are kept in may be given back already.
    Closing,
}

/// The agent of one host.
#[derive(Debug, Clone)]
pub struct Agent {
    host: Arc<Host>,
    journal: Journal,
    table: Arc<Table>,
    tasks: TaskTracker,
    /// Work on virtual machines that no sandbox has.
    spares: TaskTracker,
    /// Files older than this were made by a former agent.
    began: SystemTime,
    /// Some record of the journal cannot be read: what no other one knows may be its.
    doubtful: Arc<AtomicBool>,
    phase: watch::Sender<Phase>,
    /// The store is about to be given back: whoever reads in it stops.
    closing: CancellationToken,
    /// Everything was taken down; the agent is to end.
    down: CancellationToken,
}

impl Agent {
    /// An agent that has read its journal. It answers once it has recovered.
    fn new(host: Host) -> Result<(Self, Replay), journal::Error> {
        let (journal, replay) =
            Journal::open(&host.data.path().join("journal"), &host.sandboxes())?;
        let table = Arc::new(Table::default());
        let agent = Self {
            host: Arc::new(host),
            journal,
            table,
            tasks: TaskTracker::new(),
            spares: TaskTracker::new(),
            began: SystemTime::now(),
            doubtful: Arc::default(),
            phase: watch::Sender::new(Phase::Recovering),
            closing: CancellationToken::new(),
            down: CancellationToken::new(),
        };
        Ok((agent, replay))
    }

    /// Opens the agent of a host and recovers in the background. Sandboxes of a former agent go on running meanwhile.
    pub fn start(host: Host) -> Result<Self, StartError> {
        for folder in host.folders() {
            let mut folders = std::fs::DirBuilder::new();
            folders
                .recursive(true)
                .create(&folder)
                .map_err(StartError::because)?;
        }
        let (agent, replay) = Self::new(host).map_err(StartError::because)?;
        let recovering = agent.clone();
        agent
            .tasks
            .spawn(async move { recovering.recover(replay).await });
        let roomy = agent.clone();
        agent.tasks.spawn(async move { roomy.keep_room().await });
        let watching = agent.clone();
        agent
            .tasks
            .spawn(async move { watching.watch_connections().await });
        let following = agent.clone();
        agent
            .tasks
            .spawn(async move { following.follow_clock().await });
        let filling = agent.clone();
        agent.tasks.spawn(async move { filling.keep_pools().await });
        let slotting = agent.clone();
        agent
            .tasks
            .spawn(async move { slotting.keep_slots().await });
        let scrubbing = agent.clone();
        agent.tasks.spawn(async move { scrubbing.scrub().await });
        Ok(agent)
    }

    /// Lets the store grow before guests feel its end.
    async fn keep_room(&self) {
        let mut full = false;
        while !self.down.is_cancelled() {
            match self.host.volume.grow_if_needed().await {
                Ok(_) => full = false,
                Err(error) if !full => {
                    full = true;
                    tracing::warn!(error = chain(&error), "the host's disk is filling up");
                }
                Err(_) => {}
            }
            tokio::time::sleep(ROOM_CHECK).await;
        }
    }

    /// Returns when recovery has ended.
    pub async fn recovered(&self) {
        // The sender lives in this value.
        let recovered = |phase: &Phase| *phase != Phase::Recovering;
        drop(self.phase.subscribe().wait_for(recovered).await);
    }

    /// Ends when everything was taken down by [`Agent::take_down`].
    pub async fn down(&self) {
        self.down.cancelled().await;
    }

    /// Destroys every sandbox that lives, and gives the network and the store back. What is paused lies in the store and
    /// stays there.
    ///
    /// # Errors
    /// What could not be given back. Nothing begins here any more all the same, since a guest without the host's rules would
    /// be an open one; it may be asked again.
    pub async fn take_down(&self) -> Result<TakenDown, Fault> {
        self.recovered().await;
        // Also what was asked for already does not begin.
        self.phase.send_replace(Phase::Closing);
        self.host.admission.close();
        self.closing.cancel();
        self.table.close();
        drop(self.host.pools.close());
        drop(self.host.ready_slots.close());
        self.spares.close();
        self.spares.wait().await;
        let sandboxes = self.table.all();
        futures::future::join_all(sandboxes.iter().map(|handle| handle.settle())).await;
        let (kept, living): (Vec<_>, Vec<_>) = sandboxes
            .into_iter()
            .partition(|handle| handle.view().rests());
        let count = |handles: &[_]| u32::try_from(handles.len()).unwrap_or(u32::MAX);
        let taken = TakenDown {
            destroyed: count(&living),
            kept: count(&kept),
        };
        futures::future::join_all(
            living
                .iter()
                .map(|handle| handle.destroy(Reason::Destroyed)),
        )
        .await;
        let failed = |what: &str, error: &dyn std::error::Error| {
            Fault::new(
                ErrorKind::AgentError,
                format!("{what}: {}", chain(error)),
                "see the agent's log, then run `wrenn down` again: until then nothing can be begun here",
            )
        };
        self.host
            .network
            .close()
            .await
            .map_err(|error| failed("the network could not be given back", &error))?;
        match self.host.volume.close().await {
            // Closed it is, and no sandbox could be taken up any more; its device goes with whoever still holds it.
            Err(error @ wrenn_disk::Error::Held { .. }) => {
                tracing::warn!(error = chain(&error), "the store is held elsewhere");
            }
            closed => {
                closed.map_err(|error| failed("the store could not be unmounted", &error))?;
            }
        }
        self.down.cancel();
        Ok(taken)
    }

    /// Whether every record of the journal was understood.
    fn whole(&self) -> bool {
        !self.doubtful.load(Ordering::Relaxed)
    }

    fn check_ready(&self) -> Result<(), Fault> {
        let phase = *self.phase.borrow();
        let (what, remedy) = match phase {
            Phase::Ready => return Ok(()),
            Phase::Recovering => ("the host agent is starting", "try again in a moment"),
            Phase::Closing => (
                "the host agent is being taken down",
                "start Wrenn again: what is paused is there then",
            ),
        };
        Err(Fault::new(ErrorKind::Unavailable, what, remedy))
    }

    fn find(&self, id: &str) -> Result<Arc<Handle>, Fault> {
        self.check_ready()?;
        let handle = id
            .parse::<SandboxId>()
            .ok()
            .and_then(|id| self.table.get(&id))
            .ok_or_else(|| Fault::no_sandbox(id))?;
        wrenn_traces::name_sandbox(&handle.spec.id);
        Ok(handle)
    }

    /// Creates a sandbox, or waits for the one of this id that is being created already. Where it is not to boot it is restored
    /// from a snapshot or a boot image, or takes what stands ready of its shape.
    async fn create(
        &self,
        spec: SandboxSpec,
        cold: bool,
        detached: bool,
        asked: Asked,
    ) -> Result<Arc<Handle>, Fault> {
        self.check_ready()?;
        wrenn_traces::name_sandbox(&spec.id);
        if let Some(there) = self.table.get(&spec.id) {
            return same(there, &spec).await;
        }
        self.check_size(&spec)?;
        self.host.network.check(&spec.network).map_err(refused)?;
        let _coming = self.expect(&spec);
        let source = self.source(&spec, cold).await?;
        let start = self.plan(spec, source, asked).await?;
        self.begin(start, detached).await
    }

    /// It may take a boot until there is something to make it of, and it is told to be under way meanwhile.
    pub(crate) fn expect(&self, spec: &SandboxSpec) -> Coming {
        let view = View::of_one_to_come(spec);
        let (handle, _) = Handle::new(spec.clone(), time::now_ms(), view, steps::Parts::default());
        self.table.expect(handle)
    }

    /// Makes a sandbox of what was lent, with its memory.
    pub(crate) async fn begin_from(
        &self,
        spec: SandboxSpec,
        lent: Lent,
    ) -> Result<Arc<Handle>, Fault> {
        self.check_ready()?;
        if let Some(there) = self.table.get(&spec.id) {
            return same(there, &spec).await;
        }
        let start = self
            .plan(
                spec,
                Source::Lent(Box::new(lent), Origin::Seed),
                Asked::now(),
            )
            .await?;
        self.begin(start, true).await
    }

    async fn begin(&self, start: Start, detached: bool) -> Result<Arc<Handle>, Fault> {
        let spec = start.record.spec.clone();
        let handle = match self.add(start, Some(Event::Boot), None) {
            Ok(handle) => handle,
            Err(Taken::By(there)) => return same(there, &spec).await,
            Err(Taken::Claimed) => return Err(another(&spec.id)),
            Err(Taken::Closed) => {
                self.check_ready()?;
                return Err(internal("the table of sandboxes is closed"));
            }
            Err(Taken::Gone) => {
                return Err(Fault::new(
                    ErrorKind::Conflict,
                    "the sandbox was destroyed before it was created",
                    "create another",
                ));
            }
        };
        let caller = Caller {
            handle: (!detached).then(|| handle.clone()),
        };
        handle.started().await?;
        caller.stayed();
        Ok(handle)
    }

    /// Gives a sandbox its task, unless its id is taken. `claim` is what the caller has on the id.
    fn add(
        &self,
        start: Start,
        first: Option<Event>,
        claim: Option<&Claim>,
    ) -> Result<Arc<Handle>, Taken> {
        let (mut sandbox, handle) = Sandbox::new(
            self.host.clone(),
            self.journal.clone(),
            self.table.clone(),
            start,
        );
        match first {
            Some(Event::Boot) => self.table.begin(handle.clone())?,
            _ => self.table.insert(handle.clone(), claim)?,
        }
        sandbox.own();
        self.tasks.spawn(sandbox.run(first));
        Ok(handle)
    }

    fn check_size(&self, spec: &SandboxSpec) -> Result<(), Fault> {
        let refuse = |message: String, remedy: &str| {
            Err(Fault::new(ErrorKind::InvalidRequest, message, remedy))
        };
        if spec.vcpus == 0 || spec.vcpus > self.host.cpus {
            return refuse(
                format!(
                    "vcpus {} is not between 1 and {}",
                    spec.vcpus, self.host.cpus
                ),
                "ask for as many vCPUs as the host has processors, or fewer",
            );
        }
        let most = self.largest()?.0;
        if !(128..=most).contains(&spec.memory.0) {
            return refuse(
                format!("memory_mb {} is not between 128 and {most}", spec.memory.0),
                "ask for an amount of memory that the host has",
            );
        }
        Ok(())
    }

    /// The memory of the largest guest that this host can have at all.
    fn largest(&self) -> Result<MiB, Fault> {
        self.host.admission.largest().map_err(|error| {
            Fault::new(
                ErrorKind::Internal,
                format!("the host's memory cannot be seen: {error}"),
                "see the agent's log",
            )
        })
    }

    /// The base template of this name as a list, in which there is none where there is none.
    async fn template_of(&self, name: &TemplateName) -> Result<Vec<Template>, Fault> {
        match self.host.base_template(name).await {
            Err(fault) if fault.kind == ErrorKind::NotFound => Ok(Vec::new()),
            found => Ok(vec![found?]),
        }
    }

    async fn templates(&self) -> Result<Vec<Template>, Fault> {
        let host = self.host.clone();
        tokio::task::spawn_blocking(move || host.images.templates())
            .await
            .map_err(internal)?
            .map_err(|error| images_fault(&error))
    }

    /// Removes a template's name. Sandboxes made from it go on: they hold links of their own.
    async fn delete_template(&self, name: String) -> Result<(), Fault> {
        let absent = Fault::new(
            ErrorKind::NotFound,
            format!("there is no template {name:?}"),
            "list the templates with GET /v1/snapshots",
        );
        let Ok(name) = name.parse::<TemplateName>() else {
            return Err(absent);
        };
        match self
            .host
            .images
            .delete_template(&name, &wrenn_guest_image::Silent)
            .await
        {
            Ok(()) => Ok(()),
            Err(wrenn_guest_image::Error::NoTemplate { .. }) => Err(absent),
            Err(error) => Err(images_fault(&error)),
        }
    }

    /// Returns when nothing of the sandbox is left. One that never was is gone.
    async fn destroy(&self, id: &str) -> Result<(), Fault> {
        self.check_ready()?;
        let id = id.parse::<SandboxId>().ok();
        if let Some(id) = &id {
            wrenn_traces::name_sandbox(id);
        }
        let Some(handle) = id.and_then(|id| self.table.end(&id)) else {
            return Ok(());
        };
        tokio::time::timeout(DESTROY_LIMIT, handle.destroy(Reason::Destroyed))
            .await
            .map_err(|_| {
                Fault::new(
                    ErrorKind::Unavailable,
                    "the sandbox is still being unmade",
                    "the agent goes on trying; ask again later",
                )
            })
    }
}

pub(crate) fn images_fault(error: &wrenn_guest_image::Error) -> Fault {
    Fault::new(
        ErrorKind::AgentError,
        format!("the template store failed: {}", chain(error)),
        "build the template anew with `wrenn template build`",
    )
}

/// The same request twice is one sandbox; another one under its id is a mistake.
async fn same(there: Arc<Handle>, spec: &SandboxSpec) -> Result<Arc<Handle>, Fault> {
    if there.spec != *spec {
        return Err(another(&spec.id));
    }
    there.started().await?;
    Ok(there)
}

fn another(id: &SandboxId) -> Fault {
    let message = format!("there is another sandbox {id}");
    Fault::new(ErrorKind::AlreadyExists, message, "use a new id")
}

/// Somebody who waits for a creation. Without them it is given up.
struct Caller {
    handle: Option<Arc<Handle>>,
}

impl Caller {
    fn stayed(mut self) {
        self.handle = None;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abandon();
        }
    }
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the host agent cannot start: {}", chain(source.as_ref()))]
pub struct StartError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl StartError {
    fn because(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: error.into(),
        }
    }
}
