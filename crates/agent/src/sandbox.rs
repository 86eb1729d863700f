//! One task owns one sandbox: what happens to it happens here, one thing after the other, by the rules of
//! [`wrenn_model::lifecycle`].

mod anew;
mod copy;
mod doubt;
mod network;
mod rest;

pub(crate) use copy::Copied;
pub use network::NETWORK;
pub(crate) use network::refused;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::Instrument;
use wrenn_model::lifecycle::{self, Effect, Event, Reason, State};
use wrenn_model::{ErrorKind, Fault, OnTimeout};
use wrenn_snapshot::Generations;
use wrenn_traces::Span;
use wrenn_vmm::CpuShare;

use crate::Host;
use crate::activity::Activity;
use crate::admission::{Place, Turn, Waiting};
use crate::capture::Report;
use crate::handle::{self, Cause, Command, Handle, Order, TaskEnd, View};
use crate::journal::{self, Journal};
use crate::library::Lent;
use crate::machine;
use crate::record::Record;
use crate::spare::Spare;
use crate::steps::{self, Leave, Making, Parts, Plan, Timings, in_ms};
use crate::table::{Table, Unowned};
use crate::time::now_ms;
use wrenn_model::chain;

/// How often a guest that the full disk froze is looked at.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// How often something is tried that should not fail.
const LOOKS: u32 = 5;

/// The task's side.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) host: Arc<Host>,
    journal: Journal,
    table: Arc<Table>,
    pub(crate) record: Record,
    /// What the host has promised to the VM that it has, or waits for.
    place: Option<Place>,
    /// How it gets its first virtual machine.
    plan: Plan,
    /// What that needs until it has it.
    held: Option<Held>,
    /// Its creation's place among those who wait to start.
    queued: Option<Waiting>,
    /// How long it waited there.
    waited: Duration,
    /// How long the journal has taken for it.
    journalled: Duration,
    /// How long its creation took, until it is announced.
    born: Option<Timings>,
    end: TaskEnd,
    /// Who waits for its end.
    waiting: Vec<oneshot::Sender<()>>,
    /// What the last pause or resume came to.
    outcome: Outcome,
    /// Of what happens first, which somebody may have asked for.
    first: Cause,
}

/// What a pause or a resume came to, for those who asked.
#[derive(Debug, Default)]
struct Outcome {
    report: Report,
    timings: Timings,
    fault: Option<Fault>,
    /// Where a capture for others goes, until it begins; and what came of it.
    copy_into: Option<Generations>,
    copied: Option<Copied>,
}

/// What a creation needs until it has made it its own. It goes with the value.
#[derive(Debug)]
pub(crate) enum Held {
    /// The files that it is begun from.
    Lent(#[expect(dead_code, reason = "it is held for what its end does")] Box<Lent>),
    /// The virtual machine that it takes, until nobody can have its id any more.
    Ready(Spare),
    /// The same is known as nobody's, until it is known as its own.
    Known(#[expect(dead_code, reason = "it is held for what its end does")] Unowned),
}

/// What a sandbox is made with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) record: Record,
    pub(crate) plan: Plan,
    pub(crate) held: Option<Held>,
    pub(crate) place: Option<Place>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) parts: Parts,
}

impl Sandbox {
    /// A sandbox and its handle. Nothing runs before [`Sandbox::run`].
    pub(crate) fn new(
        host: Arc<Host>,
        journal: Journal,
        table: Arc<Table>,
        start: Start,
    ) -> (Self, Arc<Handle>) {
        let Start {
            record,
            plan,
            held,
            place,
            waiting,
            parts,
        } = start;
        let (handle, end) =
            Handle::new(record.spec.clone(), record.created_ms, view(&record), parts);
        let sandbox = Self {
            host,
            journal,
            table,
            record,
            place,
            plan,
            held,
            queued: waiting,
            waited: Duration::ZERO,
            journalled: Duration::ZERO,
            born: None,
            end,
            waiting: Vec::new(),
            outcome: Outcome::default(),
            first: Cause::here(&handle.spec.id),
        };
        (sandbox, handle)
    }

    /// It is in the table: what stood ready for it is its own from here on.
    pub(crate) fn own(&mut self) {
        let spare = match self.held.take() {
            Some(Held::Ready(spare)) => spare,
            other => {
                self.held = other;
                return;
            }
        };
        // One that is not whole is unmade, and the creation finds nothing to take.
        if let Some(given) = spare.give(&self.end.shared.doomed) {
            self.end.shared.adopt_parts(given.parts);
            self.place = Some(given.place);
            self.held = Some(Held::Known(given.known));
        }
    }

