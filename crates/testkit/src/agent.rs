//! A host agent without hosts: it speaks the real contract over a real Unix socket, keeps its sandboxes and their
//! files in memory, and knows a handful of commands. What it is told to do wrong, it does wrong.
//!
//! | command | what it does |
//! |---|---|
//! | `echo A B` | prints `A B` and a line feed |
//! | `true`, `false` | ends with 0, with 1 |
//! | `sleep N` | ends after N seconds |
//! | `cat` | prints what it reads, until its input ends |
//! | `hex A B` | prints the bytes A, then the bytes B, each in a chunk of its own; to standard error too |
//! | `spew N` | prints N MiB of `x` in chunks of 64 KiB |
//! | `lost` | starts, and then its end is never learned |
//!
//! A file `/zeros/N` reads as N MiB of zeros; what is written to `/null` is thrown away; folders are `/` and `/tmp`.

#![expect(
    refining_impl_trait,
    reason = "the generated trait asks for opaque types, which nobody here needs"
)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use connectrpc::{
    ConnectError, ConnectRpcService, ErrorCode, InboundStream, Limits, RequestContext, Response,
    ServiceRequest, ServiceResult, ServiceStream,
};
use futures::{Stream, StreamExt as _, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use wrenn_hostagent_api::__buffa::{oneof, view};
use wrenn_hostagent_api::{self as rpc, HostAgentService};
use wrenn_model::{ErrorKind, Fault};

const CHUNK: usize = 64 * 1024;

/// The agent, serving until it is dropped.
#[derive(Debug)]
pub struct FakeAgent {
    state: Arc<State>,
    server: JoinHandle<()>,
}

/// What the agent has, and how it misbehaves.
#[derive(Debug)]
struct State {
    sandboxes: Mutex<BTreeMap<String, rpc::Sandbox>>,
    files: Mutex<HashMap<(String, String), Bytes>>,
    inputs: Mutex<HashMap<u32, Process>>,
    templates: Mutex<Vec<String>>,
    knobs: Mutex<Knobs>,
    next_pid: AtomicU32,
    /// Commands that are running.
    commands: AtomicUsize,
    /// Calls of any kind.
    calls: AtomicUsize,
}

/// What can be made to go wrong.
#[derive(Debug, Clone, Default)]
pub struct Knobs {
    /// Not recovered yet: no list, no create.
    pub recovering: bool,
    /// How long a create takes.
    pub create_takes: Duration,
    /// How a create fails at its end.
    pub create_fails: Option<Fault>,
    /// How a destroy fails.
    pub destroy_fails: Option<Fault>,
}

#[derive(Debug)]
struct Process {
    /// Dropped when its input is closed.
    input: Option<mpsc::Sender<Vec<u8>>>,
    signal: CancellationToken,
}

impl FakeAgent {
    /// Serves on a socket at this path, with the templates `minimal` and `python`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(socket: &Path) -> std::io::Result<Self> {
        let state = Arc::new(State {
            sandboxes: Mutex::default(),
            files: Mutex::default(),
            inputs: Mutex::default(),
            templates: Mutex::new(vec!["minimal".into(), "python".into()]),
            knobs: Mutex::default(),
            next_pid: AtomicU32::new(100),
            commands: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        });
        let server = serve(socket, &state)?;
        Ok(Self { state, server })
    }

    /// Goes away, connections and all; what it has stays. [`Self::restart`] brings it back.
    pub fn stop(&self) {
        self.server.abort();
    }

    /// Serves again after [`Self::stop`].
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn restart(&mut self, socket: &Path) -> std::io::Result<()> {
        self.stop();
        std::fs::remove_file(socket)?;
        self.server = serve(socket, &self.state)?;
        Ok(())
    }

    /// Changes what goes wrong from now on.
    pub fn set(&self, change: impl FnOnce(&mut Knobs)) {
        change(&mut lock(&self.state.knobs));
    }

    /// What it has of this sandbox.
    #[must_use]
    pub fn sandbox(&self, id: &str) -> Option<rpc::Sandbox> {
        lock(&self.state.sandboxes).get(id).cloned()
    }

    /// How many sandboxes it has.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.state.sandboxes).len()
    }

    /// Has this sandbox from now on, however it came to be.
    pub fn put(&self, sandbox: rpc::Sandbox) {
        lock(&self.state.sandboxes).insert(sandbox.sandbox_id.clone(), sandbox);
    }

    /// Has this sandbox no more, as if it had ended by itself.
    pub fn lose(&self, id: &str) {
        lock(&self.state.sandboxes).remove(id);
    }

    /// The content of a file in a sandbox.
    #[must_use]
    pub fn file(&self, id: &str, path: &str) -> Option<Bytes> {
        lock(&self.state.files)
            .get(&(id.to_owned(), path.to_owned()))
            .cloned()
    }

    /// How many commands are running.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.state.commands.load(Ordering::SeqCst)
    }

    /// How many calls it has had.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Accepts until it is aborted; then every connection ends with it.
