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
//! A pause closes the conversations about commands and leaves the commands running; a cold resume ends them. A call
//! into a paused sandbox that resumes by itself resumes it first.
//!
//! A file `/zeros/N` reads as N MiB of zeros; what is written to `/null` is thrown away; folders are `/` and `/tmp`.

mod command;
mod door;
mod fork;
mod pause;
mod pool;
mod process;
mod service;
mod snapshot;
mod template;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use bytes::Bytes;
use connectrpc::{ConnectError, ConnectRpcService, ErrorCode, Limits};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio::task::{JoinHandle, JoinSet};
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::protocol::{self, Protocol};
use wrenn_model::{ErrorKind, Fault};

pub use door::Door;
use process::Process;
use service::Service;

const CHUNK: usize = 64 * 1024;
/// Changes that a listener may be behind.
const CHANGES: usize = 64;

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
    processes: Mutex<HashMap<u32, Process>>,
    templates: Mutex<BTreeMap<String, rpc::Template>>,
    pools: Mutex<BTreeMap<pool::Shape, rpc::Pool>>,
    knobs: Mutex<Knobs>,
    next_pid: AtomicU32,
    /// Commands that are running.
    commands: AtomicUsize,
    /// Calls of any kind.
    calls: AtomicUsize,
    /// Held by a pause or a resume: one at a time.
    turn: tokio::sync::Mutex<()>,
    /// Resumes that came to their end.
    resumes: AtomicUsize,
    /// The sandboxes that were to boot from a disk.
    cold: Mutex<BTreeSet<String>>,
    /// The requests that calls were made for.
    requests: Mutex<BTreeSet<String>>,
    /// Sandboxes that change, come or go.
    changes: broadcast::Sender<String>,
    /// Calls that are held at its door, on their way in or out.
    held: AtomicUsize,
    /// Calls that change a sandbox and have been done.
    done: AtomicUsize,
}

