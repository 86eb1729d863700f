//! Commands in a guest: followed to their end, with a limit in time and in what is kept of their output.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use wrenn_envd_client::{EnvdClient, ProcessEvent, ProcessStream, Spool, Start};
use wrenn_model::{ErrorKind, Fault, TerminalSize};

use crate::guest;
use crate::steps::Guest;

/// What is kept of each stream of a collected command; beyond it, half is the head and half the tail.
const CAP: usize = 8 << 20;
/// How many collected commands of one sandbox may keep as much at once.
const LARGE_OUTPUTS: usize = 4;
/// What is kept of each stream of any further one. The whole stands in the guest, as ever.
const SMALL_CAP: usize = 512 << 10;
/// The exit code of a command that was ended by its limit, as a shell tells SIGKILL.
const KILLED: i32 = 128 + SIGKILL;
const SIGKILL: i32 = 9;
/// How long a killed command may take to be reported.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// How many pieces of output wait for a slow reader.
const QUEUE: usize = 16;
/// The largest piece of standard input sent at once, in bytes.
const INPUT_PIECE: usize = 64 << 10;

/// A command to run.
#[derive(Debug, Default)]
pub(crate) struct Command {
    pub(crate) cmd: String,
    pub(crate) args: Vec<String>,
    pub(crate) envs: BTreeMap<String, String>,
    pub(crate) cwd: String,
    pub(crate) user: String,
    pub(crate) limit: Option<Duration>,
    /// It has one of this size.
    pub(crate) terminal: Option<TerminalSize>,
}

/// What one sandbox's collected commands may keep on the host, all together. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Outputs(Arc<Semaphore>);

impl Default for Outputs {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_OUTPUTS)))
    }
}

impl Outputs {
    /// How much a command may keep of each stream, for as long as the guard lives.
    fn cap(&self) -> (usize, Option<OwnedSemaphorePermit>) {
        let large = Arc::clone(&self.0).try_acquire_owned().ok();
        let cap = if large.is_some() { CAP } else { SMALL_CAP };
        (cap, large)
    }
}

/// What a collected command left.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) stdout: Kept,
    pub(crate) stderr: Kept,
    pub(crate) exit_code: i32,
    pub(crate) timed_out: bool,
    pub(crate) took: Duration,
    /// Where the whole output stands in the guest, without the ending.
    pub(crate) spool: String,
}

/// What a followed command does.
#[derive(Debug)]
pub(crate) enum Progress {
    Started {
        pid: u32,
    },
    Stdout(Bytes),
    Stderr(Bytes),
    Ended {
        exit_code: i32,
        error: String,
        timed_out: bool,
    },
}

/// A command that is followed. Dropping it ends the command, unless it was detached.
#[derive(Debug)]
pub(crate) struct Followed {
    events: mpsc::Receiver<Result<Progress, Fault>>,
    _alive: DropGuard,
}

impl Followed {
    pub(crate) async fn next(&mut self) -> Option<Result<Progress, Fault>> {
        self.events.recv().await
    }
}

impl Command {
    fn start(&self, stdin: bool, spool: Option<Spool>) -> Start {
        Start {
            cmd: self.cmd.clone(),
            args: self.args.clone(),
            envs: self.envs.clone(),
            cwd: (!self.cwd.is_empty()).then(|| self.cwd.clone()),
            user: guest::named(&self.user).map(str::to_owned),
            stdin,
            terminal: self.terminal,
            // The limit is kept here: the guest's clock is the guest's.
            timeout: None,
            spool,
        }
    }
}

/// Starts a command and follows it in a task of its own, so that its end does not depend on the caller.
pub(crate) async fn follow(
    guest: Guest,
    command: Command,
    stdin: bool,
    detach: bool,
    spool: Option<Spool>,
) -> Result<Followed, Fault> {
    let stream = guest
        .client
        .start(command.start(stdin, spool))
        .await
        .map_err(|error| start_fault(&command.cmd, &error))?;
    Ok(Follower::spawn(guest, stream, command.limit, detach))
}

/// Follows a command that runs already. It goes on whoever listens.
pub(crate) async fn attach(guest: Guest, pid: u32) -> Result<Followed, Fault> {
    let stream = guest.client.connect(pid).await.map_err(|error| {
        let mut fault = guest::fault(&error);
        if fault.kind == ErrorKind::NotFound {
            fault.remedy = "it was never started here, or ended some minutes ago".into();
        }
        fault
    })?;
    Ok(Follower::spawn(guest, stream, None, true))
}