    /// Lives until the sandbox is gone. `first` is what happens before anything else.
    pub(crate) async fn run(mut self, first: Option<Event>) {
        let cause = std::mem::replace(&mut self.first, Cause::none());
        cause.around(self.begin(first)).await;
        let span = handle::span(&self.record.spec.id);
        async {
            while !self.gone() {
                self.live().await;
            }
            for done in self.waiting.drain(..) {
                // Whoever waited may have gone.
                let (Ok(()) | Err(())) = done.send(());
            }
        }
        .instrument(span)
        .await;
    }

    async fn begin(&mut self, first: Option<Event>) {
        let first = match first {
            // A former agent began to unmake it.
            Some(Event::Destroy(_)) if matches!(self.record.state, State::Stopping { .. }) => {
                self.unwind().await
            }
            other => other,
        };
        match first {
            Some(Event::Boot) => self.boot().await,
            Some(event) => self.take(event).await,
            None => {}
        }
    }

    fn gone(&self) -> bool {
        self.table.get(&self.record.spec.id).is_none()
    }

    /// Waits for the next thing to happen, and lets it.
    async fn live(&mut self) {
        let parts = self.end.shared.parts();
        let machine = parts.machine.get().map(Arc::as_ref);
        let event = match self.record.state {
            State::Running { stalled } => tokio::select! {
                command = self.end.commands.recv() => return self.obey(command).await,
                ended = machine::next_event(machine, stalled) => {
                    self.doubt_at(&ended);
                    keep_pause(&self.record, ended)
                }
                event = idle(&self.record, &self.end.shared.activity), if !stalled => event,
                () = tokio::time::sleep(STALL_CHECK), if stalled => self.disk_room().await,
            },
            // What would not go is tried again.
            State::Stopping { .. } => tokio::select! {
                command = self.end.commands.recv() => return self.obey(command).await,
                () = tokio::time::sleep(steps::RETRY) => {
                    self.unwind().await.unwrap_or(Event::Destroy(Reason::Destroyed))
                }
            },
            _ => {
                let command = self.end.commands.recv().await;
                return self.obey(command).await;
            }
        };
        self.take(event).await;
    }

