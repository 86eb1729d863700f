//! Calls into a guest: its first minute, commands, files. What it answers is untrusted.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use wrenn_envd_api::{InitRequest, Timestamp};
use wrenn_envd_client::{Connector, EnvdClient, Error, FileStream, RefusedCode, Stream};
use wrenn_model::{ErrorKind, Fault};
use wrenn_sys::{process, wall};
use wrenn_vmm::{Machine, VmEvent};

use crate::exec::{self, Command};
use crate::failure::Failed;
use crate::machine::reason;
use crate::pools::OLDEST;
use crate::record::{Record, Vm, entropy};
use crate::steps::Guest;
use wrenn_model::chain;

/// How often a guest that is coming up is called. A SYN that came too early is lost, and the kernel would send the next one
/// only after a second.
const CALL_EVERY: Duration = Duration::from_millis(15);
/// How long each call may take: a guest that has just been restored answers slowly at first.
const ATTEMPT: Duration = Duration::from_millis(120);
/// How far a guest's clock may be off before it is set again.
const CLOCK_ERROR: Duration = Duration::from_millis(15);
/// How often it is set again at the most.
const CLOCK_TRIES: u32 = 3;
/// How long a guest has to take the time.
const CLOCK_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait where the guest refused: its network is up, its agent is about to listen.
const REFUSED_PAUSE: Duration = Duration::from_millis(3);

/// How often it is looked whether a guest has come to rest: it is when it takes less than a tenth of a processor.
const SETTLE_LOOK: Duration = Duration::from_millis(100);
/// How often in a row it has to be seen to be.
const QUIET_LOOKS: u32 = 3;
/// How long a guest has to come to rest.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// How long a guest that stands ready keeps the connection that it was used over: longer than it may stand.
const STANDING: Duration = OLDEST.saturating_add(Duration::from_secs(60));
/// How long a guest has for the first command that it is tried with.
const TOUCH_LIMIT: Duration = Duration::from_secs(30);

/// Uses a connection that stands already before it dials.
struct Ready {
    dialer: Arc<dyn Connector>,
    ready: Mutex<Option<Box<dyn Stream>>>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.dialer.fmt(f)
    }
}

impl Connector for Ready {
    fn connect(&self, port: u16) -> BoxFuture<'static, std::io::Result<Box<dyn Stream>>> {
        match self.ready.lock().ok().and_then(|mut ready| ready.take()) {
            Some(stream) => Box::pin(async { Ok(stream) }),
            None => self.dialer.connect(port),
        }
    }
}

/// A client for the guest behind a slot.
pub(crate) fn client(dialer: Arc<dyn Connector>, token: &str) -> EnvdClient {
    EnvdClient::new(dialer).with_token(token.to_owned())
}

/// The same for a guest that is about to stand still: its connection is kept as long as one may.
pub(crate) fn patient_client(dialer: Arc<dyn Connector>, token: &str) -> EnvdClient {
    EnvdClient::patient(dialer, STANDING).with_token(token.to_owned())
}

/// One with a connection that stands already.
pub(crate) fn client_over(
    dialer: Arc<dyn Connector>,
    ready: Box<dyn Stream>,
    token: &str,
) -> EnvdClient {
    let ready = Mutex::new(Some(ready));
    client(Arc::new(Ready { dialer, ready }), token)
}

/// Why a guest did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error("the guest did not answer within {0:?}")]
    Silent(Duration),
    #[error("the guest powered off while it booted")]
    PoweredOff,
    #[error("the guest kernel panicked while it booted")]
    Panicked,
    #[error("the host's disk is full")]
    DiskFull(#[source] std::io::Error),
    #[error("{0}")]
    Ended(String),
}

/// Returns the first connection that the guest agent takes.
pub(crate) async fn wait_for_boot(
    dialer: &dyn Connector,
    machine: &dyn Machine,
    limit: Duration,
) -> Result<Box<dyn Stream>, BootError> {
    let mut events = machine.events();
    tokio::select! {
        stream = first_connection(dialer) => Ok(stream),
        () = tokio::time::sleep(limit) => Err(BootError::Silent(limit)),
        event = events.recv() => Err(match event {
            Ok(VmEvent::Shutdown { .. }) => BootError::PoweredOff,
            Ok(VmEvent::Panicked) => BootError::Panicked,
            Ok(VmEvent::IoError { .. }) => {
                BootError::DiskFull(std::io::ErrorKind::StorageFull.into())
            }
            Ok(VmEvent::Ended { how }) => BootError::Ended(reason(&how).to_string()),
            Err(_) => BootError::Ended("nobody watches the virtual machine".into()),
        }),
    }
}

