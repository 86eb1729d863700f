//! Commands: started, followed, fed, signalled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use wrenn_envd_api::process::process_event::Event;
use wrenn_envd_api::process::process_event::data_event::Output;
use wrenn_envd_api::process::{self as wire, StartResponse};
use wrenn_envd_api::signal;
use wrenn_model::TerminalSize;

use crate::error::{Error, printable};
use crate::message::{Messages, decode};

/// How long the rest of an answer may take after a command's end, before its connection is given up.
const DRAIN: Duration = Duration::from_secs(5);

/// How many signs of life may come in a row, and how many more in each second: an honest agent gives one a minute or so. They
/// cost whoever follows a command, and are told to nobody.
const SIGNS_AT_ONCE: u64 = 100;
const SIGNS_PER_SEC: u64 = 10;

/// A command to start.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The program: a path, or a name that is looked up in PATH.
    pub cmd: String,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// Added to the environment that every command has.
    pub envs: BTreeMap<String, String>,
    /// Where it runs; absent means the sandbox's default, else the user's home.
    pub cwd: Option<String>,
    /// The user it runs as; absent means root.
    pub user: Option<String>,
    /// Whether input will be sent. If not, it reads an end of file.
    pub stdin: bool,
    /// It has a terminal of this size in the place of its three streams; what it shows is told as standard output.
    pub terminal: Option<TerminalSize>,
    /// After this the guest kills it with all that it started.
    pub timeout: Option<Duration>,
    /// Where output is kept that is too long for the caller.
    pub spool: Option<Spool>,
}

/// Files in the guest for output that is too long for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// An absolute path in the guest: `<prefix>.stdout`, `<prefix>.stderr`.
    pub prefix: PathBuf,
    /// A stream longer than this many bytes stands whole in its file at the end; a shorter one leaves none.
    pub after: u64,
}

/// What happens to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It runs. The first event.
    Start {
        /// Its process id in the guest.
        pid: u32,
    },
    /// It wrote to its standard output, or its terminal shows it.
    Stdout(Bytes),
    /// It wrote to its standard error.
    Stderr(Bytes),
    /// It ended. The last event.
    End {
        /// Its exit code, or 128 and the number of the signal that ended it.
        exit_code: i32,
        /// Whether it ended by itself.
        exited: bool,
        /// The end in words: `exit status 1`, `signal: killed`.
        status: String,
        /// What else went wrong, for example that its output could not be kept.
        error: Option<String>,
    },
}

/// A command that runs in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its process id in the guest.
    pub pid: u32,
    /// Its program as the caller named it.
    pub cmd: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The caller's mark on it.
    pub tag: Option<String>,
}

impl From<wire::ProcessInfo> for ProcessInfo {
    fn from(info: wire::ProcessInfo) -> Self {
        let config = info.config.as_option().cloned().unwrap_or_default();
        Self {
            pid: info.pid,
            cmd: config.cmd,
            args: config.args,
            tag: info.tag,
        }
    }
}

/// Follows a command. Dropping it only stops following: the command goes on.
#[derive(Debug)]
pub struct ProcessStream {
    /// The first event, which was waited for to know that the call was not refused.
    ahead: Option<ProcessEvent>,
    messages: Option<Messages>,
    signs: Signs,
    until: Option<Instant>,
}

impl ProcessStream {
    /// Reads `messages`, at the longest until `until`: a guest whose agent does not keep the time limit is not waited for.
    ///
    /// Errors: the first message is a refusal.
    pub(crate) async fn begin(messages: Messages, until: Option<Instant>) -> Result<Self, Error> {
        let mut stream = Self {
            ahead: None,
            messages: Some(messages),
            signs: Signs::default(),
            until,
        };
        stream.ahead = stream.next().await?;
        Ok(stream)
    }

    /// The next event; `None` after the end. Nothing is lost when the future is dropped.
    ///
    /// Errors: [`Error::TimedOut`] when the command was killed because its time was over, after all that it had written was
    /// told; others when the guest's answer broke off or is malformed. After an error there is nothing more.
    pub async fn next(&mut self) -> Result<Option<ProcessEvent>, Error> {
        if let Some(event) = self.ahead.take() {
            return Ok(Some(event));
        }
        let Some(messages) = &mut self.messages else {
            return Ok(None);
        };
        let next = next_event(messages, &mut self.signs);
        let result = match self.until {
            Some(until) => timeout_at(until, next)
                .await
                .unwrap_or(Err(Error::TimedOut)),
            None => next.await,
        };
        match &result {
            Ok(Some(ProcessEvent::End { .. })) => self.finish(),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => self.messages = None,
        }
        result
    }

    /// Reads the few bytes that follow the end aside, so that the connection can serve the next call.
    fn finish(&mut self) {
        if let Some(messages) = self.messages.take() {
            tokio::spawn(tokio::time::timeout(DRAIN, messages.drain()));
        }
    }
}

/// The messages since the last event that were none.
#[derive(Debug)]
struct Signs {
    since: Instant,
    seen: u64,
}

impl Default for Signs {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            seen: 0,
        }
    }
}

impl Signs {
    fn count(&mut self) -> Result<(), Error> {
        self.seen += 1;
        if self.seen > SIGNS_AT_ONCE + SIGNS_PER_SEC * self.since.elapsed().as_secs() {
            return Err(Error::protocol("too many messages that say nothing"));
        }
        Ok(())
    }
}

async fn next_event(
    messages: &mut Messages,
    signs: &mut Signs,
) -> Result<Option<ProcessEvent>, Error> {
    loop {
        let Some(message) = messages.next().await? else {
            return Err(Error::protocol("the stream ended before the process"));
        };
        // `Connect` answers with the same fields.
        let response: StartResponse = decode(&message)?;
        let event = response.event.into_option().and_then(|event| event.event);
        if let Some(event) = event.and_then(told) {
            *signs = Signs::default();
            return Ok(Some(event));
        }
        signs.count()?;
    }
}

/// The event in the host's words; signs of life are none.
fn told(event: Event) -> Option<ProcessEvent> {
    match event {
        Event::Start(start) => Some(ProcessEvent::Start { pid: start.pid }),
        Event::Data(data) => match data.output? {
            Output::Stdout(data) | Output::Pty(data) => Some(ProcessEvent::Stdout(data.into())),
            Output::Stderr(data) => Some(ProcessEvent::Stderr(data.into())),
        },
        Event::End(end) => {
            let signal = if end.exited {
                None
            } else {
                signal::from_status(&end.status)
            };
            Some(ProcessEvent::End {
                exit_code: signal.map_or(end.exit_code, |signal| 128 + signal),
                exited: end.exited,
                status: printable(&end.status),
                error: end.error.as_deref().map(printable),
            })
        }
        Event::Keepalive(_) => None,
    }
}
