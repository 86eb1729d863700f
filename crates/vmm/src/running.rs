//! A VMM's process while it runs, whatever its kind: who it is, what becomes of it, and its end.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::broadcast;
use wrenn_sys::cgroup::Cgroup;
use wrenn_sys::process::{Exit, Process};

use crate::{Ended, Error, Identity, VmEvent};

/// Events that wait for a slow listener.
const EVENTS: usize = 64;
/// For a process that hung up to end.
const END_GRACE: Duration = Duration::from_millis(500);
/// For a process to go after it was killed. It may have to write out what the disk was given.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) identity: Identity,
    pub(crate) process: Process,
    pub(crate) cgroup: Cgroup,
    events: broadcast::Sender<VmEvent>,
    /// Set before it is told.
    ended: OnceLock<Ended>,
}

impl Running {
    pub(crate) fn new(identity: Identity, process: Process, cgroup: Cgroup) -> Self {
        Self {
            identity,
            process,
            cgroup,
            events: broadcast::channel(EVENTS).0,
            ended: OnceLock::new(),
        }
    }

    /// The same, whose folder has this name by now. Nobody listens to it yet.
    pub(crate) fn moved(&self, dir: &Path) -> Self {
        let identity = Identity {
            dir: dir.to_owned(),
            ..self.identity.clone()
        };
        Self::new(identity, self.process.clone(), self.cgroup.clone())
    }

    /// See [`crate::Machine::events`].
    pub(crate) fn events(&self) -> broadcast::Receiver<VmEvent> {
        let events = self.events.subscribe();
        let Some(how) = self.ended.get() else {
            return events;
        };
        // Nobody tells it again: who comes after the end has a channel that holds nothing else.
        let (late, events) = broadcast::channel(1);
        drop(late.send(VmEvent::Ended { how: *how }));
        events
    }

    pub(crate) fn tell(&self, event: VmEvent) {
        tracing::info!(vm = %self.identity.vm, ?event, "a VM changed by itself");
        // Nobody listening is fine.
        drop(self.events.send(event));
    }

    /// The last that is told.
    pub(crate) fn tell_end(&self, how: Ended) {
        let how = *self.ended.get_or_init(|| how);
        self.tell(VmEvent::Ended { how });
    }

    /// What its exit means.
    pub(crate) fn how_it_ended(&self, exit: Exit) -> Ended {
        if self.cgroup.oom_kills() > 0 {
            return Ended::OutOfMemory;
        }
        match exit {
            Exit::Code(code) => Ended::Exit(code),
            Exit::Signal(signal) => Ended::Signal(signal),
            Exit::Unknown => Ended::Unknown,
        }
    }

    /// What is done with the process, or that it is gone.
    pub(crate) async fn unless_ended<T>(
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

    /// See [`crate::Machine::kill`].
    pub(crate) async fn kill(&self) -> Result<(), Error> {
        if self.process.exit().is_some() {
            return Ok(());
        }
        self.cgroup.kill()?;
        let killed = self.process.kill();
        killed.map_err(Error::io("killing the VMM"))?;
        let gone = tokio::time::timeout(KILL_LIMIT, self.process.ended()).await;
        gone.map(drop).map_err(|_| Error::TimedOut {
            what: "the end of a VMM".into(),
            limit: KILL_LIMIT,
        })
    }
}
