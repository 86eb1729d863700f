//! A QEMU that runs: what it is asked, and the task that watches it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wrenn_sys::cgroup::{Cgroup, CpuShare};
use wrenn_sys::extents::Piece;
use wrenn_sys::process::{self, Exit, Process};

use super::console::Console;
use super::log::Log;
use super::qmp::{Event, Link};
use super::{memory, state};
use crate::{Capture, Ended, Error, Identity, Machine, RunState, VmEvent};

/// Events that wait for a slow listener.
const EVENTS: usize = 64;
/// How often console and log are fetched, and a lost connection is made anew.
const POLL: Duration = Duration::from_secs(1);
/// For a process that hung up to end.
const END_GRACE: Duration = Duration::from_millis(500);
/// For a process to go after it was killed. It may have to write out what the disk was given.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// See [`Machine`].
#[derive(Debug)]
pub(super) struct QemuMachine {
    vm: Arc<Watched>,
    watcher: JoinHandle<()>,
}

/// What the watching task and the callers share.
#[derive(Debug)]
struct Watched {
    identity: Identity,
    process: Process,
    cgroup: Cgroup,
    link: Link,
    console: Console,
    events: broadcast::Sender<VmEvent>,
    /// Set before it is told.
    ended: OnceLock<Ended>,
}

impl QemuMachine {
    /// Begins to watch a process that has been identified and whose QMP has answered.
    pub(super) async fn new(
        identity: Identity,
        process: Process,
        cgroup: Cgroup,
        link: Link,
        log: Option<Log>,
    ) -> Self {
        let console = Console::open(&identity.dir).await;
        let vm = Watched {
            identity,
            process,
            cgroup,
            link,
            console,
            events: broadcast::channel(EVENTS).0,
            ended: OnceLock::new(),
        };
        Self::watch(vm, log)
    }

    fn watch(vm: Watched, log: Option<Log>) -> Self {
        let vm = Arc::new(vm);
        let qmp_events = vm.link.events();
        let watcher = tokio::spawn(watch(Arc::clone(&vm), qmp_events, log));
        Self { vm, watcher }
    }
}

impl Drop for QemuMachine {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

#[async_trait]
impl Machine for QemuMachine {
    fn identity(&self) -> &Identity {
        &self.vm.identity
    }

    fn moved(&self, dir: &Path) -> Option<Arc<dyn Machine>> {
        let former = &self.vm;
        let console = former.console.moved(dir)?;
        let link = former.link.moved(dir)?;
        self.watcher.abort();
        let identity = Identity {
            dir: dir.to_owned(),
            ..former.identity.clone()
        };
        let log = Log::open(&identity.vm, dir).ok();
        let vm = Watched {
            identity,
            process: former.process.clone(),
            cgroup: former.cgroup.clone(),
            link,
            console,
            events: broadcast::channel(EVENTS).0,
            ended: OnceLock::new(),
        };
        Some(Arc::new(Self::watch(vm, log)))
    }

    async fn load(&self) -> Result<(), Error> {
        state::load(&self.vm.process, &self.vm.link).await
    }

    async fn freeze(&self) -> Result<(), Error> {
        self.vm.command("stop").await.map(drop)
    }

    async fn thaw(&self) -> Result<(), Error> {
        self.vm.command("cont").await.map(drop)
    }

    async fn set_share(&self, share: CpuShare) -> Result<(), Error> {
        Ok(self.vm.cgroup.share(share)?)
    }

    async fn capture(&self) -> Result<Capture, Error> {
        self.vm.unless_ended(self.vm.capture()).await
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        self.vm.run_state().await
    }

    fn events(&self) -> broadcast::Receiver<VmEvent> {
        let events = self.vm.events.subscribe();
        let Some(how) = self.vm.ended.get() else {
            return events;
        };
        // Nobody tells it again: who comes after the end has a channel that holds nothing else.
        let (late, events) = broadcast::channel(1);
        drop(late.send(VmEvent::Ended { how: *how }));
        events
    }

    async fn console(&self) -> Result<Vec<u8>, Error> {
        if self.vm.process.exit().is_none() {
            self.vm.refresh().await;
        }
        Ok(self.vm.console.bytes().await)
    }

    async fn kill(&self) -> Result<(), Error> {
        if self.vm.process.exit().is_some() {
            return Ok(());
        }
        self.vm.cgroup.kill()?;
        let killed = self.vm.process.kill();
        killed.map_err(Error::io("killing the VMM"))?;
        let gone = tokio::time::timeout(KILL_LIMIT, self.vm.process.ended()).await;
        gone.map(drop).map_err(|_| Error::TimedOut {
            what: "the end of a VMM".into(),
            limit: KILL_LIMIT,
        })
    }
}

impl Watched {
    /// A command; a process that has ended is told apart from one that does not answer.
    async fn command(&self, command: &'static str) -> Result<Value, Error> {
        self.unless_ended(self.link.command(command, None)).await
    }

    /// What is done with the process, or that it is gone.
    async fn unless_ended<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let error = tokio::select! {
            done = work => match done {
                Err(error) => error,
                done => return done,
            },
            _ = self.process.ended() => return Err(Error::Gone),
        };
        // A process that ends closes its files before it is known to have ended.
        let grace = match error {
            Error::Protocol(_) | Error::Io { .. } => END_GRACE,
            _ => Duration::ZERO,
        };
        match tokio::time::timeout(grace, self.process.ended()).await {
            Ok(_) => Err(Error::Gone),
            Err(_) => Err(error),
        }
    }

