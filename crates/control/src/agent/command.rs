//! Commands in a guest, collected or streamed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use connectrpc::client::ServerStream;
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::view::ExecStreamResponseView;
use wrenn_hostagent_api::__buffa::view::oneof::exec_stream_response::{Event, data::Output};
use wrenn_model::{ErrorKind, Fault, SandboxId, TerminalSize};

use super::connection::Lease;
use super::fault::from_agent;
use super::traced::Answer;
use super::{AgentClient, EXEC_SLACK, SHORT, options, unlimited, within};

/// What to run. The command is executed as it is, no shell in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// A path, or a name that is looked up in PATH.
    pub cmd: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Seconds until it is ended; 0 means the agent's default when collected, none when streamed.
    pub timeout_sec: u32,
    /// The folder it runs in; the user's home when `None`.
    pub cwd: Option<String>,
    /// Variables on top of the sandbox's own.
    pub envs: BTreeMap<String, String>,
    /// Who runs it; root when `None`.
    pub user: Option<String>,
}

/// What a streamed command does when nobody listens, and whether it reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Input {
    /// Its standard input stays open for [`CommandInput::send`].
    pub stdin: bool,
    /// It goes on when its stream is dropped.
    pub detach: bool,
    /// It has a terminal of this size, from which it reads: what that shows is told as standard output.
    pub terminal: Option<TerminalSize>,
}

/// How a command ended and what it printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Its standard output, or the head and tail of it.
    pub stdout: Vec<u8>,
    /// Its standard error, or the head and tail of it.
    pub stderr: Vec<u8>,
    /// Its exit code.
    pub exit_code: i32,
    /// It was ended at its timeout.
    pub timed_out: bool,
    /// Milliseconds from its start to its end.
    pub duration_ms: u64,
    /// The file in the guest that holds all of a standard output that was too long.
    pub stdout_file: Option<String>,
    /// The file in the guest that holds all of a standard error that was too long.
    pub stderr_file: Option<String>,
}

/// What a streamed command says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEvent {
    /// It runs.
    Start {
        /// Its process id in the guest.
        pid: u32,
    },
    /// It printed to its standard output.
    Stdout(Bytes),
    /// It printed to its standard error.
    Stderr(Bytes),
    /// It ended.
    End {
        /// Its exit code.
        exit_code: i32,
        /// It was ended at its timeout.
        timed_out: bool,
    },
    /// What became of it is not known.
    Lost(String),
}

/// A running command, heard. Dropped before its end, the command ends too, unless it was detached or attached to.
#[derive(Debug)]
pub struct CommandStream {
    stream: ServerStream<Answer, ExecStreamResponseView<'static>>,
    /// Closes with the stream; that is how the agent learns that nobody listens.
    _lease: Lease,
    agent: AgentClient,
    id: SandboxId,
}

/// A running command, spoken to.
#[derive(Debug, Clone)]
pub struct CommandInput {
    agent: AgentClient,
    id: SandboxId,
    pid: u32,
}

impl AgentClient {
    /// Runs a command to its end. Has `room` on top where the sandbox may have to be resumed first.
    pub(crate) async fn exec(
        &self,
        id: &SandboxId,
        command: Command,
        stdin: Option<Vec<u8>>,
        room: Duration,
    ) -> Result<ExecOutcome, Fault> {
        let limit = Duration::from_secs(u64::from(command.timeout_sec)) + EXEC_SLACK + room;
        let request = rpc::ExecRequest {
            sandbox_id: id.to_string(),
            cmd: command.cmd,
            args: command.args,
            timeout_sec: command.timeout_sec,
            cwd: command.cwd.unwrap_or_default(),
            envs: command.envs.into_iter().collect(),
            user: command.user.unwrap_or_default(),
            stdin,
            ..Default::default()
        };
        let lease = self.connections.lease();
        let answer = within(limit, lease.client().exec_with_options(request, options())).await;
        let answer = answer.map_err(from_agent)?.into_owned();
        lease.give_back();
        Ok(ExecOutcome {
            stdout: answer.stdout,
            stderr: answer.stderr,
            exit_code: answer.exit_code,
            timed_out: answer.timed_out,
            duration_ms: answer.duration_ms,
            stdout_file: answer.stdout_file,
            stderr_file: answer.stderr_file,
        })
    }

    /// Starts a command and listens to it.
    pub(crate) async fn exec_stream(
        &self,
        id: &SandboxId,
        command: Command,
        input: Input,
    ) -> Result<CommandStream, Fault> {
        let request = rpc::ExecStreamRequest {
            sandbox_id: id.to_string(),
            cmd: command.cmd,
            args: command.args,
            timeout_sec: command.timeout_sec,
            cwd: command.cwd.unwrap_or_default(),
            envs: command.envs.into_iter().collect(),
            user: command.user.unwrap_or_default(),
            stdin: input.stdin,
            detach: input.detach,
            ..Default::default()
        };
        let lease = self.connections.lease();
        let client = lease.client();
        let stream = match input.terminal {
            None => client.exec_stream_with_options(request, unlimited()).await,
            Some(size) => {
                let request = rpc::ExecTerminalRequest {
                    command: request.into(),
                    size: terminal_size(size).into(),
                    ..Default::default()
                };
                client
                    .exec_terminal_with_options(request, unlimited())
                    .await
            }
        };
        let stream = stream.map_err(from_agent)?;
        Ok(CommandStream {
            stream,
            _lease: lease,
            agent: self.clone(),
            id: id.clone(),
        })
    }