/// A command that is not there is the caller's mistake, and not a missing sandbox.
fn start_fault(cmd: &str, error: &wrenn_envd_client::Error) -> Fault {
    let mut fault = guest::fault(error);
    if fault.kind == ErrorKind::NotFound {
        fault.kind = ErrorKind::InvalidRequest;
        fault.remedy =
            format!("check that {cmd:?}, the working directory and the user exist in the guest");
    }
    fault
}

/// Why a command is no longer followed to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// Nobody listens any more.
    Alone,
    TimedOut,
}

struct Follower {
    guest: Guest,
    stream: ProcessStream,
    events: mpsc::Sender<Result<Progress, Fault>>,
    pid: Option<u32>,
    limit: Option<Duration>,
}

impl Follower {
    fn spawn(
        guest: Guest,
        stream: ProcessStream,
        limit: Option<Duration>,
        detach: bool,
    ) -> Followed {
        let (events, inbox) = mpsc::channel(QUEUE);
        let gone = CancellationToken::new();
        let alive = gone.clone().drop_guard();
        let follower = Self {
            guest,
            stream,
            events,
            pid: None,
            limit,
        };
        tokio::spawn(follower.run(gone, detach));
        Followed {
            events: inbox,
            _alive: alive,
        }
    }

    async fn run(mut self, gone: CancellationToken, detach: bool) {
        let limit = self.limit;
        let limit = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let left = self.guest.left.clone();
        let stopped = tokio::select! {
            biased;
            // The guest is being paused: nobody here ends anything in it.
            () = left.cancelled() => return,
            ended = forward(&mut self.stream, &self.events, &mut self.pid, false) => match ended {
                true => return,
                false => Stopped::Alone,
            },
            () = gone.cancelled() => Stopped::Alone,
            () = limit => Stopped::TimedOut,
        };
        if stopped == Stopped::TimedOut || !detach {
            self.end(stopped == Stopped::TimedOut).await;
        }
    }

    /// Kills the command with all its children and reads its stream to the end.
    async fn end(mut self, tell: bool) {
        let killed = tokio::time::timeout(KILL_GRACE, async {
            while self.pid.is_none() {
                match self.stream.next().await {
                    Ok(Some(ProcessEvent::Start { pid })) => self.pid = Some(pid),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return,
                }
            }
            if let Some(pid) = self.pid
                && let Err(error) = self.guest.client.signal(pid, SIGKILL).await
            {
                tracing::warn!(pid, %error, "a command could not be killed");
            }
            forward(&mut self.stream, &self.events, &mut self.pid, true).await;
        })
        .await;
        if killed.is_err() {
            tracing::warn!(pid = ?self.pid, "a killed command was not reported in time");
        }
        if tell {
            let ended = Progress::Ended {
                exit_code: KILLED,
                error: String::new(),
                timed_out: true,
            };
            // Whoever followed may have gone.
            drop(self.events.send(Ok(ended)).await);
        }
    }
}

/// Passes output on until the command has ended (true) or nobody listens (false). A killed command's end is not told.
async fn forward(
    stream: &mut ProcessStream,
    events: &mpsc::Sender<Result<Progress, Fault>>,
    started: &mut Option<u32>,
    killed: bool,
) -> bool {
    loop {
        let (progress, last) = match stream.next().await {
            Ok(Some(ProcessEvent::Start { pid })) => {
                *started = Some(pid);
                (Ok(Progress::Started { pid }), false)
            }
            Ok(Some(ProcessEvent::Stdout(data))) => (Ok(Progress::Stdout(data)), false),
            Ok(Some(ProcessEvent::Stderr(data))) => (Ok(Progress::Stderr(data)), false),
            Ok(Some(ProcessEvent::End { .. })) if killed => return true,
            Ok(Some(ProcessEvent::End {
                exit_code, error, ..
            })) => (
                Ok(Progress::Ended {
                    exit_code,
                    error: error.unwrap_or_default(),
                    timed_out: false,
                }),
                true,
            ),
            Ok(None) => (Err(broken_off()), true),
            Err(error) => (Err(guest::fault(&error)), true),
        };
        if events.send(progress).await.is_err() {
            return false;
        }
        if last {
            return true;
        }
    }
}

fn broken_off() -> Fault {
    Fault::new(
        ErrorKind::AgentError,
        "the command's stream broke off before its end",
        "look at the sandbox's status: it may have stopped",
    )
}

