//! Carries a command's output from its pipes to its followers until it ends, and tells them how it ended.
//!
//! The end is that of the command itself. Processes that it left in the background may hold the pipes open for days: they
//! are read on, so that such a server does not die of a full or closed pipe, but nobody hears it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::buffer::spare_capacity;
use rustix::pipe::fcntl_getpipe_size;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use super::cgroup::Groups;
use super::followers::{Channel, End};
use super::handle::{Killed, Process};
use super::reaper::Exit;
use super::spool::Spool;

/// How much is read from a pipe at once: all that it holds by default.
const PIECE: usize = 64 << 10;

/// How long the rest of a killed command may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// One output stream: its pipe until that is closed, and where it is kept.
#[derive(Debug)]
pub(crate) struct Source {
    pipe: Option<Receiver>,
    buffer: BytesMut,
    spool: Option<Spool>,
}

impl Source {
    /// Without a pipe there is nothing to read.
    pub(crate) fn new(pipe: Option<Receiver>, spool: Option<Spool>) -> Self {
        Self {
            pipe,
            buffer: BytesMut::new(),
            spool,
        }
    }

    /// The next piece; never, once the pipe is closed. Nothing is lost when the future is dropped.
    async fn read(&mut self) -> Bytes {
        loop {
            let Some(pipe) = &mut self.pipe else {
                return std::future::pending().await;
            };
            if self.buffer.capacity() < PIECE / 4 {
                self.buffer.reserve(PIECE);
            }
            match pipe.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => self.pipe = None,
                Ok(_) => return self.buffer.split().freeze(),
            }
        }
    }

    /// What stands in the pipe now, up to `limit` bytes. The kernel is asked itself: the reactor may not have heard yet of
    /// what was written last.
    fn read_now(&mut self, limit: usize) -> Option<Bytes> {
        let pipe = self.pipe.as_ref()?;
        let mut piece = Vec::with_capacity(limit);
        match rustix::io::read(pipe, spare_capacity(&mut piece)) {
            Ok(0) => {
                self.pipe = None;
                None
            }
            Ok(_) => Some(piece.into()),
            Err(_) => None,
        }
    }

    /// How much a full pipe holds; the command can have left no more. A terminal, which has no such size, holds less than is
    /// read at once.
    fn capacity(&self) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        fcntl_getpipe_size(pipe).unwrap_or(PIECE)
    }

    async fn keep(&mut self, data: &[u8]) {
        if let Some(spool) = &mut self.spool {
            spool.take(data).await;
        }
    }

    /// Reads on until the pipe is closed, for nobody.
    async fn swallow(self) {
        let Some(mut pipe) = self.pipe else {
            return;
        };
        let mut buffer = vec![0; PIECE / 16];
        while pipe.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    }

    async fn finish(&mut self) -> io::Result<()> {
        match self.spool.take() {
            Some(spool) => spool.finish().await,
            None => Ok(()),
        }
    }
}

/// All that is needed to see a command to its end.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) process: Arc<Process>,
    pub(crate) exit: oneshot::Receiver<Exit>,
    pub(crate) stdout: Source,
    pub(crate) stderr: Source,
}

impl Watch {
    /// Carries output until the command has ended and its last output is delivered. `ended` is called the moment it ends.
    pub(crate) async fn run(mut self, groups: &Groups, ended: impl FnOnce()) {
        let exit = self.carry().await;
        ended();
        self.process.stop_input().await;
        let killed = self.process.killed();
        if killed.is_some() {
            self.clear_group().await;
        }
        self.drain().await;
        let error = self.finish_spools().await;
        let end = match (exit, killed) {
            (_, Some(Killed::TimedOut)) => End::TimedOut,
            (exit, _) => told(exit, error),
        };
        self.process.followers.end(end).await;
        groups.retire(Arc::clone(&self.process.group));
        tokio::join!(self.stdout.swallow(), self.stderr.swallow());
    }

    async fn carry(&mut self) -> Option<Exit> {
        let first = self.first();
        loop {
            let (channel, data) = tokio::select! {
                data = self.stdout.read() => (first, data),
                data = self.stderr.read() => (Channel::Stderr, data),
                exit = &mut self.exit => return exit.ok(),
            };
            self.deliver(channel, data).await;
        }
    }

    async fn deliver(&mut self, channel: Channel, data: Bytes) {
        self.source(channel).keep(&data).await;
        self.process.followers.output(channel, data).await;
    }

    /// The command was killed: so is whatever it had started.
    async fn clear_group(&self) {
        // What was forked in the moment between the kill and the end is in the group as well.
        drop(self.process.group.kill());
        self.process.group.emptied(KILL_WAIT).await;
    }

    /// Delivers what the command wrote before it ended. Others may go on writing, so this is bounded.
    async fn drain(&mut self) {
        for channel in [self.first(), Channel::Stderr] {
            let mut left = self.source(channel).capacity();
            while left > 0 {
                let Some(data) = self.source(channel).read_now(left.min(PIECE)) else {
                    break;
                };
                left -= data.len();
                self.deliver(channel, data).await;
            }
        }
    }

    async fn finish_spools(&mut self) -> Option<String> {
        let (stdout, stderr) = (self.stdout.finish().await, self.stderr.finish().await);
        let error = stdout.and(stderr).err()?;
        Some(format!("the whole output could not be kept: {error}"))
    }

    /// What its first stream is told as.
    fn first(&self) -> Channel {
        match self.process.has_terminal() {
            true => Channel::Terminal,
            false => Channel::Stdout,
        }
    }

    fn source(&mut self, channel: Channel) -> &mut Source {
        match channel {
            Channel::Stdout | Channel::Terminal => &mut self.stdout,
            Channel::Stderr => &mut self.stderr,
        }
    }
}

/// The end in the words that E2B's clients know.
fn told(exit: Option<Exit>, error: Option<String>) -> End {
    match exit {
        Some(Exit::Code(exit_code)) => End::Ended {
            exit_code,
            exited: true,
            status: format!("exit status {exit_code}"),
            error,
        },
        Some(Exit::Signal(number)) => End::Ended {
            exit_code: -1,
            exited: false,
            status: wrenn_envd_api::signal::status(number),
            error,
        },
        None => End::Ended {
            exit_code: -1,
            exited: false,
            status: "unknown".to_owned(),
            error: Some("nobody saw the process end".to_owned()),
        },
    }
}
