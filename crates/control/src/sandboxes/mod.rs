//! Sandboxes: looking at them and using them. Making them is in [`create`], unmaking them in [`destroy`], putting them
//! aside and taking them up again in [`pause`], making templates of them in [`snapshot`] and other sandboxes in [`fork`].

mod create;
mod destroy;
mod fork;
mod network;
mod pause;
mod quota;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wrenn_model::{ErrorKind, Fault, SandboxId, Status, TeamName, Transition};
use wrenn_store::{Filter, Sandbox};

use crate::Caller;
use crate::agent::{Command, CommandStream, ExecOutcome, FileStream, Input, Upload, Usage, moving};
use crate::fault::store_fault;
use crate::plane::Core;
use crate::reconcile;
use crate::request::carried;

pub use create::{Created, NewSandbox, Wait};
pub use destroy::Deleted;
pub use fork::{Forked, NewFork};
pub use pause::{Paused, Resumed, StepTime};
pub use snapshot::{NewSnapshot, Snapshotted, Source};

/// The sandboxes of this installation, or those of them that one caller sees: the others are to them as if they were not.
/// Clones are the same.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    core: Arc<Core>,
    /// Whose those are that are made.
    maker: TeamName,
    /// The only team whose sandboxes are seen, unless all are.
    only: Option<TeamName>,
}

/// The agent has done this, and its row does not say so yet: the reconciler sees to it.
fn unwritten(done: &str, fault: Fault) -> Fault {
    match fault.kind {
        ErrorKind::Unavailable | ErrorKind::DbError => Fault {
            message: format!("{done}, but {}", fault.message),
            ..fault
        },
        _ => fault,
    }
}