fn serve(socket: &Path, state: &Arc<State>) -> std::io::Result<JoinHandle<()>> {
    let listener = UnixListener::bind(socket)?;
    let router = connectrpc::Router::new().add_service(Arc::new(Service(Arc::clone(state))));
    let limits = Limits::default()
        .with_max_request_body_size(32 << 20)
        .with_max_message_size(32 << 20);
    let service = ConnectRpcService::new(router).with_limits(limits);
    Ok(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            connections.spawn(async move {
                // How a connection ended is its client's business.
                drop(
                    auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await,
                );
            });
            while connections.try_join_next().is_some() {}
        }
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A fault as the contract sends it.
fn refuse(fault: &Fault) -> ConnectError {
    let code = match fault.kind {
        ErrorKind::NotFound => ErrorCode::NotFound,
        ErrorKind::InvalidRequest => ErrorCode::InvalidArgument,
        ErrorKind::Unavailable => ErrorCode::Unavailable,
        ErrorKind::HostFull => ErrorCode::ResourceExhausted,
        _ => ErrorCode::Internal,
    };
    let detail = rpc::ErrorDetail {
        code: fault.kind.name().to_owned(),
        remedy: fault.remedy.clone(),
        retryable: fault.kind.retryable(),
        ..Default::default()
    };
    ConnectError::new(code, &fault.message).with_detail(connectrpc::ErrorDetail::from_message(
        "hostagent.v1.ErrorDetail",
        &detail,
    ))
}

fn refusal(kind: ErrorKind, message: &str) -> ConnectError {
    refuse(&Fault::new(kind, message, "do something else"))
}

impl State {
    fn knobs(&self) -> Knobs {
        self.calls.fetch_add(1, Ordering::SeqCst);
        lock(&self.knobs).clone()
    }

    /// The sandbox, if it runs; its use counts.
    fn running(&self, id: &str) -> Result<(), ConnectError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut sandboxes = lock(&self.sandboxes);
        let sandbox = sandboxes
            .get_mut(id)
            .ok_or_else(|| refuse(&Fault::no_sandbox(id)))?;
        if sandbox.status != "running" {
            return Err(refusal(
                ErrorKind::InvalidState,
                "the sandbox is not running",
            ));
        }
        sandbox.last_active_at_unix_ms = now_ms();
        Ok(())
    }

    fn content(&self, id: &str, path: &str) -> Result<Bytes, ConnectError> {
        if matches!(path, "/" | "/tmp") {
            return Err(refusal(ErrorKind::InvalidRequest, "this is a folder"));
        }
        let files = lock(&self.files);
        let found = files.get(&(id.to_owned(), path.to_owned())).cloned();
        found.ok_or_else(|| refusal(ErrorKind::NotFound, "there is no such file"))
    }

    fn write(&self, id: &str, path: &str, content: Bytes) -> Result<(), ConnectError> {
        if matches!(path, "/" | "/tmp") {
            return Err(refusal(ErrorKind::InvalidRequest, "this is a folder"));
        }
        if path != "/null" {
            lock(&self.files).insert((id.to_owned(), path.to_owned()), content);
        }
        Ok(())
    }
}

/// A create that is dropped before its end leaves nothing.
struct Unwind<'a> {
    state: &'a State,
    id: String,
    armed: bool,
}

impl Drop for Unwind<'_> {
    fn drop(&mut self) {
        if self.armed {
            lock(&self.state.sandboxes).remove(&self.id);
        }
    }
}

/// Counts a command for as long as it runs.
struct Running {
    state: Arc<State>,
    pid: u32,
}

