//! Collects every child that ends: the commands, and in a guest also every orphan, since PID 1 inherits them.
//!
//! One thread waits for SIGCHLD and takes whatever has ended. It holds the lock under which commands are made, so that a
//! command is always registered before it can be collected, and no pid is signalled after it was given back to the kernel.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus, wait};
use tokio::sync::oneshot;

use crate::lock::lock;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It ended itself with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// What the kernel said; `None` for a child that only stopped or went on.
    fn from_status(status: WaitStatus) -> Option<Self> {
        status
            .exit_status()
            .map(Self::Code)
            .or_else(|| status.terminating_signal().map(Self::Signal))
    }
}

/// The children that somebody waits for, by pid.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    children: Mutex<HashMap<i32, oneshot::Sender<Exit>>>,
}

impl Reaper {
    /// Starts the collecting thread. Every other thread must have been made with SIGCHLD blocked ([`block_sigchld`]).
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let reaper = Arc::new(Self::default());
        // Orphans of commands come to this process, as they do to PID 1.
        nix::sys::prctl::set_child_subreaper(true)?;
        let own = Arc::clone(&reaper);
        thread::Builder::new()
            .name("reaper".to_owned())
            .spawn(move || own.run())?;
        Ok(reaper)
    }

    /// Makes a child by `make`, which returns its pid, and tells how it will end.
    pub(crate) fn spawn<E>(
        &self,
        make: impl FnOnce() -> Result<i32, E>,
    ) -> Result<(i32, oneshot::Receiver<Exit>), E> {
        let mut children = lock(&self.children);
        let pid = make()?;
        let (ended, exit) = oneshot::channel();
        children.insert(pid, ended);
        Ok((pid, exit))
    }

    /// Calls `signal` if the child `pid` still exists, which it then does until the call returns.
    pub(crate) fn while_alive<T>(&self, pid: i32, signal: impl FnOnce() -> T) -> Option<T> {
        let children = lock(&self.children);
        children.contains_key(&pid).then(signal)
    }

    fn run(&self) {
        let mut sigchld = SigSet::empty();
        sigchld.add(Signal::SIGCHLD);
        loop {
            self.collect();
            // A child that ended since leaves the signal pending, so that this returns at once.
            if sigchld.wait().is_err() {
                return;
            }
        }
    }

    fn collect(&self) {
        let mut children = lock(&self.children);
        loop {
            let (pid, status) = match wait(WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Err(Errno::INTR) => continue,
                Ok(None) | Err(_) => return,
            };
            let Some(exit) = Exit::from_status(status) else {
                continue;
            };
            if let Some(ended) = children.remove(&pid.as_raw_nonzero().get()) {
                // The command may have been given up by whoever started it.
                ended.send(exit).ok();
            }
        }
    }
}

/// Keeps SIGCHLD for the reaper. Call it before any thread is made.
pub(crate) fn block_sigchld() -> io::Result<()> {
    let mut sigchld = SigSet::empty();
    sigchld.add(Signal::SIGCHLD);
    sigchld.thread_block()?;
    Ok(())
}