    async fn obey(&mut self, order: Option<Order>) {
        // The table holds the handle: it can only have been taken out of it.
        let Some(Order { command, cause }) = order else {
            return self.take(Event::Destroy(Reason::Destroyed)).await;
        };
        cause.around(self.carry_out(command)).await;
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Destroy { reason, done } => {
                self.waiting.push(done);
                self.take(Event::Destroy(reason)).await;
            }
            Command::SetClock => self.set_clock(),
            Command::Settle { done } => drop(done.send(())),
            // Whoever asked may have gone: it is done all the same.
            Command::Pause { done } => drop(done.send(self.pause().await)),
            Command::Copy { what, into, done } => drop(done.send(self.copy(what, into).await)),
            Command::Resume { cold, done } => drop(done.send(self.resume(cold).await)),
            Command::Network { policy, done } => {
                drop(done.send(self.set_network(policy).await));
            }
        }
    }

    async fn disk_room(&self) -> Event {
        match self.host.volume.grow_if_needed().await {
            Ok(_) => Event::DiskRoom,
            Err(error) => {
                tracing::debug!(error = chain(&error), "still no room");
                Event::DiskFull
            }
        }
    }

    /// One event and all that follows from it.
    pub(crate) async fn take(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            next = self.step(event).await;
        }
    }

    /// One transition with its effects. What it returns has happened in consequence.
    async fn step(&mut self, event: Event) -> Option<Event> {
        let (state, effects) = match lifecycle::next(&self.record.state, event.clone()) {
            Ok(next) => next,
            Err(refusal) => {
                tracing::warn!(?event, %refusal, "event refused");
                return None;
            }
        };
        if state != self.record.state {
            tracing::info!(from = ?self.record.state, to = ?state, "state");
        }
        self.note(&event);
        let before = std::mem::replace(&mut self.record.state, state);
        for effect in effects {
            if let Some(event) = self.effect(*effect, &before).await {
                return Some(event);
            }
        }
        None
    }

    /// What an event means for the record, beside the state.
    fn note(&mut self, event: &Event) {
        let pause = self.record.pause.as_ref().map(|pause| pause.at_ms);
        match event {
            Event::Booted | Event::Resumed => {
                let parts = self.end.shared.parts();
                if let Some(vm) = &mut self.record.vm {
                    vm.machine = parts
                        .machine
                        .get()
                        .map(|machine| machine.identity().clone());
                    vm.platform = parts.platform.get().cloned();
                }
                self.record.started_ms.get_or_insert_with(now_ms);
                self.end.shared.activity.touch();
                // What was lost before stays told until the next pause: the wake of one that fell back may go unseen.
                if matches!(self.record.state, State::Resuming { lost: Some(_), .. }) {
                    self.record.lost_since_ms = pause;
                }
            }
            Event::Published => {
                self.record.lost_since_ms = None;
                // It has a generation of its own.
                self.record.seed = None;
            }
            Event::FellBack => self.record.lost_since_ms = pause,
            _ => {}
        }
    }

    async fn effect(&mut self, effect: Effect, before: &State) -> Option<Event> {
        match effect {
            Effect::Record => return self.write_record(before).await,
            Effect::Start => return Some(self.start().await),
            Effect::Capture => return Some(self.capture().await),
            Effect::Copy => return Some(self.capture_for_others().await),
            Effect::Restore => return Some(self.restore().await),
            Effect::Unwind => return self.unwind().await,
            Effect::Release => self.release().await,
            Effect::Retire => self.retire().await,
            Effect::Withdraw => self.give_vm_back().await,
            Effect::Tidy => self.tidy().await,
            Effect::Abandon => self.abandon().await,
            Effect::Thaw => {
                self.thaw().await;
                self.set_clock();
            }
            Effect::Announce => self.announce(),
            Effect::Forget => self.forget().await,
        }
        None
    }

    /// Whoever follows a command lets go of it before it hears of a pause: hearing of it first, it would end the command, as
    /// for a caller that went away.
    fn announce(&mut self) {
        let parts = self.end.shared.parts();
        if let Some(mut timings) = self.born.take() {
            timings.push((steps::JOURNAL, self.journalled));
            drop(self.end.shared.created.set(timings));
        }
        self.end.view.send_modify(|seen| {
            if self.record.state == State::Pausing {
                parts.leave_guest();
            }
            *seen = view(&self.record);
        });
        self.table.news().tell(&self.record.spec.id);
    }

    /// What begins with a record does not happen without it; everything else goes on, and recovery finds it half-made.
    async fn write_record(&mut self, before: &State) -> Option<Event> {
        let id = self.record.spec.id.as_str();
        let began = Instant::now();
        let written = self.journal.put(id, &self.record);
        let span = Span::step(|| steps::JOURNAL.into());
        let written = span.around(written).await;
        drop(span);
        self.journalled += began.elapsed();
        let error = written.err()?;
        tracing::error!(error = chain(&error), "the journal refused a record");
        let reason = format!("the journal cannot be written: {}", chain(&error));
        let (kind, remedy) = match error {
            journal::Error::Full { .. } => (ErrorKind::HostFull, "free disk space on the host"),
            _ => (
                ErrorKind::AgentError,
                "look at the disk that has the data directory, and at the agent's log",
            ),
        };
        self.fail(Fault::new(kind, reason.clone(), remedy));
        match (before, &self.record.state) {
            // Its VM runs, but nobody would know after a crash: it is as if it had not started.
            (
                State::Pending | State::Starting,
                State::Starting | State::Running { .. } | State::Paused,
            ) => {
                self.record.state = State::Starting;
                Some(Event::BootFailed(Reason::BootFailed(reason)))
            }
            (State::Resuming { .. }, State::Running { .. }) => {
                self.record.state = before.clone();
                Some(Event::ResumeFailed)
            }
            (_, State::Resuming { .. }) => Some(Event::ResumeFailed),
            (_, State::Pausing) => Some(Event::PauseFailed),
            _ => None,
        }
    }

    /// Waits for its turn, and begins. While it waits nothing of it exists.
    async fn boot(&mut self) {
        let turn = match self.queued.take() {
            Some(waiting) => self.turn(waiting).await.map(Some),
            None => Ok(None),
        };
        match turn {
            Ok(turn) => {
                let (turn, waited) = turn.unzip();
                self.waited = waited.unwrap_or_default();
                if turn.is_some() {
                    self.take_slot();
                }
                self.take(Event::Boot).await;
                drop(turn);
            }
            Err(fault) => {
                tracing::info!(%fault, "its turn to start did not come");
                let reason = Reason::BootFailed(fault.message.clone());
                self.fail(fault);
                self.take(Event::BootFailed(reason)).await;
            }
        }
    }

    /// The turn to start, and how long the wait for it was. Whoever gives the sandbox up ends the wait.
    async fn turn(&self, waiting: Waiting) -> Result<(Turn, Duration), Fault> {
        let parts = self.end.shared.parts();
        let span = Span::step(|| steps::QUEUE.into());
        let turn = span.around(waiting.turn());
        tokio::select! {
            biased;
            () = parts.cancel.cancelled() => Err(Fault::new(
                ErrorKind::Conflict,
                "nobody waits for it any more",
                "try again",
            )),
            turn = turn => turn,
        }
    }

    /// Where a slot stands ready, its machine to come has that one, and that one's name. Nothing of it exists yet.
    pub(crate) fn take_slot(&mut self) {
        let (Some(vm), Some(place)) = (&mut self.record.vm, &mut self.place) else {
            return;
        };
        let Some(ready) = self.host.ready_slots.take() else {
            return;
        };
        let (home, origin) = (&self.record.home, vm.origin.clone());
        *vm = self.host.name_vm(home, ready.vm, ready.index.get(), origin);
        place.change_slot(ready.index);
        self.end.shared.parts().receive_slot(ready.slot);
        // Until here it was nobody's.
        self.end.view.send_modify(|seen| *seen = view(&self.record));
        drop(ready.known);
    }

    async fn start(&mut self) -> Event {
        let mut made = self.make(self.plan).await;
        if let Err(error) = &made {
            self.doubt_after(error);
            if let Some(again) = self.start_anew(error).await {
                made = again;
            }
        }
        self.held = None;
        match made {
            Ok(mut timings) => {
                timings.insert(0, (steps::QUEUE, self.waited));
                tracing::info!(steps_ms = in_ms(&timings), "created");
                self.born = Some(timings);
                Event::Booted
            }
            Err(error) => {
                self.end.shared.keep_console().await;
                tracing::warn!(%error, "creation failed");
                self.fail(error.fault("the sandbox did not start"));
                Event::BootFailed(Reason::BootFailed(error.to_string()))
            }
        }
    }

    async fn make(&self, plan: Plan) -> Result<Timings, crate::failure::StepError> {
        let shared = &self.end.shared;
        let parts = shared.parts();
        let Some(vm) = &self.record.vm else {
            return Ok(Timings::new());
        };
        let making = Making {
            host: &self.host,
            record: &self.record,
            vm,
            parts: &parts,
            share: CpuShare::Usual,
        };
        steps::make(plan, &making).await
    }

    /// The first failure is the one to tell, to those who wait for a start and to those who asked for more.
    fn fail(&mut self, fault: Fault) {
        drop(self.end.shared.failure.set(fault.clone()));
        self.outcome.fault.get_or_insert(fault);
    }

    /// Everything goes. When something will not, the state stays and it is tried again.
    pub(crate) async fn unwind(&mut self) -> Option<Event> {
        self.unmake(Leave::Nothing).await;
        matches!(self.record.state, State::Stopping { .. }).then_some(Event::Destroyed)
    }

    /// Unmakes until all but what is to be left is gone.
    async fn unmake(&self, leave: Leave) {
        while let Err(failures) = steps::unmake(&self.host, &self.record, leave).await {
            tracing::error!(failures, "not everything could be unmade; trying again");
            tokio::time::sleep(steps::RETRY).await;
        }
    }

    /// The VM goes, its disk stays.
    pub(crate) async fn release(&mut self) {
        self.end.shared.keep_console().await;
        self.unmake(Leave::Disk).await;
        self.place = None;
    }

    async fn give_vm_back(&mut self) {
        self.end.shared.parts().leave_guest();
        self.unmake(Leave::Home).await;
        self.record.vm = None;
        self.place = None;
    }

    async fn forget(&mut self) {
        let id = &self.record.spec.id;
        if let Err(error) = self.journal.remove(id.as_str()).await {
            // Recovery unmakes it once more, which does no harm.
            tracing::error!(
                error = chain(&error),
                "the journal could not forget a sandbox"
            );
        }
        self.table.remove(id);
    }
}