    async fn capture(&self) -> Result<Capture, Error> {
        match self.run_state().await? {
            RunState::Frozen => {}
            other => return Err(Error::NotFrozen(other)),
        }
        let state = state::save(&self.link).await?;
        // After the state, with which QEMU may still write to the memory.
        let (memory, pieces) = self.written_memory().await?;
        Ok(Capture {
            state,
            memory,
            pieces,
        })
    }

    async fn written_memory(&self) -> Result<(File, Vec<Piece>), Error> {
        let unknown = || Error::Protocol("where its memory is was not recorded".into());
        let memory = self.identity.memory.ok_or_else(unknown)?;
        let pid = self.identity.pid;
        let found = tokio::task::spawn_blocking(move || memory::written(pid, memory)).await;
        let birth = process::birth(pid).map_err(Error::io("looking at the VMM's process"))?;
        if birth.as_ref() != Some(&self.identity.birth) {
            return Err(Error::Gone);
        }
        let found = found.map_err(io::Error::other).flatten();
        found.map_err(Error::io(
            "looking for what the guest has written to its memory",
        ))
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        let answer = self.command("query-status").await?;
        let status = answer
            .get("status")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match status {
            "running" => Ok(RunState::Running),
            "io-error" => Ok(RunState::IoError),
            "guest-panicked" | "internal-error" => Ok(RunState::Panicked),
            "shutdown" => {
                self.refresh().await;
                let panicked = self.console.shows_panic().await;
                Ok(if panicked {
                    RunState::Panicked
                } else {
                    RunState::Shutdown
                })
            }
            "paused" | "prelaunch" | "inmigrate" | "postmigrate" | "finish-migrate"
            | "restore-vm" | "save-vm" | "suspended" | "debug" | "watchdog" => Ok(RunState::Frozen),
            _ => Err(Error::Protocol("an unknown run state".into())),
        }
    }

    /// The console as it is now; what could not be fetched is not there.
    async fn refresh(&self) {
        if let Err(error) = self.console.refresh(&self.link).await {
            tracing::debug!(vm = %self.identity.vm, %error, "the console could not be read");
        }
    }

    fn tell(&self, event: VmEvent) {
        tracing::info!(vm = %self.identity.vm, ?event, "a VM changed by itself");
        // Nobody listening is fine.
        drop(self.events.send(event));
    }

    /// What one of QEMU's events means to us.
    async fn interpret(&self, event: &Event) -> Option<VmEvent> {
        let text = |name: &str| {
            event
                .data
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match event.name.as_str() {
            "GUEST_PANICKED" => Some(VmEvent::Panicked),
            "SHUTDOWN" => match text("reason") {
                "guest-panic" => Some(VmEvent::Panicked),
                // A panic is a reset too, and only the console tells.
                "guest-reset" => {
                    self.refresh().await;
                    let panicked = self.console.shows_panic().await;
                    Some(if panicked {
                        VmEvent::Panicked
                    } else {
                        VmEvent::Shutdown { reset: true }
                    })
                }
                "guest-shutdown" => Some(VmEvent::Shutdown { reset: false }),
                _ => None,
            },
            "BLOCK_IO_ERROR" if text("action") == "stop" => {
                let enospc = event
                    .data
                    .get("nospace")
                    .and_then(Value::as_bool)
                    .unwrap_or(false);
                Some(VmEvent::IoError { enospc })
            }
            // The only stop that has no event of its own.
            "STOP" => match self.command("query-status").await {
                Ok(answer) if answer.get("status").is_some_and(|s| s == "internal-error") => {
                    Some(VmEvent::Panicked)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// For events that may have been missed.
    async fn catch_up(&self) {
        let event = match self.run_state().await {
            Ok(RunState::Shutdown) => VmEvent::Shutdown { reset: false },
            Ok(RunState::Panicked) => VmEvent::Panicked,
            Ok(RunState::IoError) => VmEvent::IoError { enospc: true },
            Ok(RunState::Running | RunState::Frozen) | Err(_) => return,
        };
        self.tell(event);
    }

    fn how_it_ended(&self, exit: Exit) -> Ended {
        if self.cgroup.oom_kills() > 0 {
            return Ended::OutOfMemory;
        }
        match exit {
            Exit::Code(code) => Ended::Exit(code),
            Exit::Signal(signal) => Ended::Signal(signal),
            Exit::Unknown => Ended::Unknown,
        }
    }
}

/// Until the process ends.
async fn watch(vm: Arc<Watched>, mut events: broadcast::Receiver<Event>, mut log: Option<Log>) {
    let mut tick = tokio::time::interval(POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connections = vm.link.connections();
    let exit = loop {
        tokio::select! {
            exit = vm.process.ended() => break exit,
            event = events.recv() => match event {
                Ok(event) => {
                    if let Some(event) = vm.interpret(&event).await {
                        vm.tell(event);
                    }
                }
                Err(RecvError::Lagged(_)) => vm.catch_up().await,
                // The sender is the link's, and the link is ours.
                Err(RecvError::Closed) => break vm.process.ended().await,
            },
            _ = tick.tick() => {
                vm.refresh().await;
                log.as_mut().map(Log::drain);
                if connections != vm.link.connections() {
                    connections = vm.link.connections();
                    vm.catch_up().await;
                }
            }
        }
    };
    log.as_mut().map(Log::drain);
    let how = *vm.ended.get_or_init(|| vm.how_it_ended(exit));
    vm.tell(VmEvent::Ended { how });
}
