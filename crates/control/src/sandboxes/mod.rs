//! Sandboxes: looking at them and using them. Making them is in [`create`], unmaking them in [`destroy`].

mod create;
mod destroy;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wrenn_model::{ErrorKind, Fault, SandboxId, Status};
use wrenn_store::{Filter, Sandbox, StoreError};

use crate::agent::{Command, CommandStream, ExecOutcome, FileStream, Input, Upload};
use crate::plane::Core;
use crate::reconcile;

pub use create::{NewSandbox, Wait};
pub use destroy::Deleted;

/// How old what is told of a running sandbox may be.
const FRESH: Duration = Duration::from_secs(1);

/// The sandboxes of this installation. Clones are the same.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    core: Arc<Core>,
}

/// A database that did not do what it should: the log learns why, the caller only that.
pub(crate) fn store_fault(error: &StoreError) -> Fault {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the database failed"
    );
    Fault::new(
        ErrorKind::DbError,
        "the database did not answer",
        "ask again; if it stays so, look into the log",
    )
}

impl Sandboxes {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The sandboxes that pass the filter, newest first, as they are stored.
    ///
    /// # Errors
    /// `db_error`.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Sandbox>, Fault> {
        self.core
            .store
            .list(filter)
            .await
            .map_err(|error| store_fault(&error))
    }

    /// One sandbox. What is told of a running one is at most a second old, as long as the agent answers.
    ///
    /// # Errors
    /// `not_found` or `db_error`.
    pub async fn get(&self, id: &SandboxId) -> Result<Sandbox, Fault> {
        let row = self.row(id).await?;
        if row.status != Status::Running || row.transition.is_some() {
            return Ok(row);
        }
        match self.core.observer.look(&self.core.agent, FRESH).await {
            Ok(seen) => reconcile::settle(&self.core, &row, &seen).await,
            Err(_) => Ok(row),
        }
    }

    /// Counts as use of the sandbox.
    ///
    /// # Errors
    /// `not_found`, `invalid_state`, or what the agent says.
    pub async fn ping(&self, id: &SandboxId) -> Result<(), Fault> {
        self.running(id).await?;
        self.explain(id, self.core.agent.ping(id).await).await
    }

    /// The last of its serial console, 64 KiB at most.
    ///
    /// # Errors
    /// `not_found`, `invalid_state` when it is no more, or what the agent says.
    pub async fn console(&self, id: &SandboxId) -> Result<Bytes, Fault> {
        let row = self.row(id).await?;
        if row.status == Status::Stopped {
            return Err(not_running(&row));
        }
        self.explain(id, self.core.agent.console(id).await).await
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// `not_found`, `invalid_state`, or what the agent says.
    pub async fn exec(
        &self,
        id: &SandboxId,
        command: Command,
        stdin: Option<Vec<u8>>,
    ) -> Result<ExecOutcome, Fault> {
        self.running(id).await?;
        self.explain(id, self.core.agent.exec(id, command, stdin).await)
            .await
    }

    /// Starts a command and listens to it.
    ///
    /// # Errors
    /// `not_found`, `invalid_state`, or what the agent says.
    pub async fn exec_stream(
        &self,
        id: &SandboxId,
        command: Command,
        input: Input,
    ) -> Result<CommandStream, Fault> {
        self.running(id).await?;
        self.explain(id, self.core.agent.exec_stream(id, command, input).await)
            .await
    }

    /// Begins to read a regular file. Its first chunk has come when this returns.
    ///
    /// # Errors
    /// `not_found` for the sandbox and for the file, `invalid_state`, or what the agent says.
    pub async fn read_file(
        &self,
        id: &SandboxId,
        path: &str,
        user: Option<&str>,
    ) -> Result<FileStream, Fault> {
        self.running(id).await?;
        self.explain(id, self.core.agent.read_file(id, path, user).await)
            .await
    }

    /// Begins to write a file. Whether the agent takes it shows while it is written.
    ///
    /// # Errors
    /// `not_found` or `invalid_state`.
    pub async fn write_file(
        &self,
        id: &SandboxId,
        path: &str,
        user: Option<&str>,
    ) -> Result<Upload, Fault> {
        self.running(id).await?;
        Ok(self.core.agent.write_file(id, path, user))
    }

    /// Whether the sandbox is there and runs, by its row alone: before anything of a request's body is read.
    ///
    /// # Errors
    /// `not_found` or `invalid_state`.
    pub async fn running(&self, id: &SandboxId) -> Result<(), Fault> {
        let row = self.row(id).await?;
        if row.status == Status::Running {
            Ok(())
        } else {
            Err(not_running(&row))
        }
    }

    async fn row(&self, id: &SandboxId) -> Result<Sandbox, Fault> {
        let row = self
            .core
            .store
            .get(id)
            .await
            .map_err(|error| store_fault(&error))?;
        row.ok_or_else(|| Fault::no_sandbox(id.as_str()))
    }

    /// The agent says "not found" of a file, and of a sandbox that has just ended. The caller should learn which.
    async fn explain<T>(&self, id: &SandboxId, outcome: Result<T, Fault>) -> Result<T, Fault> {
        let fault = match outcome {
            Err(fault) if fault.kind == ErrorKind::NotFound => fault,
            other => return other,
        };
        let row = self.row(id).await?;
        if let Ok(seen) = self
            .core
            .observer
            .look(&self.core.agent, Duration::ZERO)
            .await
        {
            let row = reconcile::settle(&self.core, &row, &seen).await?;
            if row.status != Status::Running {
                return Err(not_running(&row));
            }
        }
        Err(fault)
    }
}

fn not_running(row: &Sandbox) -> Fault {
    let why = if row.status_reason.is_empty() {
        String::new()
    } else {
        format!(": {}", row.status_reason)
    };
    let remedy = match row.status {
        Status::Pending => "wait until its status is running",
        _ => "create another with POST /v1/sandboxes",
    };
    Fault::new(
        ErrorKind::InvalidState,
        format!("sandbox {} is {}{why}", row.id, row.status),
        remedy,
    )
}
