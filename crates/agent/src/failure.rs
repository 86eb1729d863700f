//! A step that may fail: with an error, a panic, by taking too long, or on demand. All of them are one error.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use wrenn_model::{ErrorKind, Fault};
use wrenn_traces::Span;

use crate::Host;
use crate::steps::Parts;
use crate::traced;
use wrenn_model::chain;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[error("step {step}: {reason}")]
pub(crate) struct StepError {
    pub(crate) step: &'static str,
    pub(crate) kind: ErrorKind,
    pub(crate) reason: String,
    pub(crate) remedy: Option<&'static str>,
}

impl StepError {
    /// What to tell the caller. `what` has become of the sandbox.
    pub(crate) fn fault(&self, what: &str) -> Fault {
        let remedy = self.remedy.unwrap_or(match self.kind {
            ErrorKind::HostFull => "free disk space on the host, or destroy sandboxes",
            ErrorKind::Conflict => "try again",
            _ => "see the agent's log on the host; the request may be tried again",
        });
        Fault::new(self.kind, format!("{what}: {self}"), remedy)
    }
}

/// What a caller is told of our own mistake, a panic in a thread say.
pub(crate) fn internal(error: impl std::fmt::Display) -> Fault {
    Fault::new(
        ErrorKind::Internal,
        error.to_string(),
        "see the agent's log",
    )
}

/// A failure inside a step.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) kind: ErrorKind,
    pub(crate) reason: String,
    pub(crate) remedy: Option<&'static str>,
}

impl Failed {
    /// A step that came to a fault of its own.
    pub(crate) fn from_fault(fault: Fault) -> Self {
        Self::of(fault.kind, fault.message)
    }

    /// The opposite, for what is no step.
    pub(crate) fn fault(self) -> Fault {
        let remedy = self.remedy.unwrap_or("see the agent's log, and try again");
        Fault::new(self.kind, self.reason, remedy)
    }

    pub(crate) fn of(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            remedy: None,
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        let (kind, remedy) = if no_space(&error) {
            (ErrorKind::HostFull, None)
        } else {
            meaning(&error)
        };
        Self {
            kind,
            reason: chain(&error),
            remedy,
        }
    }
}

/// What to do about what breaks off with the agent.
pub(crate) const ENDING: &str = "start Wrenn again, and try again then";

/// What to do about an archive that is refused.
pub(crate) const EXPORT_AGAIN: &str = "the archive is not whole, or none of ours: export it again";

/// What to do where a disk can not be attached.
const LOOP_DEVICES: &str = "end what else has the host's loop devices (`losetup --list`), or see that /dev has their nodes";

/// What a disk's or a generation's errors mean to a caller.
fn meaning(error: &(dyn std::error::Error + 'static)) -> (ErrorKind, Option<&'static str>) {
    if let Some(wrenn_disk::Error::NoLoopDevice { .. }) = error.downcast_ref() {
        return (ErrorKind::AgentError, Some(LOOP_DEVICES));
    }
    match error.downcast_ref::<wrenn_snapshot::Error>() {
        Some(wrenn_snapshot::Error::Archive(_)) => (ErrorKind::InvalidRequest, Some(EXPORT_AGAIN)),
        Some(wrenn_snapshot::Error::Removed(_)) => (
            ErrorKind::Conflict,
            Some("a newer pause took its place, or its sandbox was destroyed: try again"),
        ),
        Some(wrenn_snapshot::Error::Stopped) => (ErrorKind::Unavailable, Some(ENDING)),
        Some(error) if error.is_damage() => (
            ErrorKind::AgentError,
            Some(
                "what was saved is damaged: if that is its memory alone, {\"cold\": true} boots from its disk",
            ),
        ),
        _ => (ErrorKind::AgentError, None),
    }
}

/// Whether there is a full disk anywhere below.
fn no_space(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let kernel = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull);
        let volume = error
            .downcast_ref::<wrenn_disk::Error>()
            .is_some_and(|error| matches!(error, wrenn_disk::Error::HostFull { .. }));
        kernel || volume
    })
}

/// How long a failpoint may hold a step.
const HELD: Duration = Duration::from_secs(60);

/// Runs one step, for `limit` at the most, and says how long it took. `point` is its failpoint. Once somebody wants the
/// sandbox of these parts gone, no step of it begins.
///
/// Work that is large comes in a box: what is around it here would have it on the stack several times over.
pub(crate) async fn stepping<T>(
    host: &Host,
    step: &'static str,
    point: &str,
    parts: Option<&Parts>,
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<(T, Duration), StepError> {
    let began = Instant::now();
    let span = Span::step(|| traced::name(point).into());
    let guarded = AssertUnwindSafe(async {
        let held = host.failpoints.limit().unwrap_or(HELD);
        within(Some(held), async {
            let machine = parts.and_then(|parts| parts.machine.get());
            tokio::select! {
                biased;
                () = doomed(parts) => Err(going()),
                hit = host.failpoints.hit(point, machine.map(Arc::as_ref)) => {
                    hit.map_err(|reason| Failed::of(ErrorKind::AgentError, reason))
                }
            }
        })
        .await?;
        within(limit, work).await
    });
    let done = span
        .around(guarded.catch_unwind())
        .await
        .unwrap_or_else(|_| Err(Failed::of(ErrorKind::Internal, "it panicked")));
    let done = match done {
        // Its machine was ended under it: whatever it met then is no failure of its own.
        Err(_) if parts.is_some_and(|parts| parts.doomed.is_cancelled()) => Err(going()),
        done => done,
    };
    let took = began.elapsed();
    tracing::debug!(step, ?took, ok = done.is_ok(), "stepped");
    let error = done.as_ref().err().map(|failed| failed.kind);
    host.metrics.step(point, took, error);
    if let Some(kind) = error {
        span.failed(kind.name());
    }
    done.map(|done| (done, took)).map_err(|failed| StepError {
        step,
        kind: failed.kind,
        reason: failed.reason,
        remedy: failed.remedy,
    })
}

fn going() -> Failed {
    Failed::of(ErrorKind::Conflict, "the sandbox is being destroyed")
}

async fn doomed(parts: Option<&Parts>) {
    match parts {
        Some(parts) => parts.doomed.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    let Some(limit) = limit else {
        return work.await;
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let reason = format!("it took longer than {limit:?}");
        Err(Failed::of(ErrorKind::Timeout, reason))
    })
}
