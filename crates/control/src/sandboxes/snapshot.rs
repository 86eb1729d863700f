//! Making a template of what a sandbox is at one instant, with its memory. The snapshot is its team's, whoever asks.
//!
//! It runs in a task of its own: a caller that goes away changes nothing. The sandbox goes on as it was, and its row says what is
//! under way meanwhile.

use wrenn_model::{ErrorKind, Fault, SandboxId, Status, TemplateName, Transition};
use wrenn_store::Sandbox;

use super::Sandboxes;
use super::create::broken;
use super::pause::{StepTime, steps};
use crate::request::carried;
use crate::templates::{self, Template, TemplateKind};

/// Of what to make a snapshot, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The template's name.
    pub name: TemplateName,
    /// Takes the place of a snapshot of this name and of the same team.
    pub overwrite: bool,
    /// What becomes of the sandbox.
    pub source: Source,
}

/// What becomes of a sandbox of which a snapshot is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// It goes on as it was.
    #[default]
    Keep,
    /// It is paused before, and stays so.
    Pause,
}

/// A snapshot that was made just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshotted {
    /// The template that it is.
    pub template: Template,
    /// How long each step took.
    pub steps: Vec<StepTime>,
    /// For how many microseconds the sandbox stood still.
    pub frozen_micros: u64,
}

impl Sandboxes {
    /// Makes a snapshot of a sandbox that runs or is paused. Answers when it is durable.
    ///
    /// # Errors
    /// `not_found`; `invalid_state` unless it runs or is paused; `already_exists` where the name is taken and not to be, or may
    /// not be, written over; `resource_exhausted` beyond the limit of the sandbox's team; or what the agent says.
    pub async fn snapshot(&self, new: NewSnapshot) -> Result<Snapshotted, Fault> {
        self.core.open_for_work()?;
        let task = self.core.tasks.spawn(carried(self.clone().keep(new)));
        task.await.unwrap_or_else(|error| Err(broken(&error)))
    }

    async fn keep(self, new: NewSnapshot) -> Result<Snapshotted, Fault> {
        let row = self.row(&new.sandbox).await?;
        self.free(&new, &row).await?;
        self.room_on_disk(&row).await?;
        if new.source == Source::Pause && row.status != Status::Paused {
            self.aside(&new.sandbox).await?;
        }
        let (row, flight) = self.begin(&new.sandbox, Transition::Snapshotting).await?;
        let agent = &self.core.agent;
        let told = agent
            .snapshot(&row.id, row.memory, &new.name, new.overwrite)
            .await;
        match told {
            Ok((template, answer)) => {
                // The snapshot is there, whatever becomes of the row: the reconciler sees to that.
                if let Err(fault) = self.over(row, Transition::Snapshotting).await {
                    tracing::info!(sandbox = %new.sandbox, %fault, "its row does not say yet that its snapshot is made");
                }
                Ok(Snapshotted {
                    template: Template::read(template),
                    steps: steps(answer.steps),
                    frozen_micros: answer.frozen_micros,
                })
            }
            Err(fault) => {
                tracing::info!(sandbox = %new.sandbox, name = %new.name, %fault, "no snapshot is made");
                drop(flight);
                self.undo(row, Transition::Snapshotting, &fault).await?;
                Err(fault)
            }
        }
    }

    /// Refuses a name that is taken before anything is done. Whoever takes it in between, the agent refuses then.
    async fn free(&self, new: &NewSnapshot, row: &Sandbox) -> Result<(), Fault> {
        let named = templates::named(&self.core.agent, &new.name).await?;
        let Some(taken) = named.first() else {
            return Ok(());
        };
        let own = taken.kind == TemplateKind::Snapshot && taken.owner_id == row.owner_id;
        if new.overwrite && own {
            return Ok(());
        }
        let remedy = if own {
            "choose another name, or say overwrite=true to have this one take its place"
        } else {
            "choose another name: it is a base template's, or another team's"
        };
        Err(Fault::new(
            ErrorKind::AlreadyExists,
            format!("the name {:?} is taken", new.name),
            remedy,
        ))
    }

    /// Pauses it, unless somebody has by now.
    async fn aside(&self, id: &SandboxId) -> Result<(), Fault> {
        match self.clone().put_aside(id.clone()).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == ErrorKind::InvalidState => {
                let row = self.row(id).await?;
                let paused = row.status == Status::Paused && row.transition.is_none();
                if paused { Ok(()) } else { Err(fault) }
            }
            Err(fault) => Err(fault),
        }
    }
}
