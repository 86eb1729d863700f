//! How the task has what its sandbox is at one instant captured for others: a template, or children. It goes on as it was,
//! whatever comes of that.

use wrenn_model::lifecycle::{Copying, Event, State};
use wrenn_model::{ErrorKind, Fault, SandboxSpec};
use wrenn_snapshot::{Generation, Generations};

use super::{Outcome, Sandbox};
use crate::capture::{self, FORK, Report, SNAPSHOT};
use crate::failure::{Failed, internal};
use crate::time::now_ms;

/// What was captured, for whoever asked.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) generation: Generation,
    pub(crate) report: Report,
    /// The sandbox as it is: under the network policy that it has now.
    pub(crate) spec: SandboxSpec,
}

impl Sandbox {
    /// Asked for a capture for others, into the newest of some generations that are theirs.
    pub(super) async fn copy(&mut self, what: Copying, into: Generations) -> Result<Copied, Fault> {
        self.outcome = Outcome::default();
        match self.record.state {
            State::Paused => self.copy_pause(into).await,
            State::Running { stalled: false } => {
                self.outcome.copy_into = Some(into);
                self.take(Event::Copy(what)).await;
                let (copied, fault) = (self.outcome.copied.take(), self.outcome.fault.take());
                copied.ok_or_else(|| fault.unwrap_or_else(|| self.refusal("be captured")))
            }
            State::Running { stalled: true } => Err(self.full_disk()),
            _ => Err(self.refusal("be captured: it has to be running or paused")),
        }
    }

    /// The steps of a capture of one that runs, and what came of them.
    pub(super) async fn capture_for_others(&mut self) -> Event {
        let parts = self.end.shared.parts();
        let plan = match self.record.state {
            State::Copying(Copying::Fork) => FORK,
            _ => SNAPSHOT,
        };
        let Some(into) = self.outcome.copy_into.take() else {
            return Event::Copied;
        };
        match capture::capture(plan, &self.host, &self.record, &parts, into).await {
            Ok((generation, report)) => {
                self.outcome.copied = Some(Copied {
                    generation,
                    report,
                    spec: self.record.spec.clone(),
                });
            }
            Err(error) => {
                tracing::warn!(%error, "it was not captured for others");
                self.outcome.fault = Some(error.fault(match parts.runs_on().await {
                    true => "nothing was made of the sandbox, which runs on",
                    false => "nothing was made of the sandbox",
                }));
            }
        }
        Event::Copied
    }

    /// A pause is what it is already.
    async fn copy_pause(&mut self, into: Generations) -> Result<Copied, Fault> {
        let Some(pause) = self.record.pause.clone() else {
            return Err(internal("it is paused without a pause"));
        };
        if pause.keys.are_lost() {
            return Err(Fault::new(
                ErrorKind::Conflict,
                "the keys that its guest knows went with a damaged journal",
                "resume it with {\"cold\": true}, which boots from its disk alone",
            ));
        }
        let generations = Generations::of(&self.record.home.folder);
        let spec = self.record.spec_for_others();
        let copied = tokio::task::spawn_blocking(move || -> Result<Generation, Failed> {
            let own = generations.examine(pause.generation, |own| {
                own.check()?;
                Ok(own.clone())
            })?;
            Ok(own.copy_into(&into, spec, &pause.keys.to_json(), now_ms())?)
        });
        let generation = copied.await.map_err(internal)?.map_err(Failed::fault)?;
        Ok(Copied {
            generation,
            report: Report::default(),
            spec: self.record.spec.clone(),
        })
    }
}
