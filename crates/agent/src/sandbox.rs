//! One task owns one sandbox: what happens to it happens here, one thing after the other, by the rules of
//! [`wrenn_model::lifecycle`]. Others hold a [`Handle`]: a bounded queue and a view.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wrenn_envd_client::EnvdClient;
use wrenn_model::lifecycle::{self, Effect, Event, Reason, State};
use wrenn_model::{ErrorKind, Fault, SandboxSpec, Status};

use crate::Host;
use crate::activity::Activity;
use crate::chain::chain;
use crate::journal::Journal;
use crate::machine;
use crate::record::Record;
use crate::steps::{self, Parts};
use crate::table::Table;

/// How often a guest that the full disk froze is looked at.
const STALL_CHECK: Duration = Duration::from_secs(1);
/// How long it may take until the end of a VM is noticed that broke a call off.
const NOTICE: Duration = Duration::from_millis(500);
/// How many requests may wait for one sandbox's task.
const QUEUE: usize = 32;

/// What everybody may see of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) started_ms: Option<i64>,
}

/// A sandbox as the rest of the agent holds it.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) spec: SandboxSpec,
    pub(crate) created_ms: i64,
    pub(crate) host_ip: String,
    pub(crate) slot_index: u16,
    pub(crate) activity: Arc<Activity>,
    view: watch::Receiver<View>,
    commands: mpsc::Sender<Command>,
    cancel: CancellationToken,
    parts: Arc<Parts>,
    /// Why it did not start, for those who wait for it.
    failure: Arc<OnceLock<Fault>>,
    /// The console of a VM that has ended.
    last_console: Arc<OnceLock<Vec<u8>>>,
}

#[derive(Debug)]
enum Command {
    Destroy {
        reason: Reason,
        done: oneshot::Sender<()>,
    },
}

impl Handle {
    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Waits until it runs, or tells why it does not.
    pub(crate) async fn started(&self) -> Result<View, Fault> {
        let mut view = self.view.clone();
        let settled = view
            .wait_for(|view| !matches!(view.state, State::Pending | State::Starting))
            .await
            .map(|view| view.clone());
        match settled {
            Ok(view) if view.state.status() == Status::Running => Ok(view),
            _ => Err(self.failure.get().cloned().unwrap_or_else(|| {
                Fault::new(
                    ErrorKind::Conflict,
                    "the sandbox was destroyed while it started",
                    "create a new one",
                )
            })),
        }
    }

    /// Gives its creation up, between two steps or in the wait for the guest. Nothing happens to one that runs.
    pub(crate) fn abandon(&self) {
        self.cancel.cancel();
    }

    /// Returns when nothing of it is left.
    pub(crate) async fn destroy(&self, reason: Reason) {
        self.abandon();
        let (done, gone) = oneshot::channel();
        // A task that has ended left nothing behind; neither channel can fail otherwise.
        if self
            .commands
            .send(Command::Destroy { reason, done })
            .await
            .is_ok()
        {
            drop(gone.await);
        }
    }

    /// The guest, when it can be called.
    pub(crate) fn guest(&self) -> Result<&EnvdClient, Fault> {
        let state = self.view.borrow().state.clone();
        let not_now = |kind, message: String, remedy: &str| Err(Fault::new(kind, message, remedy));
        match state {
            State::Running { stalled: false } => self.parts.guest.get().ok_or_else(|| {
                Fault::new(
                    ErrorKind::Internal,
                    "a running sandbox without a guest",
                    "see the agent's log",
                )
            }),
            State::Running { stalled: true } => not_now(
                ErrorKind::HostFull,
                format!("the sandbox is {}", Reason::DiskFull),
                "free disk space on the host",
            ),
            other => not_now(
                ErrorKind::InvalidState,
                format!(
                    "the sandbox is {}{}",
                    other.status(),
                    other
                        .reason()
                        .map(|reason| format!(": {reason}"))
                        .unwrap_or_default()
                ),
                "only a running sandbox takes this call",
            ),
        }
    }

    /// A call into the guest. It ends with the sandbox: a guest that is gone resets no connection.
    pub(crate) async fn call<T>(
        &self,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut view = self.view.clone();
        let ended = async {
            let not_running = |view: &View| !matches!(view.state, State::Running { .. });
            drop(view.wait_for(not_running).await);
        };
        tokio::select! {
            done = work => match done {
                Ok(done) => Ok(done),
                Err(fault) => Err(self.explain(fault).await),
            },
            () = ended => Err(self.guest().err().unwrap_or_else(|| Fault::no_sandbox(self.spec.id.as_str()))),
        }
    }

