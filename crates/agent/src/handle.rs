//! A sandbox as the rest of the agent holds it: a bounded queue of requests, and a view.

mod orders;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wrenn_model::lifecycle::{Copying, Reason, State};
use wrenn_model::{ErrorKind, Fault, NetworkPolicy, SandboxSpec, Status, VmId};
use wrenn_snapshot::Generations;
use wrenn_traces::Place;

use crate::activity::Activity;
use crate::capture::Report;
use crate::record::Pause;
use crate::sandbox::Copied;
use crate::steps::{Guest, Parts, Timings};
use orders::Orders;
use wrenn_model::chain;

pub(crate) use orders::{Cause, Order, span};

/// How long it may take until the end of a VM is noticed that broke a call off.
const NOTICE: Duration = Duration::from_millis(500);
/// How many requests may wait for one sandbox's task.
const QUEUE: usize = 32;

/// What everybody may see of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: State,
    /// Its newest generation.
    pub(crate) pause: Option<Pause>,
    /// Milliseconds since the epoch.
    pub(crate) started_ms: Option<i64>,
    /// Milliseconds since the epoch.
    pub(crate) lost_since_ms: Option<i64>,
    /// Empty while it has no VM.
    pub(crate) host_ip: String,
    /// The size of its disk, in bytes.
    pub(crate) disk_size: u64,
    /// Its VM, from before anything of that is made, and the user that its VMM runs as.
    pub(crate) vm: Option<(VmId, u32)>,
    /// Its VM's disk layer.
    pub(crate) layer: Option<PathBuf>,
    /// The policy that it is under.
    pub(crate) network: NetworkPolicy,
}

impl View {
    /// That of a sandbox that was asked for and has nothing yet.
    pub(crate) fn of_one_to_come(spec: &SandboxSpec) -> Self {
        Self {
            state: State::Starting,
            pause: None,
            started_ms: None,
            lost_since_ms: None,
            host_ip: String::new(),
            disk_size: 0,
            vm: None,
            layer: None,
            network: spec.network.clone(),
        }
    }

    /// It has no virtual machine, and a pause to come back from.
    pub(crate) fn rests(&self) -> bool {
        self.pause.is_some() && matches!(self.state, State::Paused | State::Error(_))
    }
}

/// What a sandbox's task is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Destroy {
        reason: Reason,
        done: oneshot::Sender<()>,
    },
    /// Set the guest's clock, if there is a guest.
    SetClock,
    /// Nothing but an answer, after all that was asked before.
    Settle { done: oneshot::Sender<()> },
    /// No report means that it was paused already.
    Pause {
        done: oneshot::Sender<Result<Option<Report>, Fault>>,
    },
    /// No timings mean that it was running already.
    Resume {
        cold: bool,
        done: oneshot::Sender<Result<Timings, Fault>>,
    },
    /// Captured for others into the newest of some generations that are theirs.
    Copy {
        what: Copying,
        into: Generations,
        done: oneshot::Sender<Result<Copied, Fault>>,
    },
    Network {
        policy: NetworkPolicy,
        done: oneshot::Sender<Result<(), Fault>>,
    },
}

