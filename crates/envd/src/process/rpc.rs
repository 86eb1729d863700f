//! The Connect service `process.Process`: thin handlers over the table of commands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use connectrpc::{
    ConnectError, Encodable, InboundStream, RequestContext, Response, ServiceRequest,
    ServiceResult, ServiceStream,
};
use futures::StreamExt;
use tokio::time::Instant;
use wrenn_envd_api::header;
use wrenn_envd_api::process::process_input::Input;
use wrenn_envd_api::process::process_selector::Selector;
use wrenn_envd_api::process::stream_input_request::Event as InputEvent;
use wrenn_envd_api::process::{
    CloseStdinRequest, CloseStdinResponse, ConnectRequest, ConnectResponse, ListRequest,
    ListResponse, Process as Rpc, ProcessConfig, ProcessInfo, ProcessInput, ProcessSelector,
    SendInputRequest, SendInputResponse, SendSignalRequest, SendSignalResponse, StartRequest,
    StartResponse, StreamInputRequest, StreamInputResponse, UpdateRequest, UpdateResponse,
};

use super::handle::{Process, ReachError};
use super::launch::Command;
use super::refusal::{refused, unreached};
use super::spool::Spool;
use super::stream::Follow;
use super::table::{Launch, Processes};
use super::terminal::Size;
use crate::caller;
use crate::session::{Session, Sessions};
use crate::users::User;

/// Keepalive events come this often unless the caller says otherwise.
const KEEPALIVE: Duration = Duration::from_secs(90);

/// What is served.
#[derive(Debug)]
pub(crate) struct ProcessService {
    processes: Arc<Processes>,
    sessions: Arc<Sessions>,
}

impl ProcessService {
    /// Serves the commands of `processes` to the callers of the current session.
    pub(crate) fn new(processes: Arc<Processes>, sessions: Arc<Sessions>) -> Self {
        Self {
            processes,
            sessions,
        }
    }

    fn session(&self) -> Result<Arc<Session>, ConnectError> {
        self.sessions
            .current()
            .ok_or_else(|| ConnectError::unavailable("the guest is not initialised"))
    }

    fn select(&self, selector: Option<&ProcessSelector>) -> Result<Arc<Process>, ConnectError> {
        let found = match named(selector)? {
            Selector::Pid(pid) => self.processes.by_pid(*pid),
            Selector::Tag(tag) => self.processes.by_tag(tag),
        };
        found.ok_or_else(none_such)
    }

    /// Reads what the caller wants into what the table understands.
    fn launch(
        &self,
        ctx: &RequestContext,
        request: StartRequest,
        session: &Session,
    ) -> Result<Launch, ConnectError> {
        let config: ProcessConfig = request.process.as_option().cloned().unwrap_or_default();
        let user = caller::user(ctx.headers(), None, session)
            .map_err(|error| crate::errors::rpc_user(&error))?;
        let spools = spools(ctx, &user)?;
        let command = Command {
            program: config.cmd.clone(),
            args: config.args.clone(),
            env: config.envs.clone().into_iter().collect(),
            cwd: config.cwd.clone(),
            user,
            stdin: request.stdin.unwrap_or(true),
            terminal: request.pty.as_option().map(Size::asked),
        };
        let deadline = ctx.time_remaining().map(|left| Instant::now() + left);
        Ok(Launch {
            command,
            config,
            tag: request.tag,
            deadline,
            spools,
        })
    }
}

#[allow(
    refining_impl_trait,
    reason = "the generated trait leaves the answer's type open on purpose"
)]
impl Rpc for ProcessService {
    async fn list(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, ListRequest>,
    ) -> ServiceResult<impl Encodable<ListResponse> + Send + use<>> {
        let info = |process: Arc<Process>| ProcessInfo {
            config: process.config().into(),
            pid: process.pid,
            tag: process.tag.clone(),
            ..Default::default()
        };
        let processes = self.processes.list().into_iter().map(info).collect();
        Response::ok(ListResponse {
            processes,
            ..Default::default()
        })
    }

    async fn start(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, StartRequest>,
    ) -> ServiceResult<ServiceStream<StartResponse>> {
        let session = self.session()?;
        let launch = self.launch(&ctx, request.to_owned_message(), &session)?;
        let processes = Arc::clone(&self.processes);
        // Off the reactor: executing a program may have to wait for the disk. It runs to its end if the caller hangs up.
        let launched =
            tokio::task::spawn_blocking(move || processes.launch(launch, &session)).await;
        let (process, events) = launched
            .map_err(|_| ConnectError::internal("the launch broke off"))?
            .map_err(|error| refused(&error))?;
        let follow = Follow::new(process.pid, events, keepalive(&ctx), None);
        let wrap = |event| StartResponse {
            event: Some(event).into(),
            ..Default::default()
        };
        Ok(Response::stream(follow.stream(wrap)))
    }

