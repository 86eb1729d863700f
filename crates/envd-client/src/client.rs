//! The calls.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use buffa::{EnumValue, Message, MessageField};
use bytes::Bytes;
use futures::Stream;
use http::Request;
use http::header::CONTENT_TYPE;
use http::request::Builder;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::Instant;
use wrenn_envd_api::process::process_input::Input;
use wrenn_envd_api::process::process_selector::Selector;
use wrenn_envd_api::process::pty::Size;
use wrenn_envd_api::process::{
    CloseStdinRequest, CloseStdinResponse, ConnectRequest, ListRequest, ListResponse, PTY,
    ProcessConfig, ProcessInput, ProcessSelector, SendInputRequest, SendInputResponse,
    SendSignalRequest, SendSignalResponse, StartRequest, UpdateRequest, UpdateResponse,
};
use wrenn_envd_api::{InitRequest, Metrics, Secret, header};
use wrenn_model::TerminalSize;

use crate::connector::Connector;
use crate::error::Error;
use crate::files::{FileStream, Upload, file_url};
use crate::introduced::Introduced;
use crate::process::{ProcessInfo, ProcessStream, Start};
use crate::rpc::{as_user, authorized, call, invalid, limited, stream, unary};
use crate::transport::{Body, IDLE, Transport, collect, url, whole, within};

/// How long a call may take that only needs the agent. An emulated guest on a busy host is slow.
const CALL: Duration = Duration::from_secs(60);

/// How long input may wait for a command to read it.
const INPUT: Duration = Duration::from_secs(600);

/// How much longer than its time limit a command's end may take to be told.
const GRACE: Duration = Duration::from_secs(15);

/// The largest JSON answer.
const MAX_JSON: usize = 64 << 10;

const PROCESS: &str = "process.Process";

/// Calls one guest's agent. Clones share connections, which are kept and reused.
#[derive(Debug, Clone)]
pub struct EnvdClient {
    transport: Transport,
    token: Option<Secret>,
}

impl EnvdClient {
    /// A client of the guest that `connector` leads to; without a token only [`health`](Self::health) and
    /// [`init`](Self::init) will be answered.
    #[must_use]
    pub fn new(connector: Arc<dyn Connector>) -> Self {
        Self {
            transport: Transport::new(connector, IDLE),
            token: None,
        }
    }

    /// The same, which keeps a connection for so long that nobody uses.
    #[must_use]
    pub fn patient(connector: Arc<dyn Connector>, idle: Duration) -> Self {
        Self {
            transport: Transport::new(connector, idle),
            token: None,
        }
    }

    /// This client with the token that `/init` gave the guest.
    #[must_use]
    pub fn with_token(self, token: String) -> Self {
        Self {
            token: Some(token.into()),
            ..self
        }
    }

    /// Whether the agent answers at all, within this time.
    pub async fn health(&self, limit: Duration) -> Result<(), Error> {
        self.plain(limit, Request::get(url("/health")), whole(""))
            .await
            .map(drop)
    }