/// What can be made to go wrong.
#[derive(Debug, Clone, Default)]
pub struct Knobs {
    /// The version of the contract that it speaks, where it is not this one.
    pub speaks: Option<Protocol>,
    /// Tells of what changes by itself; without, it is as an agent that knows no such call.
    pub tells: bool,
    /// How many CPUs it says that the host has; 4 where that is `None`.
    pub cpus: Option<u32>,
    /// How much memory, likewise; 8192 MiB.
    pub memory_mb: Option<u64>,
    /// Not recovered yet: no list, no create.
    pub recovering: bool,
    /// How long a create takes.
    pub create_takes: Duration,
    /// How long it takes to say what it has.
    pub list_takes: Duration,
    /// How a create fails at its end.
    pub create_fails: Option<Fault>,
    /// How long a destroy takes, once the sandbox is gone.
    pub destroy_takes: Duration,
    /// How a destroy fails.
    pub destroy_fails: Option<Fault>,
    /// How long a pause takes.
    pub pause_takes: Duration,
    /// By how many milliseconds its clock is behind, where a snapshot says when it was made.
    pub behind_ms: i64,
    /// How a pause fails at its end; the sandbox runs on.
    pub pause_fails: Option<Fault>,
    /// How long a change of a network policy takes, once it is in force.
    pub network_takes: Duration,
    /// How a change of a network policy fails; the sandbox keeps the one that it has.
    pub network_fails: Option<Fault>,
    /// How long a resume takes.
    pub resume_takes: Duration,
    /// How a resume fails at its end, unless it is cold; the sandbox stays as it is.
    pub resume_fails: Option<Fault>,
    /// How long a snapshot takes.
    pub snapshot_takes: Duration,
    /// How a snapshot fails at its end; its source goes on.
    pub snapshot_fails: Option<Fault>,
    /// How long a fork takes.
    pub fork_takes: Duration,
    /// How a fork fails at its end, with all its children; its source goes on.
    pub fork_fails: Option<Fault>,
    /// How single children of a fork fail, by their places in it.
    pub fork_child_fails: BTreeMap<usize, Fault>,
    /// How the warming of a pool fails.
    pub pool_fails: Option<Fault>,
    /// What is wrong with every generation.
    pub damage: Option<String>,
    /// What becomes of calls that change a sandbox on their way.
    pub door: Door,
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
            processes: Mutex::default(),
            templates: Mutex::new(template::base().collect()),
            pools: Mutex::default(),
            knobs: Mutex::default(),
            next_pid: AtomicU32::new(100),
            commands: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            turn: tokio::sync::Mutex::default(),
            resumes: AtomicUsize::new(0),
            cold: Mutex::default(),
            requests: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES),
            held: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
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
        let id = sandbox.sandbox_id.clone();
        lock(&self.state.sandboxes).insert(id.clone(), sandbox);
        self.state.changed(&id);
    }

    /// Has this sandbox no more, as if it had ended by itself.
    pub fn lose(&self, id: &str) {
        lock(&self.state.sandboxes).remove(id);
        self.state.changed(id);
    }

    /// What it has of this template.
    #[must_use]
    pub fn template(&self, name: &str) -> Option<rpc::Template> {
        lock(&self.state.templates).get(name).cloned()
    }

    /// Has this template from now on, however it came to be.
    pub fn put_template(&self, template: rpc::Template) {
        lock(&self.state.templates).insert(template.name.clone(), template);
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

    /// How many resumes came to their end, those that a call brought about among them.
    #[must_use]
    pub fn resumes(&self) -> usize {
        self.state.resumes.load(Ordering::SeqCst)
    }

    /// Whether this sandbox was to boot from its template's disk.
    #[must_use]
    pub fn was_cold(&self, id: &str) -> bool {
        lock(&self.state.cold).contains(id)
    }

    /// Whether a call was made for the request of this id.
    #[must_use]
    pub fn heard_of(&self, request_id: &str) -> bool {
        lock(&self.state.requests).contains(request_id)
    }

    /// How many calls its door holds just now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::SeqCst)
    }

    /// How many calls that change a sandbox it has done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.state.done.load(Ordering::SeqCst)
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
    let state = Arc::clone(state);
    let versioned =
        middleware::from_fn(move |request, next| speak(Arc::clone(&state), request, next));
    let service = axum::Router::new()
        .fallback_service(service)
        .layer(versioned);
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

/// Answers callers of the major version that it speaks.
async fn speak(state: Arc<State>, request: Request, next: Next) -> Response {
    if let Some(id) = request.headers().get(protocol::REQUEST_ID) {
        let id = String::from_utf8_lossy(id.as_bytes()).into_owned();
        lock(&state.requests).insert(id);
    }
    let knobs = state.knobs();
    let version = knobs.speaks.unwrap_or(protocol::CURRENT);
    match version.check(request.headers()) {
        Ok(()) => door::pass(&state, knobs.door, request, next).await,
        Err(mismatch) => ConnectError::from(mismatch)
            .into_http_response(request.headers())
            .map(Body::new),
    }
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

/// What each of its sandboxes takes of its disk.
pub const STORAGE_BYTES: u64 = 100 << 20;

/// A fault as it travels.
fn detail(fault: &Fault) -> rpc::ErrorDetail {
    rpc::ErrorDetail {
        code: fault.kind.name().to_owned(),
        remedy: fault.remedy.clone(),
        retryable: fault.kind.retryable(),
        retry_after_sec: fault.retry_after_sec,
        ..Default::default()
    }
}

/// A fault as the contract sends it.
fn refuse(fault: &Fault) -> ConnectError {
    let code = match fault.kind {
        ErrorKind::NotFound => ErrorCode::NotFound,
        ErrorKind::InvalidRequest => ErrorCode::InvalidArgument,
        ErrorKind::Unavailable => ErrorCode::Unavailable,
        ErrorKind::HostBusy | ErrorKind::HostFull => ErrorCode::ResourceExhausted,
        ErrorKind::InvalidState | ErrorKind::Conflict => ErrorCode::FailedPrecondition,
        _ => ErrorCode::Internal,
    };
    ConnectError::new(code, &fault.message).with_detail(connectrpc::ErrorDetail::from_message(
        "hostagent.v1.ErrorDetail",
        &detail(fault),
    ))
}

fn refusal(kind: ErrorKind, message: &str) -> ConnectError {
    refuse(&Fault::new(kind, message, "do something else"))
}

impl State {
    /// Tells whoever listens.
    fn changed(&self, id: &str) {
        drop(self.changes.send(id.to_owned()));
    }

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

    /// What is a copy has the files that its source has.
    fn copy_files(&self, source: &str, copy: &str) {
        let mut files = lock(&self.files);
        let copied: Vec<_> = files
            .iter()
            .filter(|((owner, _), _)| owner == source)
            .map(|((_, path), content)| ((copy.to_owned(), path.clone()), content.clone()))
            .collect();
        files.extend(copied);
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
            self.state.changed(&self.id);
        }
    }
}