/// Runs a command to its end and keeps what it prints.
pub(crate) async fn collect(
    guest: Guest,
    command: Command,
    stdin: Option<Bytes>,
) -> Result<Collected, Fault> {
    let began = Instant::now();
    let spool = spool_prefix();
    let (cap, _large) = guest.outputs.cap();
    let mut followed = follow(
        guest.clone(),
        command,
        stdin.is_some(),
        false,
        Some(Spool {
            prefix: spool.clone().into(),
            after: cap as u64,
        }),
    )
    .await?;
    let (mut stdout, mut stderr) = (Kept::new(cap), Kept::new(cap));
    let mut input = stdin;
    let mut feeding: Option<DropGuard> = None;
    while let Some(progress) = followed.next().await {
        match progress? {
            Progress::Started { pid } => {
                if let Some(data) = input.take() {
                    feeding = Some(feed(guest.client.clone(), pid, data));
                }
            }
            Progress::Stdout(data) => stdout.push(&data),
            Progress::Stderr(data) => stderr.push(&data),
            Progress::Ended {
                exit_code,
                timed_out,
                error,
            } => {
                drop(feeding);
                if !error.is_empty() {
                    tracing::debug!(error, "a command ended with an error");
                }
                return Ok(Collected {
                    stdout,
                    stderr,
                    exit_code,
                    timed_out,
                    took: began.elapsed(),
                    spool,
                });
            }
        }
    }
    Err(broken_off())
}

/// Writes standard input beside the command; it stops with the guard.
fn feed(client: EnvdClient, pid: u32, mut data: Bytes) -> DropGuard {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    tokio::spawn(async move {
        let write = async {
            while !data.is_empty() {
                let piece = data.split_to(data.len().min(INPUT_PIECE));
                client.send_input(pid, piece).await?;
            }
            client.close_stdin(pid).await
        };
        tokio::select! {
            written = write => if let Err(error) = written {
                // A command that ends without reading its input is its own business.
                tracing::debug!(pid, %error, "standard input was not taken");
            },
            () = stop.cancelled() => {}
        }
    });
    guard
}

/// A name in the guest that no other command has.
fn spool_prefix() -> String {
    let name: String = crate::record::entropy()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("/var/tmp/wrenn-exec-{name}")
}

/// Head and tail of a stream.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Of both together, in bytes.
    cap: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Kept {
    fn new(cap: usize) -> Self {
        Self {
            cap,
            head: Vec::new(),
            tail: VecDeque::new(),
            total: 0,
        }
    }

    fn push(&mut self, data: &[u8]) {
        self.total += data.len() as u64;
        let room = (self.cap / 2)
            .saturating_sub(self.head.len())
            .min(data.len());
        let (head, rest) = data.split_at(room);
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.cap / 2);
        self.tail.drain(..excess);
    }

    /// Whether something between head and tail is missing.
    pub(crate) fn truncated(&self) -> bool {
        self.total > self.cap as u64
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        bytes.extend(self.tail);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_stream_keeps_head_and_tail() {
        let mut kept = Kept::new(CAP);
        // Four bytes each: twice the cap.
        const COUNT: u32 = 4 << 20;
        for n in 0..COUNT {
            kept.push(&n.to_le_bytes());
        }
        assert!(kept.truncated());
        let bytes = kept.into_bytes();
        assert_eq!(bytes.len(), CAP);
        assert_eq!(bytes[..4], 0u32.to_le_bytes());
        assert_eq!(bytes[CAP - 4..], (COUNT - 1).to_le_bytes());
    }

    #[test]
    fn a_sandbox_keeps_a_few_large_outputs_and_any_number_of_small_ones() {
        let outputs = Outputs::default();
        let mut large: Vec<_> = (0..LARGE_OUTPUTS).map(|_| outputs.cap()).collect();
        assert!(large.iter().all(|(cap, _)| *cap == CAP));
        assert_eq!(outputs.clone().cap().0, SMALL_CAP);
        large.pop();
        assert_eq!(outputs.cap().0, CAP);
    }

    proptest! {
        #[test]
        fn below_the_cap_everything_is_kept(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..50)) {
            let mut kept = Kept::new(CAP);
            for piece in &pieces {
                kept.push(piece);
            }
            prop_assert!(!kept.truncated());
            prop_assert_eq!(kept.into_bytes(), pieces.concat());
        }
    }
}