    async fn connect(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, ConnectRequest>,
    ) -> ServiceResult<ServiceStream<ConnectResponse>> {
        let request = request.to_owned_message();
        let selector = named(request.process.as_option())?;
        let (pid, followers) = self.processes.followed(selector).ok_or_else(none_such)?;
        let deadline = ctx.time_remaining().map(|left| Instant::now() + left);
        let follow = Follow::new(pid, followers.join(), keepalive(&ctx), deadline);
        let wrap = |event| ConnectResponse {
            event: Some(event).into(),
            ..Default::default()
        };
        Ok(Response::stream(follow.stream(wrap)))
    }

    async fn update(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, UpdateRequest>,
    ) -> ServiceResult<UpdateResponse> {
        let request = request.to_owned_message();
        let process = self.select(request.process.as_option())?;
        if let Some(pty) = request.pty.as_option() {
            let resized = process.resize(Size::asked(pty));
            resized.map_err(|error| unreached(&error))?;
        }
        Response::ok(UpdateResponse::default())
    }

    async fn stream_input(
        &self,
        _: RequestContext,
        mut requests: InboundStream<StreamInputRequest>,
    ) -> ServiceResult<StreamInputResponse> {
        let mut target = None;
        while let Some(request) = requests.next().await {
            match request?.to_owned_message().event {
                Some(InputEvent::Start(start)) => {
                    target = Some(self.select(start.process.as_option())?);
                }
                Some(InputEvent::Data(data)) => {
                    let target = target
                        .as_ref()
                        .ok_or_else(|| ConnectError::invalid_argument("input before the start"))?;
                    feed(target, data.input.as_option()).await?;
                }
                Some(InputEvent::Keepalive(_)) | None => {}
            }
        }
        Response::ok(StreamInputResponse::default())
    }

    async fn send_input(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, SendInputRequest>,
    ) -> ServiceResult<SendInputResponse> {
        let request = request.to_owned_message();
        let process = self.select(request.process.as_option())?;
        feed(&process, request.input.as_option()).await?;
        Response::ok(SendInputResponse::default())
    }

    async fn send_signal(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, SendSignalRequest>,
    ) -> ServiceResult<SendSignalResponse> {
        let request = request.to_owned_message();
        let process = self.select(request.process.as_option())?;
        process
            .signal(request.signal.to_i32(), &self.processes.reaper)
            .map_err(|error| unreached(&error))?;
        Response::ok(SendSignalResponse::default())
    }

    async fn close_stdin(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, CloseStdinRequest>,
    ) -> ServiceResult<CloseStdinResponse> {
        let process = self.select(request.to_owned_message().process.as_option())?;
        process
            .close_input()
            .await
            .map_err(|error| unreached(&error))?;
        Response::ok(CloseStdinResponse::default())
    }
}

fn named(selector: Option<&ProcessSelector>) -> Result<&Selector, ConnectError> {
    selector
        .and_then(|selector| selector.selector.as_ref())
        .ok_or_else(|| ConnectError::invalid_argument("no process was named"))
}

fn none_such() -> ConnectError {
    ConnectError::not_found("no such process")
}

async fn feed(process: &Process, input: Option<&ProcessInput>) -> Result<(), ConnectError> {
    match input.and_then(|input| input.input.as_ref()) {
        Some(Input::Stdin(data)) => process.input(data).await.map_err(|error| unreached(&error)),
        Some(Input::Pty(_)) if !process.has_terminal() => Err(unreached(&ReachError::NoTerminal)),
        Some(Input::Pty(data)) => process.input(data).await.map_err(|error| unreached(&error)),
        None => Ok(()),
    }
}

fn keepalive(ctx: &RequestContext) -> Duration {
    number(ctx, header::KEEPALIVE_INTERVAL).map_or(KEEPALIVE, |seconds| {
        Duration::from_secs(seconds.clamp(1, 3600))
    })
}

/// Where the caller wants output kept that is too long for it.
fn spools(ctx: &RequestContext, user: &User) -> Result<[Option<Spool>; 2], ConnectError> {
    let Some(prefix) = ctx.header(header::SPOOL) else {
        return Ok([None, None]);
    };
    let prefix = prefix
        .to_str()
        .ok()
        .filter(|prefix| prefix.starts_with('/'));
    let (Some(prefix), Some(after)) = (prefix, number(ctx, header::SPOOL_AFTER)) else {
        return Err(ConnectError::invalid_argument(
            "wrenn-spool takes an absolute path, wrenn-spool-after a number",
        ));
    };
    let spool = |name: &str| {
        Some(Spool::new(
            PathBuf::from(format!("{prefix}.{name}")),
            after,
            user,
        ))
    };
    Ok([spool("stdout"), spool("stderr")])
}

fn number(ctx: &RequestContext, name: &str) -> Option<u64> {
    ctx.header(name)?.to_str().ok()?.parse().ok()
}
