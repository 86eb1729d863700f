//! How the task gives a sandbox's virtual machine up and gets another: pauses, resumes, and what is left to tidy.

use std::time::Instant;

use tracing::Instrument;
use wrenn_model::lifecycle::{Event, Reason, State};
use wrenn_model::{ErrorKind, Fault};
use wrenn_snapshot::{Generation, Generations};
use wrenn_traces::Span;

use super::{LOOKS, Outcome, Sandbox};
use crate::admission::Purpose;
use crate::capture::{self, PAUSE, Report};
use crate::guest;
use crate::record::{Origin, Pause};
use crate::steps::{self, RESUME, Timings, in_ms};
use wrenn_model::chain;

/// Among a pause's timings, after its steps: the end of the VM, and of all that it had on the host.
const RETIRE: &str = "retire";

impl Sandbox {
    /// Asked for a pause. One that is paused already has nothing to report.
    pub(super) async fn pause(&mut self) -> Result<Option<Report>, Fault> {
        if self.record.state == State::Paused {
            return Ok(None);
        }
        if self.record.state == (State::Running { stalled: true }) {
            return Err(self.full_disk());
        }
        self.outcome = Outcome::default();
        self.take(Event::Pause).await;
        match self.record.state {
            State::Paused => Ok(Some(std::mem::take(&mut self.outcome.report))),
            _ => Err(self
                .outcome
                .fault
                .take()
                .unwrap_or_else(|| self.refusal("be paused"))),
        }
    }

    /// Asked for a resume. One that runs already took no steps.
    pub(super) async fn resume(&mut self, cold: bool) -> Result<Timings, Fault> {
        if matches!(self.record.state, State::Running { .. }) {
            return Ok(Timings::new());
        }
        self.outcome = Outcome::default();
        if !matches!(self.record.state, State::Paused | State::Error(_))
            || self.record.pause.is_none()
        {
            return Err(self.refusal("be resumed: it has no pause to go back to"));
        }
        let place = self.host.admit(&self.record.spec).await?;
        self.end.shared.renew_parts();
        let admission = &self.host.admission;
        let waiting = admission.queue(&self.record.spec, Purpose::Wake)?;
        let (turn, waited) = self.turn(waiting).await?;
        let vm = self
            .host
            .plan_vm(&self.record.home, place.slot_index(), self.origin(cold));
        // What a lost VM left in files goes once there is another.
        self.record.vm = Some(vm);
        self.place = Some(place);
        self.take_slot();
        self.take(Event::Resume { cold }).await;
        drop(turn);
        match self.record.state {
            State::Running { .. } => {
                let mut timings = std::mem::take(&mut self.outcome.timings);
                timings.insert(0, (steps::QUEUE, waited));
                Ok(timings)
            }
            _ => Err(self
                .outcome
                .fault
                .take()
                .unwrap_or_else(|| self.refusal("be resumed"))),
        }
    }

    /// What the next VM starts from.
    fn origin(&self, cold: bool) -> Origin {
        match &self.record.pause {
            None => Origin::Template,
            Some(pause) if cold => Origin::Disk(pause.generation),
            Some(pause) => Origin::Generation(pause.generation),
        }
    }

    pub(super) fn full_disk(&self) -> Fault {
        Fault::new(
            ErrorKind::HostFull,
            format!("the sandbox is {}", Reason::DiskFull),
            "free disk space on the host",
        )
    }

    pub(super) fn refusal(&self, what: &str) -> Fault {
        Fault::new(
            ErrorKind::InvalidState,
            format!(
                "the sandbox is {} and can not {what}",
                self.record.state.status()
            ),
            "look at its status",
        )
    }

    /// The steps of a pause, and what came of them.
    pub(super) async fn capture(&mut self) -> Event {
        let parts = self.end.shared.parts();
        let into = Generations::of(&self.record.home.folder);
        let captured = capture::capture(PAUSE, &self.host, &self.record, &parts, into);
        let published = match captured.await {
            Ok((generation, report)) => {
                self.outcome.report = report;
                Some(generation)
            }
            Err(error) => {
                tracing::warn!(%error, "the pause failed");
                let runs_on = !parts.doomed.is_cancelled() && parts.runs_on().await;
                self.fail(error.fault(match runs_on {
                    true => "the sandbox was not paused and runs on",
                    false => "the sandbox was not paused",
                }));
                // The rename may have happened before whatever failed.
                self.newer_generation().await.unwrap_or_default()
            }
        };
        match published {
            Some(generation) => {
                self.adopt_pause(&generation);
                Event::Published
            }
            None => Event::PauseFailed,
        }
    }