    /// Listens to a command that runs already, from now on. It does not end with its listener.
    pub(crate) async fn exec_attach(
        &self,
        id: &SandboxId,
        pid: u32,
    ) -> Result<CommandStream, Fault> {
        let request = rpc::ExecAttachRequest {
            sandbox_id: id.to_string(),
            pid,
            ..Default::default()
        };
        let lease = self.connections.lease();
        let stream = lease
            .client()
            .exec_attach_with_options(request, unlimited())
            .await
            .map_err(from_agent)?;
        Ok(CommandStream {
            stream,
            _lease: lease,
            agent: self.clone(),
            id: id.clone(),
        })
    }
}

impl CommandStream {
    /// What the command does next; `None` after its end.
    ///
    /// # Errors
    /// When it could not be started, or the agent was lost.
    pub async fn next(&mut self) -> Result<Option<CommandEvent>, Fault> {
        while let Some(message) = self.stream.message().await.map_err(from_agent)? {
            // Chunks are slices of the message's own buffer.
            let slice = |data: &[u8]| message.bytes().slice_ref(data);
            return Ok(Some(match &message.view().event {
                Some(Event::Start(start)) => CommandEvent::Start { pid: start.pid },
                Some(Event::Data(data)) => match data.output {
                    Some(Output::Stdout(bytes)) => CommandEvent::Stdout(slice(bytes)),
                    Some(Output::Stderr(bytes)) => CommandEvent::Stderr(slice(bytes)),
                    None => continue,
                },
                Some(Event::End(end)) if end.error.is_empty() => CommandEvent::End {
                    exit_code: end.exit_code,
                    timed_out: end.timed_out,
                },
                Some(Event::End(end)) => CommandEvent::Lost(end.error.to_owned()),
                None => continue,
            }));
        }
        match self.stream.error() {
            Some(error) => Err(from_agent(error.clone())),
            None => Ok(None),
        }
    }

    /// The way to speak to the command, once its start has been heard.
    #[must_use]
    pub fn input(&self, pid: u32) -> CommandInput {
        CommandInput {
            agent: self.agent.clone(),
            id: self.id.clone(),
            pid,
        }
    }
}

impl CommandInput {
    /// The command's process id in the guest.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Writes to its standard input. Waits while the command does not read.
    ///
    /// # Errors
    /// When it has ended, or its input is closed.
    pub async fn send(&self, data: Vec<u8>) -> Result<(), Fault> {
        let lease = self.agent.connections.lease();
        let request = rpc::SendInputRequest {
            sandbox_id: self.id.to_string(),
            pid: self.pid,
            data,
            ..Default::default()
        };
        lease
            .client()
            .send_input_with_options(request, unlimited())
            .await
            .map_err(from_agent)?;
        lease.give_back();
        Ok(())
    }

    /// Gives its terminal another size.
    ///
    /// # Errors
    /// When it has ended, or no terminal.
    pub async fn resize(&self, size: TerminalSize) -> Result<(), Fault> {
        let lease = self.agent.connections.lease();
        let request = rpc::ResizeTerminalRequest {
            sandbox_id: self.id.to_string(),
            pid: self.pid,
            size: terminal_size(size).into(),
            ..Default::default()
        };
        within(
            SHORT,
            lease
                .client()
                .resize_terminal_with_options(request, options()),
        )
        .await
        .map_err(from_agent)?;
        lease.give_back();
        Ok(())
    }

    /// Ends its standard input.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn close(&self) -> Result<(), Fault> {
        let lease = self.agent.connections.lease();
        let request = rpc::CloseInputRequest {
            sandbox_id: self.id.to_string(),
            pid: self.pid,
            ..Default::default()
        };
        within(
            SHORT,
            lease.client().close_input_with_options(request, options()),
        )
        .await
        .map_err(from_agent)?;
        lease.give_back();
        Ok(())
    }

    /// Sends it a signal, by its Linux number.
    ///
    /// # Errors
    /// `invalid_request` for a number that is no signal's; otherwise when it has ended.
    pub async fn signal(&self, signal: i32) -> Result<(), Fault> {
        if !(1..=64).contains(&signal) {
            return Err(Fault::new(
                ErrorKind::InvalidRequest,
                format!("{signal} is no signal"),
                "give a Linux signal number, 1 to 64",
            ));
        }
        let lease = self.agent.connections.lease();
        let request = rpc::SendSignalRequest {
            sandbox_id: self.id.to_string(),
            pid: self.pid,
            signal,
            ..Default::default()
        };
        within(
            SHORT,
            lease.client().send_signal_with_options(request, options()),
        )
        .await
        .map_err(from_agent)?;
        lease.give_back();
        Ok(())
    }
}

fn terminal_size(size: TerminalSize) -> rpc::TerminalSize {
    rpc::TerminalSize {
        cols: size.cols.into(),
        rows: size.rows.into(),
        ..Default::default()
    }
}
