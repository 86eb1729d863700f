//! What outlives agent and control plane: machines, slots, and the history. Whatever is wrong at once is seen here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use wrenn_model::{SandboxId, VmId};
use wrenn_vmm::{Ended, RunState, VmEvent};

use super::dice::{Dice, Seed};

/// The world of one seed. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) seed: Seed,
    state: Arc<Mutex<State>>,
}

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Since the beginning.
    pub(crate) now: Duration,
    /// Whether anything goes wrong.
    pub(crate) harmful: bool,
    /// Counts the agents that have died.
    pub(crate) agents: u64,
    pub(crate) machines: BTreeMap<VmId, Box<Virtual>>,
    /// By their labels.
    pub(crate) slots: BTreeMap<String, u16>,
    pub(crate) histories: BTreeMap<SandboxId, Fate>,
    history: Vec<String>,
    decisions: Vec<String>,
    wrong: Option<String>,
    /// Counts what has happened.
    pub(crate) events: u64,
    counts: BTreeMap<String, u64>,
}

/// A virtual machine.
#[derive(Debug)]
pub(crate) struct Virtual {
    pub(crate) sandbox: SandboxId,
    pub(crate) uid: u32,
    pub(crate) run: RunState,
    pub(crate) ended: Option<Ended>,
    /// Its guest's agent listens.
    pub(crate) booted: bool,
    pub(crate) memory: Memory,
    pub(crate) events: broadcast::Sender<VmEvent>,
    /// It runs, stands still or has ended.
    pub(crate) changed: Arc<Notify>,
}

/// What a guest has in its memory.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    /// Which capture it is, or came from; 0 for a guest that booted.
    pub(crate) capture: u64,
    pub(crate) token: Option<String>,
    pub(crate) key: Option<String>,
}

/// What has become of a sandbox, as the world saw it.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// The how many-th sandbox it is.
    pub(crate) number: usize,
    /// Counts its captures.
    pub(crate) captures: u64,
    /// The oldest capture that it may come back from.
    pub(crate) kept: u64,
    /// Something was done to one of its machines.
    pub(crate) harmed: bool,
}

impl World {
    pub(crate) fn new(seed: Seed) -> Self {
        let state = State {
            harmful: true,
            ..State::default()
        };
        Self {
            seed,
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The decisions about what happens for the n-th time under this name.
    pub(crate) fn dice(&self, name: &str) -> Dice {
        let mut state = self.lock();
        let count = state.counts.entry(name.to_owned()).or_default();
        *count += 1;
        let name = format!("{name} {count}");
        drop(state);
        self.seed.dice(&name)
    }

    /// Whether something goes wrong here, as often as that.
    pub(crate) fn strikes(&self, dice: &mut Dice, percent: u64) -> bool {
        let strikes = dice.percent(percent);
        strikes && self.lock().harmful
    }

    pub(crate) fn tell(&self, what: impl AsRef<str>) {
        self.lock().tell(what.as_ref());
    }

    /// The first thing that was wrong.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.lock().wrong.clone()
    }

    /// Tells something that was decided.
    pub(crate) fn decide(&self, what: &str) {
        let mut state = self.lock();
        state.tell(what);
        let now = state.now;
        state.decisions.push(format!("{now:?} {what}"));
    }

    pub(crate) fn decisions(&self) -> Vec<String> {
        self.lock().decisions.clone()
    }

    pub(crate) fn history(&self) -> Vec<String> {
        self.lock().history.clone()
    }
}

impl State {
    pub(crate) fn tell(&mut self, what: &str) {
        self.events += 1;
        let line = format!("{:>12.3} {what}", self.now.as_secs_f64());
        self.history.push(line);
    }

    /// Something that must never be.
    pub(crate) fn never(&mut self, what: String) {
        self.tell(&format!("WRONG: {what}"));
        self.wrong.get_or_insert(what);
    }

    pub(crate) fn fate(&mut self, sandbox: &SandboxId) -> &mut Fate {
        let number = self.histories.len();
        let fate = self.histories.entry(sandbox.clone());
        fate.or_insert_with(|| Fate {
            number,
            ..Fate::default()
        })
    }

    /// Which sandbox it is, counted from the first.
    pub(crate) fn age(&self, sandbox: &SandboxId) -> usize {
        self.histories
            .get(sandbox)
            .map_or(usize::MAX, |fate| fate.number)
    }

    /// Somebody was told that nothing of a sandbox exists any more.
    pub(crate) fn gone(&mut self, sandbox: &SandboxId) {
        let lives = self.living(sandbox).map(|(id, _)| id.clone()).next();
        if let Some(id) = lives {
            self.never(format!("{sandbox} was told to be gone, and {id} lives"));
        }
    }

    /// The machines of a sandbox that live.
    pub(crate) fn living<'a>(
        &'a self,
        sandbox: &'a SandboxId,
    ) -> impl Iterator<Item = (&'a VmId, &'a Virtual)> {
        let living = self.machines.iter().map(|(id, machine)| (id, &**machine));
        living.filter(move |(_, machine)| machine.sandbox == *sandbox && machine.ended.is_none())
    }

    /// A machine comes to be.
    pub(crate) fn put(&mut self, id: VmId, machine: Virtual) {
        let sandbox = machine.sandbox.clone();
        self.fate(&sandbox);
        self.tell(&format!("{sandbox}: machine {id} {:?}", machine.run));
        let others: Vec<_> = self.living(&sandbox).map(|(id, _)| id.clone()).collect();
        if !others.is_empty() {
            self.never(format!("{sandbox} runs in {id} and in {others:?} at once"));
        }
        let same_user = |other: &Virtual| other.ended.is_none() && other.uid == machine.uid;
        if self.machines.values().any(|other| same_user(other)) {
            self.never(format!(
                "{id} and another machine have the user {}",
                machine.uid
            ));
        }
        self.machines.insert(id, Box::new(machine));
    }

    /// A machine ends, if it lives.
    pub(crate) fn end(&mut self, id: &VmId, how: Ended) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        if machine.ended.is_some() {
            return;
        }
        machine.ended = Some(how);
        // Nobody listening is fine.
        drop(machine.events.send(VmEvent::Ended { how }));
        machine.changed.notify_waiters();
        let sandbox = machine.sandbox.clone();
        self.tell(&format!("{sandbox}: machine {id} ended: {how}"));
    }

    /// A machine runs or stands still from now on.
    pub(crate) fn set(&mut self, id: &VmId, run: RunState) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        machine.run = run;
        machine.changed.notify_waiters();
        let sandbox = machine.sandbox.clone();
        self.tell(&format!("{sandbox}: machine {id} {run:?}"));
    }
}

/// The sandbox whose folder this path leads through.
pub(crate) fn sandbox_of(path: &Path) -> Option<SandboxId> {
    let mut names = path
        .components()
        .filter_map(|part| part.as_os_str().to_str());
    names.find_map(|name| name.parse().ok())
}