/// Calls again and again, without giving up the calls before, until one is taken.
async fn first_connection(dialer: &dyn Connector) -> Box<dyn Stream> {
    let mut beat = tokio::time::interval(CALL_EVERY);
    let mut calls = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let call = dialer.connect(wrenn_envd_api::guest::PORT);
                calls.push(tokio::time::timeout(ATTEMPT, call));
            }
            Some(called) = calls.next() => match called {
                Ok(Ok(stream)) => return stream,
                Ok(Err(_)) => beat.reset_after(REFUSED_PAUSE),
                Err(_) => {}
            }
        }
    }
}

/// Tells a guest who it is: fresh entropy, the clock, its names, its variables and the keys of every later call. One that
/// came out of a generation is shown the key that it knows. What repeats in all that go on from one state is made new in the same
/// call, before anybody else may call it.
pub(crate) async fn introduce(
    client: &EnvdClient,
    record: &Record,
    vm: &Vm,
    known: Option<&str>,
) -> Result<(), Error> {
    let (keys, spec) = (&vm.keys, &record.spec);
    let first = vm.origin.is_first();
    let began = Instant::now();
    let request = InitRequest {
        env_vars: Some(spec.envs.clone()),
        access_token: Some(keys.token.clone().into()),
        timestamp: Some(now()),
        default_user: Some("root".into()),
        // One that comes back has the name that it had, which may be another by now.
        hostname: (first || known.is_none()).then(|| spec.hostname.clone()),
        entropy: Some(
            base64::engine::general_purpose::STANDARD
                .encode(entropy())
                .into(),
        ),
        // A sandbox that comes back is the machine that it was.
        machine_id: first.then(|| machine_id(spec.id.as_str())),
        boot_id: first.then(boot_id),
        renew: first && known.is_some(),
        sandbox_id: Some(spec.id.to_string()),
        template_id: Some(spec.template.to_string()),
        next_init_key: Some(keys.init_key.clone().into()),
        ..InitRequest::default()
    };
    let told = client.init(&request, known).await?;
    set_clock_closely(client, &keys.init_key, told.guest_time).await?;
    tracing::debug!(took = ?began.elapsed(), "introduced");
    Ok(())
}

/// Waits until a guest that has come up has nothing to do any more, as its VMM's processor time shows. One that is never at rest is
/// waited for no longer than [`SETTLE_LIMIT`].
pub(crate) async fn settle(vmm: i32) {
    let until = Instant::now() + SETTLE_LIMIT;
    let mut quiet = 0;
    let mut before = cpu_time(vmm);
    while quiet < QUIET_LOOKS && Instant::now() < until {
        tokio::time::sleep(SETTLE_LOOK).await;
        let now = cpu_time(vmm);
        let busy = now.saturating_sub(before) > SETTLE_LOOK / 10;
        quiet = if busy { 0 } else { quiet + 1 };
        before = now;
    }
}

fn cpu_time(pid: i32) -> Duration {
    let used = process::usage(pid).ok().flatten();
    used.map(|used| used.cpu).unwrap_or_default()
}

/// Has a guest do once what its first caller will ask of it: an emulated one is several times faster at what it has done before.
/// Nothing of it stays but a process number.
pub(crate) async fn touch(guest: &Guest) -> Result<(), Failed> {
    let command = Command {
        // Looked for as any command is, in the directory that all begin in.
        cmd: "true".into(),
        limit: Some(TOUCH_LIMIT),
        ..Command::default()
    };
    let done = exec::collect(guest.clone(), command, None).await;
    // A template need not have it: what was tried is as good.
    done.map(drop).or_else(|fault| match fault.kind {
        ErrorKind::NotFound | ErrorKind::InvalidRequest => Ok(()),
        _ => Err(Failed::from_fault(fault)),
    })
}

/// Sets the clock of a guest that runs. One that does not answer within [`CLOCK_LIMIT`] is told [`Error::TimedOut`].
pub(crate) async fn set_clock(client: &EnvdClient, key: &str) -> Result<(), Error> {
    let set = async {
        let told = tell_time(client, key).await?;
        set_clock_closely(client, key, told).await
    };
    tokio::time::timeout(CLOCK_LIMIT, set)
        .await
        .unwrap_or(Err(Error::TimedOut))
}

/// A guest that has just been restored takes its time to answer, and by so much its clock is late: it is told the time
/// again while its clock, as it says itself, is off by more than [`CLOCK_ERROR`].
async fn set_clock_closely(
    client: &EnvdClient,
    key: &str,
    mut guest_time: Option<SystemTime>,
) -> Result<(), Error> {
    for _ in 0..CLOCK_TRIES {
        let now_here = wall::now();
        let off = guest_time.map(|there| {
            now_here
                .duration_since(there)
                .unwrap_or_else(|ahead| ahead.duration())
        });
        match off {
            Some(off) if off > CLOCK_ERROR => {
                tracing::debug!(?off, "the guest's clock is set again");
            }
            _ => break,
        }
        guest_time = tell_time(client, key).await?;
    }
    Ok(())
}

