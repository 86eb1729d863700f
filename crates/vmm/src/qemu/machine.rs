//! A QEMU that runs: what it is asked, and the task that watches it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wrenn_sys::cgroup::CpuShare;
use wrenn_sys::extents::Piece;
use wrenn_sys::process;

use super::qmp::{Event, Link};
use super::{memory, state};
use crate::console::{CONSOLE_BYTES, Console};
use crate::log::Log;
use crate::running::Running;
use crate::{Capture, Error, Identity, Machine, RunState, VmEvent};

/// How often console and log are fetched, and a lost connection is made anew.
const POLL: Duration = Duration::from_secs(1);
/// See [`Machine`].
#[derive(Debug)]
pub(super) struct QemuMachine {
    vm: Arc<Watched>,
    watcher: JoinHandle<()>,
}

/// What the watching task and the callers share.
#[derive(Debug)]
struct Watched {
    running: Running,
    link: Link,
    console: Console,
}

impl QemuMachine {
    /// Begins to watch a process that has been identified and whose QMP has answered.
    pub(super) async fn new(running: Running, link: Link, log: Option<Log>) -> Self {
        let console = Console::open(&running.identity.dir).await;
        let vm = Watched {
            running,
            link,
            console,
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
        &self.vm.running.identity
    }

    fn moved(&self, dir: &Path) -> Option<Arc<dyn Machine>> {
        let former = &self.vm;
        let console = former.console.moved(dir)?;
        let link = former.link.moved(dir)?;
        self.watcher.abort();
        let running = former.running.moved(dir);
        let log = Log::open(&running.identity.vm, dir).ok();
        let vm = Watched {
            running,
            link,
            console,
        };
        Some(Arc::new(Self::watch(vm, log)))
    }

    async fn load(&self) -> Result<(), Error> {
        state::load(&self.vm.running.process, &self.vm.link).await
    }

    async fn freeze(&self) -> Result<(), Error> {
        self.vm.command("stop").await.map(drop)
    }

    async fn thaw(&self) -> Result<(), Error> {
        self.vm.command("cont").await.map(drop)
    }

    async fn set_share(&self, share: CpuShare) -> Result<(), Error> {
        Ok(self.vm.running.cgroup.share(share)?)
    }

    async fn capture(&self) -> Result<Capture, Error> {
        self.vm.running.unless_ended(self.vm.capture()).await
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        self.vm.run_state().await
    }

    fn events(&self) -> broadcast::Receiver<VmEvent> {
        self.vm.running.events()
    }

    async fn console(&self) -> Result<Vec<u8>, Error> {
        if self.vm.running.process.exit().is_none() {
            self.vm.refresh().await;
        }
        Ok(self.vm.console.bytes().await)
    }

    async fn kill(&self) -> Result<(), Error> {
        self.vm.running.kill().await
    }
}

impl Watched {
    /// A command; a process that has ended is told apart from one that does not answer.
    async fn command(&self, command: &'static str) -> Result<Value, Error> {
        let answer = self.link.command(command, None);
        self.running.unless_ended(answer).await
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
        let memory = self.running.identity.memory.ok_or_else(unknown)?;
        let pid = self.running.identity.pid;
        let found = tokio::task::spawn_blocking(move || memory::written(pid, memory)).await;
        let birth = process::birth(pid).map_err(Error::io("looking at the VMM's process"))?;
        if birth.as_ref() != Some(&self.running.identity.birth) {
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
        if let Err(error) = self.console.refresh(ring(&self.link)).await {
            tracing::debug!(vm = %self.running.identity.vm, %error, "the console could not be read");
        }
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
        self.running.tell(event);
    }
}

/// What is new on the console. QEMU holds a ring that reading empties.
async fn ring(link: &Link) -> Result<Vec<u8>, Error> {
    let arguments = json!({"device": "console", "size": CONSOLE_BYTES, "format": "base64"});
    let answer = link.command("ringbuf-read", Some(arguments)).await?;
    let nonsense = || Error::Protocol("the console is not what was asked for".into());
    let text = answer.as_str().ok_or_else(nonsense)?;
    STANDARD.decode(text).map_err(|_| nonsense())
}

/// Until the process ends.
async fn watch(vm: Arc<Watched>, mut events: broadcast::Receiver<Event>, mut log: Option<Log>) {
    let mut tick = tokio::time::interval(POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connections = vm.link.connections();
    let exit = loop {
        tokio::select! {
            exit = vm.running.process.ended() => break exit,
            event = events.recv() => match event {
                Ok(event) => {
                    if let Some(event) = vm.interpret(&event).await {
                        vm.running.tell(event);
                    }
                }
                Err(RecvError::Lagged(_)) => vm.catch_up().await,
                // The sender is the link's, and the link is ours.
                Err(RecvError::Closed) => break vm.running.process.ended().await,
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
    vm.running.tell_end(vm.running.how_it_ended(exit));
}
