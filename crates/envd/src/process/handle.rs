//! A running command, as those who talk to it hold it.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio_util::sync::CancellationToken;
use wrenn_envd_api::process::ProcessConfig;
use zeroize::Zeroize;

use super::cgroup::Group;
use super::followers::Followers;
use super::reaper::Reaper;
use super::terminal::{Size, Terminal};
use crate::lock::lock;

/// A command that was started here.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) tag: Option<String>,
    config: Mutex<ProcessConfig>,
    pub(crate) followers: Arc<Followers>,
    pub(crate) group: Arc<Group>,
    stdin: tokio::sync::Mutex<Option<Sender>>,
    terminal: Option<Terminal>,
    killed: OnceLock<Killed>,
    ended: CancellationToken,
}

/// Why this agent killed a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Killed {
    /// Somebody sent SIGKILL.
    Asked,
    /// Its time was over.
    TimedOut,
}

/// Why input did not reach a command, or a signal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    #[error("the process has ended")]
    Ended,
    #[error("the process's standard input is closed")]
    InputClosed,
    #[error("the process has no terminal")]
    NoTerminal,
    #[error(
        "what is typed at a terminal has no end: send Ctrl-D, byte 4, which programs take for one"
    )]
    Endless,
    #[error("{0} is not a signal number from 1 to 31")]
    NoSignal(i32),
    #[error("the kernel refused")]
    Refused(#[source] io::Error),
}

impl Process {
    /// The command `pid`, just made.
    pub(crate) fn new(
        pid: u32,
        tag: Option<String>,
        config: ProcessConfig,
        group: Arc<Group>,
        stdin: Option<Sender>,
        terminal: Option<Terminal>,
    ) -> Self {
        Self {
            pid,
            tag,
            config: Mutex::new(config),
            followers: Arc::default(),
            group,
            stdin: tokio::sync::Mutex::new(stdin),
            terminal,
            killed: OnceLock::new(),
            ended: CancellationToken::new(),
        }
    }

    /// How its caller worded it.
    pub(super) fn config(&self) -> ProcessConfig {
        lock(&self.config).clone()
    }

    /// Has nothing of the variables any more that its caller gave. The command itself has them as ever.
    pub(super) fn forget_environment(&self) {
        let mut envs = std::mem::take(&mut lock(&self.config).envs);
        envs.values_mut().for_each(Zeroize::zeroize);
    }

    /// Whether it has a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Gives its terminal another size.
    pub(crate) fn resize(&self, size: Size) -> Result<(), ReachError> {
        let terminal = self.terminal.as_ref().ok_or(ReachError::NoTerminal)?;
        terminal.resize(size).map_err(ReachError::Refused)
    }

    /// Writes all of `data` to its standard input; waits while the command does not read.
    pub(crate) async fn input(&self, data: &[u8]) -> Result<(), ReachError> {
        let write = async {
            let mut stdin = self.stdin.lock().await;
            let pipe = stdin.as_mut().ok_or(ReachError::InputClosed)?;
            let result = pipe.write_all(data).await;
            if result.is_err() {
                *stdin = None;
            }
            result.map_err(|_| ReachError::InputClosed)
        };
        tokio::select! {
            result = write => result,
            () = self.ended.cancelled() => Err(ReachError::Ended),
        }
    }

    /// Closes its standard input, once what was sent before is written.
    pub(crate) async fn close_input(&self) -> Result<(), ReachError> {
        if self.has_terminal() {
            return Err(ReachError::Endless);
        }
        tokio::select! {
            mut stdin = self.stdin.lock() => {
                *stdin = None;
                Ok(())
            }
            () = self.ended.cancelled() => Err(ReachError::Ended),
        }
    }

    /// The command has ended: whoever still writes to it gives up.
    pub(super) async fn stop_input(&self) {
        self.ended.cancel();
        *self.stdin.lock().await = None;
    }

    /// Sends a signal: SIGKILL to all that the command started, any other to its process group.
    pub(crate) fn signal(&self, number: i32, reaper: &Reaper) -> Result<(), ReachError> {
        let signal = Signal::from_named_raw(number).ok_or(ReachError::NoSignal(number))?;
        if signal == Signal::KILL {
            return self.kill(Killed::Asked, reaper);
        }
        let pid = self.raw_pid();
        let group = Pid::from_raw(pid).ok_or(ReachError::Ended)?;
        match reaper.while_alive(pid, || kill_process_group(group, signal)) {
            None => Err(ReachError::Ended),
            Some(result) => result.map_err(|error| ReachError::Refused(error.into())),
        }
    }

    /// Kills all that the command started.
    pub(crate) fn kill(&self, why: Killed, reaper: &Reaper) -> Result<(), ReachError> {
        let kill = || {
            // The first reason counts.
            self.killed.set(why).ok();
            self.group.kill()
        };
        match reaper.while_alive(self.raw_pid(), kill) {
            None => Err(ReachError::Ended),
            Some(result) => result.map_err(ReachError::Refused),
        }
    }

    /// Whether this agent killed it, and why.
    pub(super) fn killed(&self) -> Option<Killed> {
        self.killed.get().copied()
    }

    /// Resolves when the command has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    fn raw_pid(&self) -> i32 {
        // It came from the kernel as one.
        i32::try_from(self.pid).unwrap_or(i32::MAX)
    }
}
