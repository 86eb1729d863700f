//! A Firecracker that runs: what it is asked, and the task that watches it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::{Mutex, broadcast};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wrenn_sys::cgroup::CpuShare;
use wrenn_sys::extents::{Piece, next_data};
use wrenn_sys::process::Exit;

use super::api::Api;
use super::layout::{MEMORY, METRICS, SERIAL, STATE};
use super::limits;
use super::metrics::Metrics;
use super::pages::{Pages, Progress, State};
use crate::console::Console;
use crate::log::Log;
use crate::pipe::Pipe;
use crate::running::Running;
use crate::{Capture, Ended, Error, Identity, Machine, RunState, VmEvent};

/// How often console, log and counters are fetched.
const POLL: Duration = Duration::from_secs(1);
/// How often it is looked at whether the memory of one that has not all of it is being brought.
const ASK: Duration = Duration::from_secs(5);
/// No state is longer, in bytes. Firecracker's own bound is 10 MiB.
const LONGEST_STATE: u64 = 16 << 20;
/// What a guest's kernel says last when it has powered itself off, which this machine has no way to do.
const HALTED: [&[u8]; 2] = [b"reboot: Power down", b"reboot: System halted"];

/// See [`Machine`].
#[derive(Debug)]
pub(super) struct FirecrackerMachine {
    vm: Arc<Watched>,
    watcher: JoinHandle<()>,
}

/// What the watching task and the callers share.
#[derive(Debug)]
struct Watched {
    running: Running,
    api: Api,
    pages: Option<Pages>,
    /// A capture failed after Firecracker had forgotten what was dirty.
    spoiled: AtomicBool,
    /// Whether its page server has been asked for something: one that stands by waits for that.
    loading: AtomicBool,
    console: Console,
    serial: Mutex<Option<Pipe>>,
}

impl FirecrackerMachine {
    /// Begins to watch a process that has been identified and whose API has answered. One that an earlier agent started is `loading`.
    pub(super) async fn new(
        running: Running,
        api: Api,
        pages: Option<Pages>,
        loading: bool,
        serial: Option<Pipe>,
        log: Option<Log>,
    ) -> Self {
        let console = Console::open(&running.identity.dir).await;
        let vm = Watched {
            running,
            api,
            pages,
            spoiled: AtomicBool::new(false),
            loading: AtomicBool::new(loading),
            console,
            serial: Mutex::new(serial),
        };
        Self::watch(vm, log)
    }

    fn watch(vm: Watched, log: Option<Log>) -> Self {
        let vm = Arc::new(vm);
        let metrics = Metrics::open(&vm.running.identity.vm, &vm.dir().join(METRICS)).ok();
        let watcher = tokio::spawn(watch(Arc::clone(&vm), log, metrics));
        Self { vm, watcher }
    }
}

impl Drop for FirecrackerMachine {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

#[async_trait]
impl Machine for FirecrackerMachine {
    fn identity(&self) -> &Identity {
        &self.vm.running.identity
    }

    fn moved(&self, dir: &Path) -> Option<Arc<dyn Machine>> {
        let former = &self.vm;
        let console = former.console.moved(dir)?;
        self.watcher.abort();
        let running = former.running.moved(dir);
        let log = Log::open(&running.identity.vm, dir).ok().map(Log::chatty);
        let vm = Watched {
            running,
            api: former.api.clone(),
            pages: former.pages.clone(),
            spoiled: AtomicBool::new(former.spoiled.load(Ordering::Acquire)),
            loading: AtomicBool::new(former.loading.load(Ordering::Acquire)),
            console,
            serial: Mutex::new(Pipe::open(&dir.join(SERIAL)).ok()),
        };
        Some(Arc::new(Self::watch(vm, log)))
    }

    async fn freeze(&self) -> Result<(), Error> {
        self.vm.set_state("Paused").await
    }

    async fn load(&self) -> Result<(), Error> {
        let loaded = self.vm.load();
        match self.vm.running.unless_ended(loaded).await {
            // It says why, and ends; or it ends when its page server does.
            Err(Error::Refused { said, .. }) => Err(Error::Restore { said }),
            other => other,
        }
    }

    async fn thaw(&self) -> Result<(), Error> {
        self.vm.set_state("Resumed").await
    }