/// Tells a guest the time. The answer is what its clock shows then.
async fn tell_time(client: &EnvdClient, key: &str) -> Result<Option<SystemTime>, Error> {
    let request = InitRequest {
        timestamp: Some(now()),
        ..InitRequest::default()
    };
    Ok(client.init(&request, Some(key)).await?.guest_time)
}

/// 32 hex digits that differ for each sandbox, as machine-id(5) wants them.
fn machine_id(id: &str) -> String {
    let high = crc32fast::hash(id.as_bytes());
    let random = entropy();
    let low: String = random[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{high:08x}{low}")
}

/// A random UUID, as the kernel writes those of its boots.
fn boot_id() -> String {
    let mut bytes: [u8; 16] = entropy()[..16].try_into().unwrap_or_default();
    // Version 4, RFC 9562.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

fn now() -> Timestamp {
    let now = wall::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or_default(),
        nanos: i32::try_from(now.subsec_nanos()).unwrap_or_default(),
        ..Timestamp::default()
    }
}

/// What a refusal of the guest means to the caller.
pub(crate) fn fault(error: &Error) -> Fault {
    let told = chain(error);
    match error {
        Error::Refused { code, message } => refusal(*code, message),
        Error::Unreachable(_) => Fault::new(
            ErrorKind::AgentError,
            format!("the guest cannot be reached: {told}"),
            "look at the sandbox's status and console; try again",
        ),
        Error::TimedOut => Fault::new(
            ErrorKind::Timeout,
            "the guest did not answer in time",
            "try again, or destroy the sandbox",
        ),
        Error::Content(_) => Fault::new(
            ErrorKind::InvalidRequest,
            "the upload broke off; the file is as it was",
            "send it again, whole",
        ),
        Error::TooLarge | Error::Protocol(_) => Fault::new(
            ErrorKind::AgentError,
            format!("the guest's answer makes no sense: {told}"),
            "something in the guest may have replaced its agent: destroy the sandbox",
        ),
    }
}

fn refusal(code: RefusedCode, message: &str) -> Fault {
    let (kind, remedy) = match code {
        RefusedCode::NotFound => (ErrorKind::NotFound, "check the path"),
        RefusedCode::AlreadyExists => (ErrorKind::AlreadyExists, "choose another name"),
        RefusedCode::InvalidArgument => (ErrorKind::InvalidRequest, "correct the request"),
        RefusedCode::PermissionDenied => (ErrorKind::Forbidden, "act as another user"),
        RefusedCode::ResourceExhausted => (
            ErrorKind::HostFull,
            "the guest's disk, memory or processes are used up: free some inside it",
        ),
        RefusedCode::FailedPrecondition => (ErrorKind::Conflict, "look at what is there first"),
        RefusedCode::Unimplemented => (ErrorKind::NotSupported, "this version cannot do it"),
        _ => (
            ErrorKind::AgentError,
            "look at the sandbox's console; destroy it if it stays",
        ),
    };
    Fault::new(kind, message, remedy)
}

/// A file's content on its way into a guest.
pub(crate) async fn write_file<S>(
    client: &EnvdClient,
    path: &str,
    user: &str,
    body: S,
) -> Result<(), Fault>
where
    S: futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
{
    client
        .write_file(path, named(user), body)
        .await
        .map_err(|error| fault(&error))
}

/// A file's content on its way out of a guest.
pub(crate) async fn read_file(
    client: &EnvdClient,
    path: &str,
    user: &str,
) -> Result<FileStream, Fault> {
    client
        .read_file(path, named(user))
        .await
        .map_err(|error| fault(&error))
}

/// The same at once, when it has at most `limit` bytes.
pub(crate) async fn read_whole_file(
    client: &EnvdClient,
    path: &str,
    user: &str,
    limit: usize,
) -> Result<Vec<u8>, Fault> {
    let mut chunks = read_file(client, path, user).await?;
    let mut content = Vec::new();
    while let Some(chunk) = chunks.next().await.map_err(|error| fault(&error))? {
        if content.len() + chunk.len() > limit {
            return Err(Fault::new(
                ErrorKind::TooLarge,
                format!("the file is larger than {} MiB", limit >> 20),
                "read it as a stream",
            ));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

/// An empty user name means root.
pub(crate) fn named(user: &str) -> Option<&str> {
    (!user.is_empty()).then_some(user)
}