    /// What to tell of a call that broke off: that the sandbox ended or froze under it, if it did.
    async fn explain(&self, fault: Fault) -> Fault {
        if !matches!(fault.kind, ErrorKind::AgentError | ErrorKind::Timeout) {
            return fault;
        }
        let mut view = self.view.clone();
        let ended = view.wait_for(|view| view.state != State::Running { stalled: false });
        match tokio::time::timeout(NOTICE, ended).await {
            Ok(_) => self.guest().err().unwrap_or(fault),
            Err(_) => fault,
        }
    }

    /// The last of its serial console.
    pub(crate) async fn console(&self) -> Result<Vec<u8>, Fault> {
        if let Some(console) = self.last_console.get() {
            return Ok(console.clone());
        }
        let Some(machine) = self.parts.machine.get() else {
            return Ok(Vec::new());
        };
        machine.console().await.map_err(|error| {
            Fault::new(
                ErrorKind::AgentError,
                format!("the console cannot be read: {}", chain(&error)),
                "try again",
            )
        })
    }
}

/// The task's side.
#[derive(Debug)]
pub(crate) struct Sandbox {
    host: Arc<Host>,
    journal: Journal,
    table: Arc<Table>,
    record: Record,
    parts: Arc<Parts>,
    activity: Arc<Activity>,
    cancel: CancellationToken,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<View>,
    failure: Arc<OnceLock<Fault>>,
    last_console: Arc<OnceLock<Vec<u8>>>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Sandbox {
    /// A sandbox and its handle. Nothing runs before [`Sandbox::run`].
    pub(crate) fn new(
        host: Arc<Host>,
        journal: Journal,
        table: Arc<Table>,
        record: Record,
        parts: Parts,
    ) -> (Self, Arc<Handle>) {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (view, seen) = watch::channel(View {
            state: record.state.clone(),
            started_ms: record.started_ms,
        });
        let parts = Arc::new(parts);
        let activity = Arc::new(Activity::new());
        let cancel = CancellationToken::new();
        let failure = Arc::new(OnceLock::new());
        let last_console = Arc::new(OnceLock::new());
        let handle = Arc::new(Handle {
            spec: record.spec.clone(),
            created_ms: record.created_ms,
            host_ip: record.resources.slot.host_ip.to_string(),
            slot_index: record.resources.slot_index,
            activity: activity.clone(),
            view: seen,
            commands,
            cancel: cancel.clone(),
            parts: parts.clone(),
            failure: failure.clone(),
            last_console: last_console.clone(),
        });
        let sandbox = Self {
            host,
            journal,
            table,
            record,
            parts,
            activity,
            cancel,
            commands: inbox,
            view,
            failure,
            last_console,
            waiting: Vec::new(),
        };
        (sandbox, handle)
    }

    /// Lives until the sandbox is gone. `first` is what happens before anything else.
    pub(crate) async fn run(mut self, first: Option<Event>) {
        let span = tracing::info_span!("sandbox", id = %self.record.spec.id, vm = %self.record.resources.vm);
        async {
            let first = match first {
                // A former agent began to unmake it.
                Some(Event::Destroy(_)) if matches!(self.record.state, State::Stopping { .. }) => {
                    self.unwind().await
                }
                other => other,
            };
            if let Some(event) = first {
                self.take(event).await;
            }
            while !self.gone() {
                let event = self.next_event().await;
                self.take(event).await;
            }
            for done in self.waiting.drain(..) {
                // Whoever waited may have gone.
                let (Ok(()) | Err(())) = done.send(());
            }
        }
        .instrument(span)
        .await;
    }

    fn gone(&self) -> bool {
        self.table.get(&self.record.spec.id).is_none()
    }

    /// Waits for the next thing to happen.
    async fn next_event(&mut self) -> Event {
        let machine = self.parts.machine.get().cloned();
        let timeout = Duration::from_secs(u64::from(self.record.spec.timeout_sec));
        match self.record.state {
            State::Running { stalled } => tokio::select! {
                command = self.commands.recv() => self.command(command),
                ended = machine::next_event(machine.as_deref(), stalled) => ended,
                () = self.activity.idle_for(timeout), if !stalled => Event::Destroy(Reason::TimedOut),
                () = tokio::time::sleep(STALL_CHECK), if stalled => self.disk_room().await,
            },
            // What would not go is tried again.
            State::Stopping { .. } => tokio::select! {
                command = self.commands.recv() => self.command(command),
                () = tokio::time::sleep(steps::RETRY) => self.unwind().await.unwrap_or(Event::Destroy(Reason::Destroyed)),
            },
            _ => {
                let command = self.commands.recv().await;
                self.command(command)
            }
        }
    }

    fn command(&mut self, command: Option<Command>) -> Event {
        match command {
            Some(Command::Destroy { reason, done }) => {
                self.waiting.push(done);
                Event::Destroy(reason)
            }
            // The table holds the handle: it can only have been taken out of it.
            None => Event::Destroy(Reason::Destroyed),
        }
    }

    async fn disk_room(&self) -> Event {
        match self.host.volume.grow_if_needed().await {
            Ok(_) => Event::DiskRoom,
            Err(error) => {
                tracing::debug!(error = chain(&error), "still no room");
                Event::DiskFull
            }
        }
    }

    /// One event and all that follows from it.
    async fn take(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            next = self.step(event).await;
        }
    }