    async fn set_share(&self, share: CpuShare) -> Result<(), Error> {
        Ok(self.vm.running.cgroup.share(share)?)
    }

    async fn capture(&self) -> Result<Capture, Error> {
        self.vm.running.unless_ended(self.vm.capture()).await
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        self.vm.running.unless_ended(self.vm.run_state()).await
    }

    fn events(&self) -> broadcast::Receiver<VmEvent> {
        self.vm.running.events()
    }

    async fn console(&self) -> Result<Vec<u8>, Error> {
        self.vm.refresh().await;
        Ok(self.vm.console.bytes().await)
    }

    async fn kill(&self) -> Result<(), Error> {
        self.vm.running.kill().await
    }
}

impl Watched {
    fn dir(&self) -> &Path {
        &self.running.identity.dir
    }

    /// For a call that may wait for one that goes through all of the memory.
    fn limit(&self) -> Result<Duration, Error> {
        let captured = std::fs::metadata(self.dir().join(MEMORY));
        let captured = captured.map_err(Error::io("looking at what was captured"))?;
        Ok(limits::of(captured.len()))
    }

    async fn set_state(&self, state: &str) -> Result<(), Error> {
        let changed = self.api.patch("/vm", json!({"state": state}), limits::CALL);
        self.running.unless_ended(changed).await
    }

    /// Loads the state that it was started for. Its virtual CPUs stand still then.
    async fn load(&self) -> Result<(), Error> {
        let pages = self.pages.as_ref();
        let pages = pages.ok_or_else(|| Error::Protocol("it was started to boot".into()))?;
        self.loading.store(true, Ordering::Release);
        let load = json!({
            "snapshot_path": "/state",
            "mem_backend": {"backend_type": "Uffd", "backend_path": "/pages.sock"},
            "track_dirty_pages": true,
            "resume_vm": false,
            "clock_realtime": true,
        });
        let loaded = self.api.put("/snapshot/load", load, limits::LOAD);
        tokio::select! {
            loaded = loaded => loaded,
            State::Lost = pages.ended(self.dir()) => Err(Error::Restore {
                said: "its memory was not brought; the agent's log says why".into(),
            }),
        }
    }

    async fn capture(&self) -> Result<Capture, Error> {
        match self.run_state().await? {
            RunState::Frozen => {}
            other => return Err(Error::NotFrozen(other)),
        }
        if self.spoiled.load(Ordering::Acquire) {
            let why =
                "the disk lost what an earlier capture saved: its memory can't be saved any more";
            return Err(Error::Protocol(why.into()));
        }
        // Since the machine began all that it wrote is in one file: each such call adds what is new. What it has is what differs
        // from what the machine was started from, also of pages that were never brought.
        let create = json!({
            "snapshot_type": "Diff",
            "snapshot_path": "/captured.state",
            "mem_file_path": "/captured.memory",
        });
        let create = self.api.put("/snapshot/create", create, self.limit()?);
        if let Err(error) = create.await {
            if is_lost(&error) {
                self.spoiled.store(true, Ordering::Release);
            }
            return Err(error);
        }
        let dir = self.dir().to_owned();
        let read = tokio::task::spawn_blocking(move || read_capture(&dir)).await;
        let read = read.map_err(io::Error::other).flatten();
        read.map_err(Error::io("reading what was captured"))
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        // It may be in the middle of a capture that an earlier agent asked for.
        let answer = self.api.get("/", self.limit()?).await?;
        match answer.get("state").and_then(Value::as_str) {
            Some("Running") => {
                self.refresh().await;
                Ok(match self.console.shows_panic().await {
                    true => RunState::Panicked,
                    false if self.console.ends_with(&HALTED).await => RunState::Shutdown,
                    false => RunState::Running,
                })
            }
            Some("Paused" | "Not started") => Ok(RunState::Frozen),
            _ => Err(Error::Protocol("an unknown run state".into())),
        }
    }

    /// The console as it is now; what could not be fetched is not there.
    async fn refresh(&self) {
        let mut serial = self.serial.lock().await;
        let Some(pipe) = serial.as_mut() else {
            return;
        };
        let fetched = async { pipe.drain().map_err(Error::io("reading the serial line")) };
        if let Err(error) = self.console.refresh(fetched).await {
            let vm = &self.running.identity.vm;
            tracing::debug!(%vm, %error, "the console could not be read");
        }
    }