/// What handle and task share, beside the queue and the view.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) activity: Arc<Activity>,
    /// Of the VM that it has now.
    parts: Arc<Mutex<Arc<Parts>>>,
    /// Somebody wants it gone: no step of whatever is under way begins any more, also of another VM that it would get.
    pub(crate) doomed: CancellationToken,
    /// Why it did not start, for those who wait for it.
    pub(crate) failure: Arc<OnceLock<Fault>>,
    /// How long its creation took: the wait for its turn, and each step.
    pub(crate) created: Arc<OnceLock<Timings>>,
    /// The console of a VM that has ended.
    console: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Shared {
    fn new(parts: Parts) -> Self {
        Self {
            activity: Arc::new(Activity::new()),
            doomed: parts.doomed.clone(),
            parts: Arc::new(Mutex::new(Arc::new(parts))),
            failure: Arc::default(),
            created: Arc::default(),
            console: Arc::default(),
        }
    }

    /// What was made for the VM that it has now.
    pub(crate) fn parts(&self) -> Arc<Parts> {
        lock(&self.parts).clone()
    }

    /// It takes a VM that stood ready.
    pub(crate) fn adopt_parts(&self, parts: Parts) {
        *lock(&self.parts) = Arc::new(parts);
    }

    /// There will be another VM.
    pub(crate) fn renew_parts(&self) -> Arc<Parts> {
        let parts = Arc::new(Parts::of(&self.doomed));
        *lock(&self.parts) = parts.clone();
        parts
    }

    /// The console goes with the VM's process; what it said last is what people ask for.
    pub(crate) async fn keep_console(&self) {
        if let Some(machine) = self.parts().machine.get()
            && let Ok(console) = machine.console().await
        {
            *lock(&self.console) = Some(console);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn paused() -> Fault {
    Fault::new(
        ErrorKind::InvalidState,
        "the sandbox is paused",
        "resume it: its commands go on then, and can be taken up again by their pid",
    )
}

fn unreached() -> Fault {
    Fault::new(
        ErrorKind::Unavailable,
        "the agent was started anew, and the sandbox's virtual machine does not answer yet",
        "try again in a moment",
    )
}

/// A sandbox as the rest of the agent holds it.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) spec: SandboxSpec,
    pub(crate) created_ms: i64,
    pub(crate) shared: Shared,
    view: watch::Receiver<View>,
    commands: Orders,
}

/// The task's ends of what a handle has.
#[derive(Debug)]
pub(crate) struct TaskEnd {
    pub(crate) view: watch::Sender<View>,
    pub(crate) commands: mpsc::Receiver<Order>,
    pub(crate) shared: Shared,
}

impl Handle {
    pub(crate) fn new(
        spec: SandboxSpec,
        created_ms: i64,
        view: View,
        parts: Parts,
    ) -> (Arc<Self>, TaskEnd) {
        let (commands, inbox) = Orders::new(spec.id.clone(), QUEUE);
        let (announce, seen) = watch::channel(view);
        let shared = Shared::new(parts);
        let handle = Arc::new(Self {
            spec,
            created_ms,
            shared: shared.clone(),
            view: seen,
            commands,
        });
        let end = TaskEnd {
            view: announce,
            commands: inbox,
            shared,
        };
        (handle, end)
    }

    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.shared.activity
    }

    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    fn state(&self) -> State {
        self.view.borrow().state.clone()
    }

    /// Waits until it runs, or tells why it does not.
    pub(crate) async fn started(&self) -> Result<View, Fault> {
        let mut view = self.view.clone();
        let settled = view
            .wait_for(|view| !matches!(view.state, State::Pending | State::Starting))
            .await
            .map(|view| view.clone());
        match settled {
            Ok(view) if matches!(view.state.status(), Status::Running | Status::Paused) => Ok(view),
            _ => Err(self.shared.failure.get().cloned().unwrap_or_else(|| {
                Fault::new(
                    ErrorKind::Conflict,
                    "the sandbox was destroyed while it started",
                    "create a new one",
                )
            })),
        }
    }

    /// Gives its creation or its resume up. Nothing happens to one that runs.
    pub(crate) fn abandon(&self) {
        self.shared.parts().cancel.cancel();
    }

    /// Returns when nothing of it is left. What is under way comes to its end first; it does not get far.
    pub(crate) async fn destroy(&self, reason: Reason) {
        self.shared.doomed.cancel();
        self.abandon();
        let parts = self.shared.parts();
        // A VMM that is silent would hold up whoever talks to it. One that is not talked to ends in its turn.
        if self.state().transition().is_some()
            && let Some(machine) = parts.machine.get()
            && let Err(error) = machine.kill().await
        {
            tracing::warn!(id = %self.spec.id, error = chain(&error), "a VMM does not end at once");
        }
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

    /// Returns when all that was asked of it has come to its end. A creation or a resume under way is given up, a pause
    /// is not.
    pub(crate) async fn settle(&self) {
        self.abandon();
        let (done, settled) = oneshot::channel();
        // One that has gone has settled.
        if self.commands.send(Command::Settle { done }).await.is_ok() {
            drop(settled.await);
        }
    }

    /// Has the guest's clock set, soon. One that is busy with more gets the time when it comes back from that.
    pub(crate) async fn set_clock(&self) {
        // One that has gone needs no time.
        drop(self.commands.send(Command::SetClock).await);
    }

    /// Returns when it is paused and durable.
    pub(crate) async fn pause(&self) -> Result<Option<Report>, Fault> {
        let (done, answer) = oneshot::channel();
        self.ask(Command::Pause { done }, answer).await
    }

    /// Has what it is at one instant captured for others. It goes on as it was.
    pub(crate) async fn copy(&self, what: Copying, into: Generations) -> Result<Copied, Fault> {
        let (done, answer) = oneshot::channel();
        self.ask(Command::Copy { what, into, done }, answer).await
    }

    /// Returns when it runs again.
    pub(crate) async fn resume(&self, cold: bool) -> Result<Timings, Fault> {
        let (done, answer) = oneshot::channel();
        self.ask(Command::Resume { cold, done }, answer).await
    }

    /// Returns when it is under this policy, durably; a paused one from its resume on.
    pub(crate) async fn set_network(&self, policy: NetworkPolicy) -> Result<(), Fault> {
        let (done, answer) = oneshot::channel();
        self.ask(Command::Network { policy, done }, answer).await
    }

    async fn ask<T>(
        &self,
        command: Command,
        answer: oneshot::Receiver<Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let gone = || Fault::no_sandbox(self.spec.id.as_str());
        self.commands.send(command).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// The guest, when it can be called.
    pub(crate) fn guest(&self) -> Result<Guest, Fault> {
        let not_now = |kind, message: String, remedy: &str| Err(Fault::new(kind, message, remedy));
        match self.state() {
            // One that is let go this moment is about to be paused.
            State::Running { stalled: false } | State::Copying(_) => {
                let parts = self.shared.parts();
                let reached = parts.machine.get().is_some();
                parts
                    .guest()
                    .ok_or_else(|| if reached { paused() } else { unreached() })
            }
            State::Running { stalled: true } => not_now(
                ErrorKind::HostFull,
                format!("the sandbox is {}", Reason::DiskFull),
                "free disk space on the host",
            ),
            State::Pausing | State::Paused => Err(paused()),
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

    /// The guest; a sandbox that wakes by itself is resumed first. Many at once wake it once.
    pub(crate) async fn awake(&self) -> Result<Guest, Fault> {
        let may_wake = |state: &State| {
            matches!(
                state,
                State::Pausing | State::Paused | State::Resuming { lost: None, .. }
            )
        };
        loop {
            if self.spec.auto_resume && may_wake(&self.state()) {
                self.resume(false).await?;
            }
            match self.guest() {
                // Meanwhile it was paused once more.
                Err(_) if self.spec.auto_resume && may_wake(&self.state()) => {}
                guest => return guest,
            }
        }
    }

    /// A call into the guest. It ends with the sandbox: a guest that is gone resets no connection.
    pub(crate) async fn call<T>(
        &self,
        guest: &Guest,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut view = self.view.clone();
        let ended = async {
            let not_running =
                |view: &View| !matches!(view.state, State::Running { .. } | State::Copying(_));
            tokio::select! {
                _ = view.wait_for(not_running) => {}
                () = guest.left.cancelled() => {}
            }
        };
        let work = Place::here().about(&self.spec.id).around(work);
        tokio::select! {
            done = work => match done {
                Ok(done) => Ok(done),
                Err(fault) => Err(self.explain(fault).await),
            },
            () = ended => Err(self.guest().err().unwrap_or_else(paused)),
        }
    }

    /// What to tell of a call that broke off: that the sandbox ended or froze under it, if it did.
    async fn explain(&self, fault: Fault) -> Fault {
        if !matches!(fault.kind, ErrorKind::AgentError | ErrorKind::Timeout) {
            return fault;
        }
        let mut view = self.view.clone();
        let ended = view.wait_for(|view| !view.state.can_be_called());
        match tokio::time::timeout(NOTICE, ended).await {
            Ok(_) => self.guest().err().unwrap_or(fault),
            Err(_) => fault,
        }
    }

    /// The last of its serial console.
    pub(crate) async fn console(&self) -> Result<Vec<u8>, Fault> {
        let parts = self.shared.parts();
        let alive = matches!(
            self.state(),
            State::Starting
                | State::Running { .. }
                | State::Copying(_)
                | State::Pausing
                | State::Resuming { .. }
        );
        match parts.machine.get().filter(|_| alive) {
            Some(machine) => machine.console().await.map_err(|error| {
                Fault::new(
                    ErrorKind::AgentError,
                    format!("the console cannot be read: {}", chain(&error)),
                    "try again",
                )
            }),
            None => Ok(lock(&self.shared.console).clone().unwrap_or_default()),
        }
    }
}