    /// One transition with its effects. What it returns has happened in consequence.
    async fn step(&mut self, event: Event) -> Option<Event> {
        let (state, effects) = match lifecycle::next(&self.record.state, event.clone()) {
            Ok(next) => next,
            Err(refusal) => {
                tracing::warn!(?event, %refusal, "event refused");
                return None;
            }
        };
        if state != self.record.state {
            tracing::info!(from = ?self.record.state, to = ?state, "state");
        }
        if event == Event::Booted {
            self.record.started_ms = Some(now_ms());
            self.record.machine = self
                .parts
                .machine
                .get()
                .map(|machine| machine.identity().clone());
            self.activity.touch();
        }
        let before = std::mem::replace(&mut self.record.state, state);
        for effect in effects {
            if let Some(event) = self.effect(*effect, &before).await {
                return Some(event);
            }
        }
        None
    }

    async fn effect(&mut self, effect: Effect, before: &State) -> Option<Event> {
        match effect {
            Effect::Record => return self.write_record(before).await,
            Effect::Start => return Some(self.start().await),
            Effect::Unwind => return self.unwind().await,
            Effect::Release => self.release().await,
            Effect::Thaw => self.thaw().await,
            Effect::Announce => drop(self.view.send_replace(View {
                state: self.record.state.clone(),
                started_ms: self.record.started_ms,
            })),
            Effect::Forget => self.forget().await,
        }
        None
    }

    /// A boot that cannot be recorded does not happen; everything else goes on, and recovery finds it half-made.
    async fn write_record(&mut self, before: &State) -> Option<Event> {
        let written = self
            .journal
            .put(self.record.spec.id.as_str(), &self.record)
            .await;
        let Err(error) = written else { return None };
        tracing::error!(error = chain(&error), "the journal refused a record");
        if !matches!(before, State::Pending | State::Starting)
            || matches!(self.record.state, State::Error(_))
        {
            return None;
        }
        self.record.state = State::Starting;
        let reason = format!("the journal cannot be written: {}", chain(&error));
        self.fail(Fault::new(
            ErrorKind::HostFull,
            reason.clone(),
            "free disk space on the host",
        ));
        Some(Event::BootFailed(Reason::BootFailed(reason)))
    }

    async fn start(&mut self) -> Event {
        let made = steps::make(&self.host, &self.record, &self.parts, &self.cancel).await;
        match made {
            Ok(()) => Event::Booted,
            Err(error) => {
                self.keep_console().await;
                tracing::warn!(%error, "creation failed");
                self.fail(error.fault());
                Event::BootFailed(Reason::BootFailed(error.to_string()))
            }
        }
    }

    fn fail(&self, fault: Fault) {
        // The first failure is the one to tell.
        drop(self.failure.set(fault));
    }

    /// Everything goes. When something will not, the state stays and it is tried again.
    async fn unwind(&mut self) -> Option<Event> {
        loop {
            match steps::unmake(&self.host, &self.record, false).await {
                Ok(()) => break,
                Err(failures) => {
                    tracing::error!(failures, "not everything could be unmade; trying again");
                    tokio::time::sleep(steps::RETRY).await;
                }
            }
        }
        matches!(self.record.state, State::Stopping { .. }).then_some(Event::Destroyed)
    }

    async fn release(&mut self) {
        self.keep_console().await;
        while let Err(failures) = steps::unmake(&self.host, &self.record, true).await {
            tracing::error!(failures, "not everything could be released; trying again");
            tokio::time::sleep(steps::RETRY).await;
        }
    }

    /// The console goes with the VM's process; what it said last is what people ask for.
    async fn keep_console(&self) {
        if let Some(machine) = self.parts.machine.get()
            && let Ok(console) = machine.console().await
        {
            drop(self.last_console.set(console));
        }
    }

    async fn thaw(&mut self) {
        if let Some(machine) = self.parts.machine.get()
            && let Err(error) = machine.thaw().await
        {
            tracing::error!(error = chain(&error), "the guest could not go on");
        }
    }

    async fn forget(&mut self) {
        let id = &self.record.spec.id;
        if let Err(error) = self.journal.remove(id.as_str()).await {
            // Recovery unmakes it once more, which does no harm.
            tracing::error!(
                error = chain(&error),
                "the journal could not forget a sandbox"
            );
        }
        self.table.remove(id);
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}