    /// Waits until its memory can't be brought any more; for ever where it can.
    async fn memory_is_lost(&self) {
        let Some(pages) = &self.pages else {
            return std::future::pending().await;
        };
        let vm = &self.running.identity.vm;
        let hangs = async {
            let mut tick = tokio::time::interval(ASK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut progress = Progress::begun();
            loop {
                tick.tick().await;
                if pages.state(self.dir()) != State::Serving {
                    return std::future::pending().await;
                }
                if !self.loading.load(Ordering::Acquire) {
                    progress = Progress::begun();
                    continue;
                }
                if progress.idle(pages) > limits::BRING {
                    return tracing::error!(%vm, "its page server does not get on");
                }
            }
        };
        tokio::select! {
            state = pages.ended(self.dir()) => {
                if state != State::Lost {
                    return std::future::pending().await;
                }
                tracing::error!(%vm, "its page server has failed");
            }
            () = hangs => {}
        }
    }

    /// What an end of the process means that nobody here asked for.
    async fn tell_end(&self, exit: Exit, memory_lost: bool) {
        self.refresh().await;
        // Whoever has the machine for longer than it lives holds nothing of its folder.
        drop(self.serial.lock().await.take());
        if memory_lost {
            return self.running.tell_end(Ended::MemoryLost);
        }
        // It ends with a guest that resets itself, and a panic is a reset, too.
        if self.console.shows_panic().await {
            self.running.tell(VmEvent::Panicked);
        } else if exit == Exit::Code(0) {
            self.running.tell(VmEvent::Shutdown { reset: true });
        }
        self.running.tell_end(self.running.how_it_ended(exit));
    }
}

/// Until the process ends.
async fn watch(vm: Arc<Watched>, mut log: Option<Log>, mut metrics: Option<Metrics>) {
    let mut tick = tokio::time::interval(POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut halted, mut memory_lost) = (false, false);
    let lost = vm.memory_is_lost();
    tokio::pin!(lost);
    let exit = loop {
        tokio::select! {
            exit = vm.running.process.ended() => break exit,
            () = &mut lost, if !memory_lost => {
                memory_lost = true;
                // It will never answer again, nor end by itself.
                if let Err(error) = vm.running.cgroup.kill() {
                    tracing::error!(vm = %vm.running.identity.vm, %error, "it can not be ended");
                }
            }
            _ = tick.tick() => {
                vm.refresh().await;
                log.as_mut().map(Log::drain);
                metrics.as_mut().map(Metrics::drain);
                if !halted && vm.console.ends_with(&HALTED).await {
                    halted = true;
                    vm.running.tell(VmEvent::Shutdown { reset: false });
                }
            }
        }
    };
    let said = log.as_mut().map(Log::drain).unwrap_or_default();
    if memory_lost {
        // Its page server says why there.
        tracing::error!(vm = %vm.running.identity.vm, said, "what was said last");
    }
    metrics.as_mut().map(Metrics::drain);
    vm.tell_end(exit, memory_lost).await;
}

/// Whether a capture failed behind the point where Firecracker forgets which pages are dirty: when all are written, and the disk is
/// asked to keep them (`snapshot_memory_to_file` of its sources).
fn is_lost(error: &Error) -> bool {
    let Error::Refused { said, .. } = error else {
        return false;
    };
    let of_memory = said.contains("memory backing file");
    of_memory && ["sync_all", "flush"].iter().any(|step| said.contains(step))
}

/// What the last capture left in the VM's folder.
fn read_capture(dir: &Path) -> io::Result<Capture> {
    let mut state = Vec::new();
    let file = File::open(dir.join(STATE))?;
    file.take(LONGEST_STATE + 1).read_to_end(&mut state)?;
    if state.is_empty() || state.len() as u64 > LONGEST_STATE {
        return Err(io::Error::other("the device state is empty or endless"));
    }
    let memory = File::open(dir.join(MEMORY))?;
    let len = memory.metadata()?.len();
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Some(data) = next_data(&memory, at, len)? {
        pieces.push(Piece {
            from: data.start,
            to: data.start,
            len: data.len,
        });
        at = data.end();
    }
    Ok(Capture {
        state,
        memory,
        pieces,
    })
}