impl Running {
    fn new(state: &Arc<State>, pid: u32) -> Self {
        state.commands.fetch_add(1, Ordering::SeqCst);
        Self {
            state: Arc::clone(state),
            pid,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.state.inputs).remove(&self.pid);
        self.state.commands.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn create(
    state: &State,
    request: rpc::CreateSandboxRequest,
    knobs: Knobs,
) -> Result<rpc::Sandbox, ConnectError> {
    let now = now_ms();
    let mut sandbox = rpc::Sandbox {
        sandbox_id: request.sandbox_id.clone(),
        status: "pending".into(),
        transition: "starting".into(),
        template: request.template,
        vcpus: request.vcpus,
        memory_mb: request.memory_mb,
        timeout_sec: request.timeout_sec,
        hostname: request.hostname,
        metadata: request.metadata,
        owner_id: request.owner_id,
        created_at_unix_ms: now,
        isolation: "emulated".into(),
        vmm: "qemu".into(),
        ..Default::default()
    };
    lock(&state.sandboxes).insert(request.sandbox_id.clone(), sandbox.clone());
    let mut unwind = Unwind {
        state,
        id: request.sandbox_id,
        armed: true,
    };
    tokio::time::sleep(knobs.create_takes).await;
    if let Some(fault) = knobs.create_fails {
        return Err(refuse(&fault));
    }
    let mut sandboxes = lock(&state.sandboxes);
    if !sandboxes.contains_key(&sandbox.sandbox_id) {
        return Err(refusal(
            ErrorKind::Conflict,
            "it was destroyed while it was created",
        ));
    }
    sandbox.status = "running".into();
    sandbox.transition.clear();
    sandbox.host_ip = format!("10.11.0.{}", sandboxes.len());
    sandbox.guest_ip = "169.254.0.21".into();
    sandbox.started_at_unix_ms = now_ms();
    sandbox.last_active_at_unix_ms = now_ms();
    sandboxes.insert(sandbox.sandbox_id.clone(), sandbox.clone());
    unwind.armed = false;
    Ok(sandbox)
}

/// How a command ends.
struct End {
    exit_code: i32,
    error: &'static str,
}

/// Runs a command; what it prints goes through `out`, standard error marked by `true`.
async fn run(
    cmd: &str,
    args: &[String],
    mut input: mpsc::Receiver<Vec<u8>>,
    out: &mpsc::Sender<(bool, Vec<u8>)>,
) -> Result<End, mpsc::error::SendError<(bool, Vec<u8>)>> {
    let mut exit_code = 0;
    let mut error = "";
    let number = || {
        args.first()
            .and_then(|arg| arg.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    match cmd {
        "echo" => {
            out.send((false, format!("{}\n", args.join(" ")).into_bytes()))
                .await?
        }
        "true" => {}
        "false" => exit_code = 1,
        "sleep" => tokio::time::sleep(Duration::from_secs_f64(number())).await,
        "cat" => {
            while let Some(bytes) = input.recv().await {
                out.send((false, bytes)).await?;
            }
        }
        "hex" => {
            for arg in args {
                out.send((false, unhex(arg))).await?;
                out.send((true, unhex(arg))).await?;
            }
        }
        "spew" => {
            for _ in 0..args.first().and_then(|arg| arg.parse().ok()).unwrap_or(0) * 16 {
                out.send((false, vec![b'x'; CHUNK])).await?;
            }
        }
        _ => error = "the sandbox was lost",
    }
    Ok(End { exit_code, error })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .filter_map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok())
        .collect()
}

fn known(cmd: &str) -> Result<(), ConnectError> {
    if matches!(
        cmd,
        "echo" | "true" | "false" | "sleep" | "cat" | "hex" | "spew" | "lost"
    ) {
        return Ok(());
    }
    Err(refusal(ErrorKind::NotFound, "there is no such program"))
}

struct Service(Arc<State>);

type Events = ServiceStream<rpc::ExecStreamResponse>;

fn event(event: impl Into<oneof::exec_stream_response::Event>) -> rpc::ExecStreamResponse {
    rpc::ExecStreamResponse {
        event: Some(event.into()),
        ..Default::default()
    }
}

impl HostAgentService for Service {
    async fn create_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::CreateSandboxRequest>,
    ) -> ServiceResult<rpc::CreateSandboxResponse> {
        let knobs = self.0.knobs();
        let request = request.to_owned_message();
        if knobs.recovering {
            return Err(refusal(ErrorKind::Unavailable, "the agent is recovering"));
        }
        if !lock(&self.0.templates).contains(&request.template) {
            return Err(refusal(ErrorKind::NotFound, "there is no such template"));
        }
        let sandbox = if request.detached {
            let state = Arc::clone(&self.0);
            let task = tokio::spawn(async move { create(&state, request, knobs).await });
            task.await
                .map_err(|error| ConnectError::internal(error.to_string()))??
        } else {
            create(&self.0, request, knobs).await?
        };
        Response::ok(rpc::CreateSandboxResponse {
            sandbox_id: sandbox.sandbox_id.clone(),
            status: sandbox.status.clone(),
            host_ip: sandbox.host_ip.clone(),
            sandbox: sandbox.into(),
            ..Default::default()
        })
    }

    async fn destroy_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DestroySandboxRequest>,
    ) -> ServiceResult<rpc::DestroySandboxResponse> {
        if let Some(fault) = self.0.knobs().destroy_fails {
            return Err(refuse(&fault));
        }
        lock(&self.0.sandboxes).remove(request.sandbox_id);
        Response::ok(rpc::DestroySandboxResponse::default())
    }

    async fn list_sandboxes(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::ListSandboxesRequest>,
    ) -> ServiceResult<rpc::ListSandboxesResponse> {
        if self.0.knobs().recovering {
            return Err(refusal(ErrorKind::Unavailable, "the agent is recovering"));
        }
        let sandboxes = lock(&self.0.sandboxes).values().cloned().collect();
        Response::ok(rpc::ListSandboxesResponse {
            sandboxes,
            ..Default::default()
        })
    }

    async fn ping(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::PingRequest>,
    ) -> ServiceResult<rpc::PingResponse> {
        self.0.running(request.sandbox_id)?;
        Response::ok(rpc::PingResponse::default())
    }

    async fn exec(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecRequest>,
    ) -> ServiceResult<rpc::ExecResponse> {
        let request = request.to_owned_message();
        self.0.running(&request.sandbox_id)?;
        known(&request.cmd)?;
        let _running = Running::new(&self.0, 0);
        let begun = Instant::now();
        let (stdin, input) = mpsc::channel(1);
        if let Some(bytes) = request.stdin {
            drop(stdin.try_send(bytes));
        }
        drop(stdin);
        let (out, mut printed) = mpsc::channel(16);
        let mut answer = rpc::ExecResponse::default();
        let limit = Duration::from_secs(u64::from(request.timeout_sec.max(1)));
        let work = async {
            let ended = run(&request.cmd, &request.args, input, &out).await;
            drop(out);
            ended
        };
        let collect = async {
            while let Some((is_stderr, bytes)) = printed.recv().await {
                if is_stderr {
                    &mut answer.stderr
                } else {
                    &mut answer.stdout
                }
                .extend(bytes);
            }
        };
        let outcome = tokio::time::timeout(limit, async { tokio::join!(work, collect).0 }).await;
        match outcome {
            Ok(Ok(end)) if end.error.is_empty() => answer.exit_code = end.exit_code,
            Ok(_) => return Err(refusal(ErrorKind::AgentError, "the command was lost")),
            Err(_) => (answer.exit_code, answer.timed_out) = (137, true),
        }
        answer.duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Response::ok(answer)
    }

    async fn exec_stream(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecStreamRequest>,
    ) -> ServiceResult<Events> {
        let request = request.to_owned_message();
        self.0.running(&request.sandbox_id)?;
        known(&request.cmd)?;
        let pid = self.0.next_pid.fetch_add(1, Ordering::SeqCst);
        let (stdin, input) = mpsc::channel(16);
        let signal = CancellationToken::new();
        let process = Process {
            input: request.stdin.then_some(stdin),
            signal: signal.clone(),
        };
        lock(&self.0.inputs).insert(pid, process);
        let running = Running::new(&self.0, pid);
        let (out, printed) = mpsc::channel(4);
        let (ended, end) = tokio::sync::oneshot::channel();
        let detach = request.detach;
        let work = async move {
            let _running = running;
            let code = tokio::select! {
                outcome = run(&request.cmd, &request.args, input, &out) => {
                    outcome.unwrap_or(End { exit_code: 141, error: "" })
                }
                () = signal.cancelled() => End { exit_code: 143, error: "" },
            };
            drop(out);
            drop(ended.send(code));
        };
        // Without `detach` the command's future lives in the answer's stream, and ends with it.
        let driver = if detach {
            tokio::spawn(work);
            stream::empty().left_stream()
        } else {
            stream::once(work)
                .filter_map(|()| async { None })
                .right_stream()
        };
        let data = ReceiverStream::new(printed).map(|(is_stderr, bytes)| {
            let output = if is_stderr {
                oneof::exec_stream_response::data::Output::Stderr(bytes)
            } else {
                oneof::exec_stream_response::data::Output::Stdout(bytes)
            };
            event(rpc::exec_stream_response::Data {
                output: Some(output),
                ..Default::default()
            })
        });
        let start = stream::once(async move {
            event(rpc::exec_stream_response::Start {
                pid,
                ..Default::default()
            })
        });
        let end = stream::once(async move {
            let end = end.await.unwrap_or(End {
                exit_code: 0,
                error: "the command was lost",
            });
            let (exit_code, error) = (end.exit_code, end.error.to_owned());
            event(rpc::exec_stream_response::End {
                exit_code,
                error,
                ..Default::default()
            })
        });
        let events = start.chain(stream::select(driver, data)).chain(end);
        Response::ok(Box::pin(events.map(Ok)) as Events)
    }

    async fn send_input(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SendInputRequest>,
    ) -> ServiceResult<rpc::SendInputResponse> {
        self.0.running(request.sandbox_id)?;
        let input = lock(&self.0.inputs)
            .get(&request.pid)
            .and_then(|process| process.input.clone());
        let input =
            input.ok_or_else(|| refusal(ErrorKind::NotFound, "there is no such process"))?;
        input
            .send(request.data.to_vec())
            .await
            .map_err(|_| refusal(ErrorKind::NotFound, "it has ended"))?;
        Response::ok(rpc::SendInputResponse::default())
    }

    async fn close_input(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::CloseInputRequest>,
    ) -> ServiceResult<rpc::CloseInputResponse> {
        self.0.running(request.sandbox_id)?;
        if let Some(process) = lock(&self.0.inputs).get_mut(&request.pid) {
            process.input = None;
        }
        Response::ok(rpc::CloseInputResponse::default())
    }

    async fn send_signal(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SendSignalRequest>,
    ) -> ServiceResult<rpc::SendSignalResponse> {
        self.0.running(request.sandbox_id)?;
        if let Some(process) = lock(&self.0.inputs).get(&request.pid) {
            process.signal.cancel();
        }
        Response::ok(rpc::SendSignalResponse::default())
    }

    async fn write_file(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::WriteFileRequest>,
    ) -> ServiceResult<rpc::WriteFileResponse> {
        self.0.running(request.sandbox_id)?;
        self.0.write(
            request.sandbox_id,
            request.path,
            Bytes::copy_from_slice(request.content),
        )?;
        Response::ok(rpc::WriteFileResponse::default())
    }

    async fn read_file(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ReadFileRequest>,
    ) -> ServiceResult<rpc::ReadFileResponse> {
        self.0.running(request.sandbox_id)?;
        let content = self.0.content(request.sandbox_id, request.path)?.to_vec();
        Response::ok(rpc::ReadFileResponse {
            content,
            ..Default::default()
        })
    }

    async fn write_file_stream(
        &self,
        _: RequestContext,
        mut requests: InboundStream<rpc::WriteFileStreamRequest>,
    ) -> ServiceResult<rpc::WriteFileStreamResponse> {
        use view::oneof::write_file_stream_request::Part;
        let mut target = None;
        let mut content = Vec::new();
        while let Some(message) = requests.next().await {
            let message = message?;
            match (&message.view().part, &target) {
                (Some(Part::Meta(meta)), None) => {
                    self.0.running(meta.sandbox_id)?;
                    // A folder is refused before the content has come.
                    if meta.path == "/tmp" {
                        return Err(refusal(ErrorKind::InvalidRequest, "this is a folder"));
                    }
                    target = Some((meta.sandbox_id.to_owned(), meta.path.to_owned()));
                }
                (Some(Part::Chunk(chunk)), Some((_, path))) if path != "/null" => {
                    content.extend_from_slice(chunk)
                }
                (Some(Part::Chunk(_)), Some(_)) => {}
                (Some(Part::Complete(true)), Some((id, path))) => {
                    self.0.write(id, path, content.into())?;
                    return Response::ok(rpc::WriteFileStreamResponse::default());
                }
                _ => {
                    return Err(refusal(
                        ErrorKind::InvalidRequest,
                        "this part is out of order",
                    ));
                }
            }
        }
        Err(refusal(ErrorKind::InvalidRequest, "the upload broke off"))
    }

    async fn read_file_stream(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ReadFileStreamRequest>,
    ) -> ServiceResult<ServiceStream<rpc::ReadFileStreamResponse>> {
        self.0.running(request.sandbox_id)?;
        let zeros = request
            .path
            .strip_prefix("/zeros/")
            .and_then(|number| number.parse::<usize>().ok());
        let chunks: std::pin::Pin<Box<dyn Stream<Item = Vec<u8>> + Send>> = match zeros {
            Some(mib) => Box::pin(stream::iter(0..mib * 16).map(|_| vec![0; CHUNK])),
            None => {
                let content = self.0.content(request.sandbox_id, request.path)?;
                let chunks: Vec<_> = content.chunks(CHUNK).map(<[u8]>::to_vec).collect();
                Box::pin(stream::iter(chunks))
            }
        };
        let messages = chunks.map(|chunk| {
            Ok(rpc::ReadFileStreamResponse {
                chunk,
                ..Default::default()
            })
        });
        Response::ok(Box::pin(messages) as ServiceStream<_>)
    }

    async fn console(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ConsoleRequest>,
    ) -> ServiceResult<rpc::ConsoleResponse> {
        let _ = self.0.knobs();
        if !lock(&self.0.sandboxes).contains_key(request.sandbox_id) {
            return Err(refuse(&Fault::no_sandbox(request.sandbox_id)));
        }
        let content = b"[    0.000000] Linux version\n\xff\x1b[31m".to_vec();
        Response::ok(rpc::ConsoleResponse {
            content,
            ..Default::default()
        })
    }

    async fn list_templates(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::ListTemplatesRequest>,
    ) -> ServiceResult<rpc::ListTemplatesResponse> {
        let _ = self.0.knobs();
        let one = |name: &String| rpc::Template {
            name: name.clone(),
            size_bytes: 1 << 20,
            created_at_unix_ms: 1_772_366_400_000,
            ..Default::default()
        };
        let templates = lock(&self.0.templates).iter().map(one).collect();
        Response::ok(rpc::ListTemplatesResponse {
            templates,
            ..Default::default()
        })
    }

    async fn delete_template(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DeleteTemplateRequest>,
    ) -> ServiceResult<rpc::DeleteTemplateResponse> {
        let _ = self.0.knobs();
        let mut templates = lock(&self.0.templates);
        let before = templates.len();
        templates.retain(|name| name != request.name);
        if templates.len() == before {
            return Err(refusal(ErrorKind::NotFound, "there is no such template"));
        }
        Response::ok(rpc::DeleteTemplateResponse::default())
    }

    async fn health(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::HealthRequest>,
    ) -> ServiceResult<rpc::HealthResponse> {
        Response::ok(rpc::HealthResponse {
            ready: !self.0.knobs().recovering,
            instance_id: "abc123".into(),
            version: "0.1.0".into(),
            isolation: "emulated".into(),
            vmm: "qemu".into(),
            cpus: 4,
            memory_mb: 8192,
            ..Default::default()
        })
    }

    async fn shutdown(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::ShutdownRequest>,
    ) -> ServiceResult<rpc::ShutdownResponse> {
        let _ = self.0.knobs();
        let mut sandboxes = lock(&self.0.sandboxes);
        let destroyed = u32::try_from(sandboxes.len()).unwrap_or(u32::MAX);
        sandboxes.clear();
        Response::ok(rpc::ShutdownResponse {
            destroyed,
            ..Default::default()
        })
    }
}