async fn create(
    state: &State,
    request: rpc::CreateSandboxRequest,
    knobs: Knobs,
) -> Result<rpc::Sandbox, ConnectError> {
    let now = now_ms();
    let known = lock(&state.sandboxes).get(&request.sandbox_id).cloned();
    if let Some(known) = known.filter(|known| known.transition.is_empty()) {
        return Ok(known);
    }
    let snapshot = lock(&state.templates).get(&request.template).cloned();
    let snapshot = snapshot.filter(template::is_snapshot);
    let (vcpus, memory_mb) = snapshot.map_or((request.vcpus, request.memory_mb), |snapshot| {
        state.copy_files(&template::files_of(&snapshot.name), &request.sandbox_id);
        (snapshot.vcpus, snapshot.memory_mb)
    });
    let sandbox = rpc::Sandbox {
        sandbox_id: request.sandbox_id.clone(),
        status: "pending".into(),
        transition: "starting".into(),
        template: request.template,
        vcpus,
        memory_mb,
        timeout_sec: request.timeout_sec,
        hostname: request.hostname,
        metadata: request.metadata,
        owner_id: request.owner_id,
        on_timeout: request.on_timeout,
        auto_resume: request.auto_resume,
        network: request.network,
        created_at_unix_ms: now,
        isolation: "emulated".into(),
        vmm: "qemu".into(),
        ..Default::default()
    };
    lock(&state.sandboxes).insert(request.sandbox_id.clone(), sandbox);
    state.changed(&request.sandbox_id);
    if request.cold {
        lock(&state.cold).insert(request.sandbox_id.clone());
    }
    let mut unwind = Unwind {
        state,
        id: request.sandbox_id.clone(),
        armed: true,
    };
    tokio::time::sleep(knobs.create_takes).await;
    if let Some(fault) = knobs.create_fails {
        return Err(refuse(&fault));
    }
    let running = run(state, &request.sandbox_id)
        .ok_or_else(|| refusal(ErrorKind::Conflict, "it was destroyed while it was created"))?;
    unwind.armed = false;
    Ok(running)
}

/// A sandbox that has begun runs now, unless it is no more.
fn run(state: &State, id: &str) -> Option<rpc::Sandbox> {
    let mut sandboxes = lock(&state.sandboxes);
    let host_ip = format!("10.11.0.{}", sandboxes.len());
    let sandbox = sandboxes.get_mut(id)?;
    sandbox.status = "running".into();
    sandbox.transition.clear();
    sandbox.host_ip = host_ip;
    sandbox.guest_ip = "169.254.0.21".into();
    sandbox.started_at_unix_ms = now_ms();
    sandbox.last_active_at_unix_ms = now_ms();
    state.changed(id);
    Some(sandbox.clone())
}