    /// Makes the guest a sandbox of its own. `key` is what the last such call gave as `next_init_key`; the first call after
    /// a boot needs none. A new token makes the old one void and ends the calls that were begun with it.
    ///
    /// Errors: [`Error::Refused`] with `Unauthenticated` for a wrong key, `InvalidArgument` for values that make no sense;
    /// token and key are then as they were.
    pub async fn init(
        &self,
        request: &InitRequest,
        key: Option<&str>,
    ) -> Result<Introduced, Error> {
        let body =
            serde_json::to_vec(request).map_err(|error| Error::protocol(&error.to_string()))?;
        let mut post = Request::post(url("/init")).header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            post = post.header(header::INIT_KEY, key);
        }
        let post = self.authorized(post).body(whole(body));
        within(CALL, async {
            let response = self.transport.send(post.map_err(|_| invalid())?).await?;
            let introduced = Introduced::read(response.headers());
            collect(response.into_body(), MAX_JSON).await?;
            Ok(introduced)
        })
        .await
    }

    /// Writes all that the guest's file systems hold back to its disks, within `limit`.
    pub async fn sync(&self, limit: Duration) -> Result<(), Error> {
        self.plain(limit, Request::post(url("/sync")), whole(""))
            .await
            .map(drop)
    }

    /// What the guest uses.
    pub async fn metrics(&self) -> Result<Metrics, Error> {
        let body = self
            .plain(CALL, Request::get(url("/metrics")), whole(""))
            .await?;
        serde_json::from_slice(&body).map_err(|error| Error::protocol(&error.to_string()))
    }

    /// Starts a command and follows it.
    ///
    /// Errors: [`Error::Refused`] with `NotFound` or `PermissionDenied` about the program, `InvalidArgument` about the
    /// directory or user.
    pub async fn start(&self, start: Start) -> Result<ProcessStream, Error> {
        let until = start
            .timeout
            .and_then(|limit| Instant::now().checked_add(limit.saturating_add(GRACE)));
        let mut request = limited(
            as_user(self.process("Start"), start.user.as_deref()),
            start.timeout,
        );
        if let Some(spool) = &start.spool {
            let prefix = spool.prefix.to_str().ok_or_else(invalid)?;
            request = request
                .header(header::SPOOL, prefix)
                .header(header::SPOOL_AFTER, spool.after);
        }
        let message = StartRequest {
            process: MessageField::some(ProcessConfig {
                cmd: start.cmd,
                args: start.args,
                envs: start.envs.into_iter().collect(),
                cwd: start.cwd,
                ..Default::default()
            }),
            pty: start.terminal.map(pty).into(),
            stdin: Some(start.stdin),
            ..Default::default()
        };
        self.follow(request, &message, until).await
    }

    /// Follows a command that runs already, from now on: output that nobody heard is not told again. Of one that ended a
    /// moment ago (minutes, by the guest's own reckoning) the end is told.
    ///
    /// Errors: [`Error::Refused`] with `NotFound` when there is no such command.
    pub async fn connect(&self, pid: u32) -> Result<ProcessStream, Error> {
        let message = ConnectRequest {
            process: selector(pid),
            ..Default::default()
        };
        self.follow(self.process("Connect"), &message, None).await
    }

    /// The commands that run.
    pub async fn processes(&self) -> Result<Vec<ProcessInfo>, Error> {
        let message = ListRequest::default();
        let list: ListResponse =
            within(CALL, unary(&self.transport, self.process("List"), &message)).await?;
        Ok(list.processes.into_iter().map(ProcessInfo::from).collect())
    }

    /// Writes to a command's standard input; waits while the command does not read. At most 4 MiB at once.
    pub async fn send_input(&self, pid: u32, data: Bytes) -> Result<(), Error> {
        let input = ProcessInput {
            input: Some(Input::Stdin(data.into())),
            ..Default::default()
        };
        let message = SendInputRequest {
            process: selector(pid),
            input: MessageField::some(input),
            ..Default::default()
        };
        let sent = unary::<SendInputResponse>(&self.transport, self.process("SendInput"), &message);
        within(INPUT, sent).await.map(drop)
    }

    /// Gives a command's terminal another size.
    pub async fn resize(&self, pid: u32, size: TerminalSize) -> Result<(), Error> {
        let message = UpdateRequest {
            process: selector(pid),
            pty: MessageField::some(pty(size)),
            ..Default::default()
        };
        let resized = unary::<UpdateResponse>(&self.transport, self.process("Update"), &message);
        within(CALL, resized).await.map(drop)
    }

    /// Closes a command's standard input, after what was sent before. A terminal has none that could end.
    pub async fn close_stdin(&self, pid: u32) -> Result<(), Error> {
        let message = CloseStdinRequest {
            process: selector(pid),
            ..Default::default()
        };
        let closed =
            unary::<CloseStdinResponse>(&self.transport, self.process("CloseStdin"), &message);
        within(INPUT, closed).await.map(drop)
    }

    /// Sends a signal, by its number, 1 to 31: SIGKILL to all that the command started, any other to its process group.
    pub async fn signal(&self, pid: u32, signal: i32) -> Result<(), Error> {
        let message = SendSignalRequest {
            process: selector(pid),
            signal: EnumValue::from(signal),
            ..Default::default()
        };
        let sent =
            unary::<SendSignalResponse>(&self.transport, self.process("SendSignal"), &message);
        within(CALL, sent).await.map(drop)
    }

    /// Reads a regular file, as root or as `user`. `path` is absolute.
    pub async fn read_file(&self, path: &str, user: Option<&str>) -> Result<FileStream, Error> {
        let request = as_user(self.authorized(Request::get(url(&file_url(path)?))), user);
        let request = request.body(whole("")).map_err(|_| invalid())?;
        within(CALL, self.transport.send(request))
            .await
            .map(FileStream::new)
    }

    /// Writes a file that then belongs to root or to `user`, with the directories on its way; one that stands there is
    /// replaced once the new one has come in whole. An error of `content`, or dropping the future, leaves the old one.
    pub async fn write_file<S>(
        &self,
        path: &str,
        user: Option<&str>,
        content: S,
    ) -> Result<(), Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let request = as_user(self.authorized(Request::post(url(&file_url(path)?))), user);
        let request = request.header(CONTENT_TYPE, "application/octet-stream");
        let (upload, progress) = Upload::new(content);
        let request = request
            .body(StreamBody::new(upload).boxed_unsync())
            .map_err(|_| invalid())?;
        let sent = async {
            let response = self.transport.send(request).await?;
            within(CALL, collect(response.into_body(), MAX_JSON))
                .await
                .map(drop)
        };
        let result = tokio::select! {
            result = sent => result,
            () = progress.stalled() => Err(Error::TimedOut),
        };
        progress.end();
        match progress.failure() {
            Some(error) => Err(Error::Content(error)),
            None => result,
        }
    }

    async fn follow(
        &self,
        request: Builder,
        message: &impl Message,
        until: Option<Instant>,
    ) -> Result<ProcessStream, Error> {
        within(CALL, async {
            let messages = stream(&self.transport, request, message).await?;
            ProcessStream::begin(messages, until).await
        })
        .await
    }

    fn process(&self, method: &str) -> Builder {
        call(self.token.as_ref(), PROCESS, method)
    }

    fn authorized(&self, request: Builder) -> Builder {
        authorized(request, self.token.as_ref())
    }

    /// A plain HTTP call with a small answer.
    async fn plain(&self, limit: Duration, request: Builder, body: Body) -> Result<Bytes, Error> {
        let request = self.authorized(request).body(body).map_err(|_| invalid())?;
        within(limit, async {
            collect(self.transport.send(request).await?.into_body(), MAX_JSON).await
        })
        .await
    }
}

fn pty(size: TerminalSize) -> PTY {
    PTY {
        size: MessageField::some(Size {
            cols: size.cols.into(),
            rows: size.rows.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn selector(pid: u32) -> MessageField<ProcessSelector, buffa::Inline<ProcessSelector>> {
    MessageField::some(ProcessSelector {
        selector: Some(Selector::Pid(pid)),
        ..Default::default()
    })
}