    /// A generation that is on disk and not yet in the record.
    ///
    /// # Errors
    /// It can not be said, and nothing may be removed that could be one.
    pub(crate) async fn newer_generation(&self) -> Result<Option<Generation>, String> {
        let folder = self.record.home.folder.clone();
        let known = self.record.pause.as_ref().map(|pause| pause.generation);
        let mut tries = 0;
        loop {
            tries += 1;
            let generations = Generations::of(&folder);
            let current = tokio::task::spawn_blocking(move || generations.current()).await;
            let told = match current {
                Ok(Ok(current)) => {
                    let newer =
                        |generation: &Generation| known.is_none_or(|known| generation.id() > known);
                    return Ok(current.filter(newer));
                }
                Ok(Err(error)) => chain(&error),
                Err(error) => error.to_string(),
            };
            tracing::error!(error = told, "generations cannot be read");
            if tries == LOOKS {
                return Err(told);
            }
            tokio::time::sleep(steps::RETRY).await;
        }
    }

    /// The generation is the sandbox's newest; its guest knows the keys of the VM that was captured.
    pub(crate) fn adopt_pause(&mut self, generation: &Generation) {
        if let Some(vm) = &self.record.vm {
            self.record.pause = Some(Pause {
                generation: generation.id(),
                keys: vm.keys.clone(),
                at_ms: generation.manifest().created_ms,
            });
        }
    }

    /// The steps of a resume, and what came of them.
    pub(super) async fn restore(&mut self) -> Event {
        match self.make(RESUME).await {
            Ok(timings) => {
                tracing::info!(steps_ms = in_ms(&timings), "resumed");
                self.outcome.timings = timings;
                Event::Resumed
            }
            Err(error) => {
                tracing::warn!(%error, "the resume failed");
                self.doubt_after(&error);
                self.fail(error.fault("the sandbox did not come back; its pause is as it was"));
                Event::ResumeFailed
            }
        }
    }

    /// The last of a pause, once it is published: its VM ends, then what that had goes, disk and network.
    pub(super) async fn retire(&mut self) {
        let began = Instant::now();
        let span = Span::step(|| "pause.retire".into());
        let retired = async {
            self.end.shared.keep_console().await;
            self.give_vm_back().await;
            self.tidy().await;
        };
        span.around(retired).await;
        drop(span);
        let took = began.elapsed();
        tracing::info!(steps_ms = in_ms(&vec![(RETIRE, took)]), "retired");
        self.outcome.report.timings.push((RETIRE, took));
    }

    /// What of generations and former VMs nobody needs any more goes. What does not go now goes next time.
    pub(super) async fn tidy(&self) {
        let folder = self.record.home.folder.clone();
        let vm = self.record.vm.as_ref().map(|vm| vm.id.clone());
        let current = self.record.pause.as_ref().map(|pause| pause.generation);
        let first = self
            .record
            .vm
            .as_ref()
            .is_some_and(|vm| vm.origin.is_first());
        let seed = self.record.home.seed();
        let tidied = tokio::task::spawn_blocking(move || {
            crate::tidy::tidy(&folder, vm, current)?;
            // What it was begun from is needed for as long as its first machine runs.
            if first {
                return Ok(());
            }
            wrenn_sys::durable::remove(&seed).map_err(|error| error.to_string())
        });
        match tidied.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error, "something was left over"),
            Err(error) => tracing::warn!(%error, "something was left over"),
        }
    }

    /// Lets go what a failed pause captured, and takes the guest up again.
    pub(super) async fn abandon(&mut self) {
        if let Some(vm) = &self.record.vm {
            self.end.shared.parts().return_to_guest(&vm.keys.token);
            self.set_clock();
        }
        // It is not tried again at once by the timeout that may have asked for it.
        self.end.shared.activity.touch();
        let generations = Generations::of(&self.record.home.folder);
        let gone = tokio::task::spawn_blocking(move || generations.abandon()).await;
        match gone {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "a half-made generation stays"),
            Err(error) => tracing::warn!(%error, "a half-made generation stays"),
        }
    }

    /// Sets the guest's clock beside whatever happens next: it may have stood still, or the host's may have been set.
    pub(super) fn set_clock(&self) {
        let (Some(vm), Some(guest)) = (&self.record.vm, self.end.shared.parts().guest()) else {
            return;
        };
        let key = vm.keys.init_key.clone();
        let setting = async move {
            tokio::select! {
                set = guest::set_clock(&guest.client, &key) => if let Err(error) = set {
                    tracing::warn!(error = chain(&error), "the guest's clock could not be set");
                },
                () = guest.left.cancelled() => {}
            }
        };
        tokio::spawn(setting.in_current_span());
    }

    /// Lets the guest go on. A guest that stood still for ever would look as if it ran.
    pub(super) async fn thaw(&mut self) {
        let parts = self.end.shared.parts();
        let Some(machine) = parts.machine.get() else {
            return;
        };
        for _ in 0..LOOKS {
            match machine.thaw().await {
                Ok(()) | Err(wrenn_vmm::Error::Gone) => return,
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
                        "the guest could not go on; trying again"
                    );
                }
            }
            tokio::time::sleep(steps::RETRY).await;
        }
    }
}