/// What is to happen when nobody has used it for its timeout; waits until then.
async fn idle(record: &Record, activity: &Activity) -> Event {
    let timeout = Duration::from_secs(u64::from(record.spec.timeout_sec));
    let event = match record.spec.on_timeout {
        OnTimeout::Destroy => Event::Destroy(Reason::TimedOut),
        OnTimeout::Pause => Event::Pause,
        OnTimeout::None => std::future::pending().await,
    };
    activity.idle_for(timeout).await;
    event
}

/// A guest that powers itself off is done with, but not with the pause that its owner made: it can be gone back to.
pub(crate) fn keep_pause(record: &Record, event: Event) -> Event {
    match event {
        Event::VmEnded(off @ Reason::PoweredOff) if record.pause.is_some() => {
            Event::VmEnded(Reason::VmmEnded(off.to_string()))
        }
        other => other,
    }
}

fn view(record: &Record) -> View {
    View {
        state: record.state.clone(),
        started_ms: record.started_ms,
        pause: record.pause.clone(),
        lost_since_ms: record.lost_since_ms,
        network: record.spec.network.clone(),
        disk_size: record.home.virtual_size,
        vm: record.vm.as_ref().map(|vm| (vm.id.clone(), vm.uid)),
        layer: record.vm.as_ref().map(|vm| vm.layer.overlay.clone()),
        host_ip: record
            .vm
            .as_ref()
            .map(|vm| vm.slot.host_ip.to_string())
            .unwrap_or_default(),
    }
}