impl Sandboxes {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            maker: TeamName::operator(),
            only: None,
        }
    }

    pub(crate) fn of(core: Arc<Core>, caller: &Caller) -> Self {
        Self {
            core,
            maker: caller.team.clone(),
            only: caller.bound_to().cloned(),
        }
    }

    /// The sandboxes that pass the filter, newest first, as they are stored.
    ///
    /// # Errors
    /// `db_error`.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Sandbox>, Fault> {
        let seen = Filter {
            owner: self.only.clone(),
            ..filter.clone()
        };
        let listed = self.core.store.list(&seen).await;
        listed.map_err(|error| store_fault(&error))
    }

    /// One sandbox. What is told of a running or paused one is what its host says now, as long as the agent answers.
    ///
    /// # Errors
    /// `not_found` or `db_error`.
    pub async fn get(&self, id: &SandboxId) -> Result<Sandbox, Fault> {
        let row = self.row(id).await?;
        let moves = matches!(row.status, Status::Running | Status::Paused);
        if !moves || row.transition.is_some() {
            return Ok(row);
        }
        self.seen(row).await
    }

    /// The row, which was just read, brought up to what the agent has now; as it is when the agent does not answer.
    async fn seen(&self, row: Sandbox) -> Result<Sandbox, Fault> {
        let core = &self.core;
        match core.looks.find(&row.id).await {
            Ok(seen) => reconcile::settle(core, &row, seen.as_ref()).await,
            Err(_) => Ok(row),
        }
    }

    /// Writes what `change` makes of a row, once more of the newest that there is as often as somebody else has written in
    /// between. Where `change` says `false` there is nothing to write.
    async fn change(
        &self,
        mut row: Sandbox,
        change: impl Fn(&mut Sandbox) -> Result<bool, Fault>,
    ) -> Result<Sandbox, Fault> {
        loop {
            let mut new = row.clone();
            if !change(&mut new)? {
                return Ok(row);
            }
            new.last_updated_ms = self.core.store.now_ms();
            let written = self.core.store().update(&mut new).await;
            if written.map_err(|error| store_fault(&error))? {
                return Ok(new);
            }
            row = self.row(&row.id).await?;
        }
    }

    /// Counts as use of the sandbox.
    ///
    /// # Errors
    /// `not_found`, `invalid_state`, or what the agent says.
    pub async fn ping(&self, id: &SandboxId) -> Result<(), Fault> {
        let row = self.called(id).await?;
        let told = self.core.agent.ping(id, room(&row)).await;
        self.explain(row, told).await
    }

    /// The last of its serial console, 64 KiB at most.
    ///
    /// # Errors
    /// `not_found`, `invalid_state` when it is no more, or what the agent says.
    pub async fn console(&self, id: &SandboxId) -> Result<Bytes, Fault> {
        let row = self.standing(id).await?;
        let told = self.core.agent.console(id).await;
        self.explain(row, told).await
    }

    /// What it uses of its host now. That is no use of it: its inactivity goes on.
    ///
    /// # Errors
    /// `not_found`, `invalid_state` when it is no more, or what the agent says.
    pub async fn usage(&self, id: &SandboxId) -> Result<Usage, Fault> {
        let row = self.standing(id).await?;
        let told = self.core.agent.usage(id, self.core.store.now_ms()).await;
        self.explain(row, told).await
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
        let row = self.called(id).await?;
        let told = self.core.agent.exec(id, command, stdin, room(&row)).await;
        self.explain(row, told).await
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
        let row = self.called(id).await?;
        let told = self.core.agent.exec_stream(id, command, input).await;
        self.explain(row, told).await
    }

    /// Listens to a command that runs already, from now on. It does not end with its listener.
    ///
    /// # Errors
    /// `not_found`, for the process too, `invalid_state`, or what the agent says.
    pub async fn exec_attach(&self, id: &SandboxId, pid: u32) -> Result<CommandStream, Fault> {
        let row = self.called(id).await?;
        let told = self.core.agent.exec_attach(id, pid).await;
        self.explain(row, told).await
    }

    /// Why a conversation about a command broke off with this fault: when its sandbox was paused under it, that is
    /// why, and the command goes on later.
    pub async fn broke_off(&self, id: &SandboxId, pid: u32, fault: Fault) -> Fault {
        let Ok(seen) = self.core.looks.find(id).await else {
            return fault;
        };
        let pausing = seen.is_some_and(|sandbox| {
            sandbox.status == Status::Paused.as_str()
                || sandbox.transition == Transition::Pausing.as_str()
        });
        if !pausing {
            return fault;
        }
        Fault::new(
            ErrorKind::InvalidState,
            format!("the sandbox was paused: process {pid} goes on when it is resumed"),
            format!(
                "resume it with POST /v1/sandboxes/{id}/resume, and connect again with {{\"type\":\"connect\",\"pid\":{pid}}}, \
                 which is what `wrenn sandbox exec --attach {pid} {id}` does"
            ),
        )
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
        let row = self.called(id).await?;
        let told = self.core.agent.read_file(id, path, user).await;
        self.explain(row, told).await
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
        self.called(id).await?;
        Ok(self.core.agent.write_file(id, path, user))
    }

    /// The sandbox, if calls into it may be passed on to the agent, by its row alone: before anything of a request's
    /// body is read. It runs, or it resumes by itself.
    ///
    /// # Errors
    /// `not_found` or `invalid_state`.
    pub async fn callable(&self, id: &SandboxId) -> Result<Sandbox, Fault> {
        let row = self.row(id).await?;
        match row.status {
            Status::Running => Ok(row),
            Status::Paused if row.auto_resume => Ok(row),
            _ => Err(not_running(&row)),
        }
    }

    /// [`Self::callable`], and running where it must be seen to that its team may have it run.
    async fn called(&self, id: &SandboxId) -> Result<Sandbox, Fault> {
        let row = self.callable(id).await?;
        self.woken(row).await
    }

    /// A sandbox that is not over.
    async fn standing(&self, id: &SandboxId) -> Result<Sandbox, Fault> {
        let row = self.row(id).await?;
        if row.status == Status::Stopped {
            return Err(not_running(&row));
        }
        Ok(row)
    }

    async fn row(&self, id: &SandboxId) -> Result<Sandbox, Fault> {
        let row = self
            .core
            .store()
            .get(id)
            .await
            .map_err(|error| store_fault(&error))?;
        row.filter(|row| self.sees(row))
            .ok_or_else(|| Fault::no_sandbox(id.as_str()))
    }

    /// Whether it is there for this caller. Every call looks its sandbox up in [`Self::row`], and so passes here.
    fn sees(&self, row: &Sandbox) -> bool {
        let only = self.only.as_ref();
        only.is_none_or(|team| team.as_str() == row.owner_id)
    }

    /// What a call into the sandbox gave. The agent says "not found" of a file, and of a sandbox that has just ended: the
    /// caller should learn which. A sandbox whose status has turned out to be another is looked at anew.
    async fn explain<T>(&self, row: Sandbox, told: Result<T, Fault>) -> Result<T, Fault> {
        match told {
            Ok(answer) => {
                if row.status == Status::Paused {
                    self.look_later(row);
                }
                Ok(answer)
            }
            Err(fault) if matches!(fault.kind, ErrorKind::NotFound | ErrorKind::InvalidState) => {
                let row = self.seen(row).await?;
                let ended = matches!(row.status, Status::Stopped | Status::Error);
                Err(if ended { not_running(&row) } else { fault })
            }
            Err(fault) => Err(fault),
        }
    }

    /// A call has resumed it: its row follows, and the caller need not wait for that.
    fn look_later(&self, row: Sandbox) {
        let this = self.clone();
        self.core.tasks.spawn(carried(async move {
            if this.core.open_for_work().is_ok()
                && let Err(fault) = this.seen(row).await
            {
                tracing::debug!(%fault, "a resumed sandbox is looked at later");
            }
        }));
    }
}

/// Whether a destroy came in between.
fn overtaken(row: &Sandbox) -> Result<(), Fault> {
    if row.status != Status::Stopped && row.transition != Some(Transition::Stopping) {
        return Ok(());
    }
    Err(Fault::new(
        ErrorKind::Conflict,
        format!("sandbox {} was destroyed meanwhile", row.id),
        "create another",
    ))
}

/// What a call may take longer because it has to resume the sandbox first.
fn room(row: &Sandbox) -> Duration {
    if row.auto_resume {
        moving(row.memory)
    } else {
        Duration::ZERO
    }
}

/// It does not run, and what can be done about that.
fn not_running(row: &Sandbox) -> Fault {
    let why = if row.status_reason.is_empty() {
        String::new()
    } else {
        format!(": {}", row.status_reason)
    };
    let resume = format!("resume it with POST /v1/sandboxes/{}/resume", row.id);
    let remedy = match row.status {
        Status::Pending => "wait until its status is running".to_owned(),
        Status::Paused => resume,
        Status::Error if row.paused_at_ms.is_some() => {
            format!("{resume}, which goes back to its last pause")
        }
        _ => "create another with POST /v1/sandboxes".to_owned(),
    };
    Fault::new(
        ErrorKind::InvalidState,
        format!("sandbox {} is {}{why}", row.id, row.status),
        remedy,
    )
}
