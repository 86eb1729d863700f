//! A machine as the agent holds it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use wrenn_sys::cgroup::{Cgroup, CpuShare};
use wrenn_sys::process::{Exit, Process};
use wrenn_vmm::{Capture, Ended, Error, Identity, Machine, RunState, VmEvent};

use super::control::{Ask, Control};
use super::{PAGES, STATE, io_error, timed_out};

/// For a process to go after it was killed.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// See [`Machine`].
#[derive(Debug)]
pub(super) struct FakeMachine {
    identity: Identity,
    process: Process,
    cgroup: Cgroup,
    control: Control,
    events: broadcast::Sender<VmEvent>,
    /// Set before it is told.
    ended: Arc<OnceLock<Ended>>,
    watcher: JoinHandle<()>,
}

impl FakeMachine {
    /// Begins to watch a process that has answered.
    pub(super) fn new(
        identity: Identity,
        process: Process,
        cgroup: Cgroup,
        control: Control,
    ) -> Self {
        let events = broadcast::channel(4).0;
        let ended = Arc::<OnceLock<Ended>>::default();
        let watcher = tokio::spawn({
            let (process, events, ended) = (process.clone(), events.clone(), ended.clone());
            async move {
                let how = match process.ended().await {
                    Exit::Code(code) => Ended::Exit(code),
                    Exit::Signal(signal) => Ended::Signal(signal),
                    Exit::Unknown => Ended::Unknown,
                };
                let how = *ended.get_or_init(|| how);
                // Nobody listening is fine.
                drop(events.send(VmEvent::Ended { how }));
            }
        });
        Self {
            identity,
            process,
            cgroup,
            control,
            events,
            ended,
            watcher,
        }
    }

    /// What is done with the process, or that it is gone.
    async fn unless_ended<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            _ = self.process.ended() => Err(Error::Gone),
            done = work => match done {
                // A process that ends closes its socket before it is known to have ended.
                Err(_) if tokio::time::timeout(Duration::from_millis(50), self.process.ended()).await.is_ok() => {
                    Err(Error::Gone)
                }
                done => done,
            },
        }
    }

    fn pages_file(&self) -> PathBuf {
        self.identity.dir.join(PAGES)
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

#[async_trait]
impl Machine for FakeMachine {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn load(&self) -> Result<(), Error> {
        self.run_state().await.map(drop)
    }

    async fn freeze(&self) -> Result<(), Error> {
        self.unless_ended(self.control.tell(Ask::Freeze)).await
    }

    async fn thaw(&self) -> Result<(), Error> {
        self.unless_ended(self.control.tell(Ask::Thaw)).await
    }

    async fn set_share(&self, share: CpuShare) -> Result<(), Error> {
        Ok(self.cgroup.share(share)?)
    }

    async fn capture(&self) -> Result<Capture, Error> {
        match self.run_state().await? {
            RunState::Frozen => {}
            other => return Err(Error::NotFrozen(other)),
        }
        let pieces = self
            .unless_ended(self.control.pages(self.pages_file()))
            .await?;
        let path = self.pages_file();
        let memory = File::open(&path).map_err(io_error("opening a machine's pages"))?;
        fs::remove_file(&path).map_err(io_error("removing a machine's pages"))?;
        Ok(Capture {
            state: STATE.into(),
            memory,
            pieces,
        })
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        self.unless_ended(self.control.run_state()).await
    }

    fn events(&self) -> broadcast::Receiver<VmEvent> {
        let events = self.events.subscribe();
        let Some(how) = self.ended.get() else {
            return events;
        };
        // Nobody tells it again: who comes after the end has a channel that holds nothing else.
        let (late, events) = broadcast::channel(1);
        drop(late.send(VmEvent::Ended { how: *how }));
        events
    }

    async fn console(&self) -> Result<Vec<u8>, Error> {
        Ok(b"a machine without a console\n".to_vec())
    }

    async fn kill(&self) -> Result<(), Error> {
        self.cgroup.kill()?;
        let killed = self.process.kill();
        killed.map_err(io_error("killing a machine"))?;
        let gone = tokio::time::timeout(KILL_LIMIT, self.process.ended()).await;
        gone.map(drop)
            .map_err(|_| timed_out("the end of a machine", KILL_LIMIT))
    }
}
