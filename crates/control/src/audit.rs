//! Who did what. The record of a call is written within moments of its answer, with those of other calls, so that no call waits
//! for it; when the server ends, what is left is written first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wrenn_model::{Fault, SandboxId, random_text};
use wrenn_store::{AuditEntry, AuditFilter, Store};

use crate::Caller;
use crate::fault::store_fault;

/// How many records may wait to be written, while the database is away.
const WAITING: usize = 4096;
/// How many are written at a time.
const BATCH: usize = 256;
/// How long a call waits for a place among those that wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two writes, so that one is of many calls.
const PACE: Duration = Duration::from_millis(100);
/// Between two tries to write.
const AGAIN: Duration = Duration::from_secs(1);

/// A call, as it was answered just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The request; a caller may use an id twice.
    pub request_id: String,
    /// Who asked.
    pub caller: Arc<Caller>,
    /// A method and a route.
    pub action: String,
    /// The sandbox that it was about, if it was about one.
    pub sandbox: Option<SandboxId>,
    /// The key, team or snapshot that it was about, if it was about one.
    pub object: Option<String>,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// The record of calls. Clones are the same.
#[derive(Debug, Clone)]
pub struct Audit {
    store: Store,
    waiting: mpsc::Sender<AuditEntry>,
}

/// What writes the record.
#[derive(Debug)]
pub(crate) struct Clerk {
    store: Store,
    waiting: mpsc::Receiver<AuditEntry>,
    /// The database was away when everything ended: what is left goes into the log.
    gave_up: bool,
}

impl Audit {
    pub(crate) fn new(store: Store) -> (Self, Clerk) {
        let (sender, waiting) = mpsc::channel(WAITING);
        let clerk = Clerk {
            store: store.clone(),
            waiting,
            gave_up: false,
        };
        let audit = Self {
            store,
            waiting: sender,
        };
        (audit, clerk)
    }

    /// Adds a call. It is on the record a moment later; where it can't be, the log says which.
    pub async fn record(&self, call: Call) {
        let sent = self
            .waiting
            .send_timeout(entry(call, self.store.now_ms()), PATIENCE)
            .await;
        if let Err(
            mpsc::error::SendTimeoutError::Timeout(entry)
            | mpsc::error::SendTimeoutError::Closed(entry),
        ) = sent
        {
            unrecorded(&[entry]);
        }
    }

    /// The same for who cannot wait.
    pub fn note(&self, call: Call) {
        if let Err(
            mpsc::error::TrySendError::Full(entry) | mpsc::error::TrySendError::Closed(entry),
        ) = self.waiting.try_send(entry(call, self.store.now_ms()))
        {
            unrecorded(&[entry]);
        }
    }

    /// The calls that pass the filter, as far as this caller may know of them, the newest first.
    ///
    /// # Errors
    /// `unavailable` or `db_error`.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: AuditFilter,
    ) -> Result<Vec<AuditEntry>, Fault> {
        let owner = caller.bound_to().cloned();
        let read = self.store.audit(&AuditFilter { owner, ..filter }).await;
        read.map_err(|error| store_fault(&error))
    }
}

impl Clerk {
    /// Writes what waits, until the control plane closes and nothing waits any more.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                read = self.waiting.recv_many(&mut batch, BATCH) => if read == 0 { return },
                () = closing.cancelled(), if !self.waiting.is_closed() => {
                    self.waiting.close();
                    continue;
                }
            }
            self.write(&batch, &closing).await;
            batch.clear();
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = closing.cancelled() => {}
            }
        }
    }

    /// Writes these, as often as it takes; when everything ends, once.
    async fn write(&mut self, batch: &[AuditEntry], closing: &CancellationToken) {
        while !self.gave_up {
            let Err(error) = self.store.append_audit(batch).await else {
                return;
            };
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "calls are recorded later"
            );
            self.gave_up = closing.is_cancelled();
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = closing.cancelled() => {}
            }
        }
        unrecorded(batch);
    }
}

/// A call as it is written.
fn entry(call: Call, now_ms: i64) -> AuditEntry {
    AuditEntry {
        id: random_text(16),
        at_ms: now_ms,
        request_id: call.request_id,
        key_id: call.caller.key.to_string(),
        key_name: call.caller.name.to_string(),
        owner_id: call.caller.team.to_string(),
        action: call.action,
        sandbox_id: call.sandbox.map_or_else(String::new, Into::into),
        object: call.object.unwrap_or_default(),
        status: call.status,
    }
}

/// The log is where they stand then.
fn unrecorded(entries: &[AuditEntry]) {
    for entry in entries {
        tracing::error!(?entry, "a call is not in the audit record");
    }
}
