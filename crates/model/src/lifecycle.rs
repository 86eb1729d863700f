//! The life of a sandbox as a pure function: (state, event) → state and effects, or a typed refusal.
//!
//! ```text
//!              Boot              Booted             Pause             Published
//!   Pending ───────► Starting ──────────► Running ───────► Pausing ────────────► Paused
//!      │ ╲              │                 │ ▲ ▲ └─ PauseFailed ◄─┘                ▲ │
//!      │  ╲ Imported    │ BootFailed      │ │ │ Resumed                           │ │ Resume
//!      │   ╲► Paused    ▼                 │ │ └───────────── Resuming ◄───────────┼─┘
//!      │              Error ◄─────────────┘ │ Resume            └── ResumeFailed ─┘
//!      │                │      VmEnded      │                       (or Error again)
//!      │                └───────────────────┴── an error with a pause of its own
//!      └─────────┬─────────
//!        Destroy │ from every state          VmEnded by power off: Stopped
//!                ▼                           Running ⇄ Running, stalled: DiskFull / DiskRoom
//!                                            Running ⇄ Copying: Copy / Copied
//!            Stopping ── Destroyed ─► Stopped
//! ```
//!
//! A transition's effects are carried out in their order: what is recorded is durable before it is announced.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a caller sees of a sandbox's state; the REST contract knows no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted, not yet running.
    Pending,
    /// It answers.
    Running,
    /// On disk, with its memory.
    Paused,
    /// Gone.
    Stopped,
    /// Something went wrong; `status_reason` says what.
    Error,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Paused,
        Self::Stopped,
        Self::Error,
    ];

    /// As the REST API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Error => "error",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is under way. While it stands, the status is what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transition {
    /// From pending to running.
    Starting,
    /// From running to paused.
    Pausing,
    /// From paused, or from an error after a pause, to running.
    Resuming,
    /// To stopped.
    Stopping,
    /// What it is at one instant becomes a template; it runs on.
    Snapshotting,
    /// What it is at one instant becomes other sandboxes; it runs on.
    Forking,
}

impl Transition {
    /// Every transition.
    pub const ALL: [Self; 6] = [
        Self::Starting,
        Self::Pausing,
        Self::Resuming,
        Self::Stopping,
        Self::Snapshotting,
        Self::Forking,
    ];

    /// As the REST API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Pausing => "pausing",
            Self::Resuming => "resuming",
            Self::Stopping => "stopping",
            Self::Snapshotting => "snapshotting",
            Self::Forking => "forking",
        }
    }

    /// The transition of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transition| transition.as_str() == name)
    }
}

/// What a sandbox that runs on is captured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Copying {
    /// A template.
    Snapshot,
    /// Other sandboxes.
    Fork,
}

/// Why a sandbox is not simply running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A caller asked for it.
    Destroyed,
    /// Nobody used it for its timeout.
    TimedOut,
    /// The guest powered itself off.
    PoweredOff,
    /// The guest's kernel panicked.
    GuestPanicked,
    /// The kernel ended the VMM for want of memory.
    OutOfMemory,
    /// The VMM ended by itself or was killed.
    VmmEnded(String),
    /// The host's disk is full; the guest is frozen until there is room.
    DiskFull,
    /// It never came up.
    BootFailed(String),
    /// The host was started anew.
    HostRebooted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destroyed => f.write_str("destroyed on request"),
            Self::TimedOut => f.write_str("destroyed after its timeout without activity"),
            Self::PoweredOff => f.write_str("the guest powered off"),
            Self::GuestPanicked => f.write_str("the guest kernel panicked"),
            Self::OutOfMemory => {
                f.write_str("the host's out-of-memory killer ended the virtual machine")
            }
            Self::VmmEnded(how) => write!(f, "the virtual machine ended unexpectedly: {how}"),
            Self::DiskFull => {
                f.write_str("frozen: the host's disk is full; it goes on when there is room")
            }
            Self::BootFailed(why) => write!(f, "it did not start: {why}"),
            Self::HostRebooted => f.write_str("the host was restarted while it ran"),
        }
    }
}

/// Where a sandbox stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Accepted.
    Pending,
    /// Being booted.
    Starting,
    /// It answers, unless stalled by a full host disk.
    Running {
        /// The guest is frozen because the host's disk is full.
        stalled: bool,
    },
    /// Being captured for others. It is never in the journal, where it runs: after a death of the agent it goes on.
    Copying(Copying),
    /// Being written to disk. Until that is published it can go on running.
    Pausing,
    /// On disk, with its memory; it has no VM.
    Paused,
    /// Getting a VM again, from its newest generation.
    Resuming {
        /// Why it is not simply paused: its VM was lost after that generation.
        lost: Option<Reason>,
        /// It boots from the generation's disk alone.
        cold: bool,
    },
    /// Being unmade.
    Stopping {
        /// What a caller sees until it is gone.
        was: Status,
        /// Why.
        reason: Reason,
    },
    /// Gone.
    Stopped(Reason),
    /// Its VM is gone; it is kept until it is destroyed.
    Error(Reason),
}

impl State {
    /// Whether its guest can be called: that one stands still for a moment while it is captured breaks no call off.
    #[must_use]
    pub fn can_be_called(&self) -> bool {
        matches!(self, Self::Running { stalled: false } | Self::Copying(_))
    }

    /// What a caller sees.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Pending | Self::Starting => Status::Pending,
            Self::Running { .. } | Self::Copying(_) | Self::Pausing => Status::Running,
            Self::Paused | Self::Resuming { lost: None, .. } => Status::Paused,
            Self::Stopping { was, .. } => *was,
            Self::Stopped(_) => Status::Stopped,
            Self::Error(_) | Self::Resuming { lost: Some(_), .. } => Status::Error,
        }
    }

    /// What is under way.
    #[must_use]
    pub fn transition(&self) -> Option<Transition> {
        match self {
            Self::Starting => Some(Transition::Starting),
            Self::Copying(Copying::Snapshot) => Some(Transition::Snapshotting),
            Self::Copying(Copying::Fork) => Some(Transition::Forking),
            Self::Pausing => Some(Transition::Pausing),
            Self::Resuming { .. } => Some(Transition::Resuming),
            Self::Stopping { .. } => Some(Transition::Stopping),
            _ => None,
        }
    }

    /// Why it is not simply running.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Running { stalled: true } => Some(Reason::DiskFull),
            Self::Stopping { reason, .. } | Self::Stopped(reason) | Self::Error(reason) => {
                Some(reason.clone())
            }
            Self::Resuming { lost, .. } => lost.clone(),
            Self::Pending
            | Self::Starting
            | Self::Running { stalled: false }
            | Self::Copying(_)
            | Self::Pausing
            | Self::Paused => None,
        }
    }
}

/// What happens to a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its creation may begin.
    Boot,
    /// Its guest agent answers.
    Booted,
    /// A step of its creation failed, or its creator went away.
    BootFailed(Reason),
    /// Its VM is there no more, or will do nothing any more.
    VmEnded(Reason),
    /// It is to be captured for others.
    Copy(Copying),
    /// That has come to its end, well or not.
    Copied,
    /// It is to be paused.
    Pause,
    /// Its generation is published: the pause has happened, whatever comes.
    Published,
    /// A step before that failed; its VM can go on.
    PauseFailed,
    /// It is to run again, from the generation that it has.
    Resume {
        /// From the generation's disk alone.
        cold: bool,
    },
    /// Its guest agent answers again.
    Resumed,
    /// A step of the resume failed; its generation is as it was.
    ResumeFailed,
    /// Its generation came from elsewhere.
    Imported,
    /// The host was started anew while it ran; it has a generation to go back to.
    FellBack,
    /// The host's disk is full, the VM frozen.
    DiskFull,
    /// There is room again.
    DiskRoom,
    /// Somebody wants it gone.
    Destroy(Reason),
    /// Nothing of it is left.
    Destroyed,
}

/// What has to be done for a transition, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Write the new state into the journal.
    Record,
    /// Run the steps of creation.
    Start,
    /// Undo every step, the last first.
    Unwind,
    /// End the VM and give its network back, but keep its disk.
    Release,
    /// Let the frozen vCPUs go on.
    Thaw,
    /// Run the steps of a pause.
    Capture,
    /// Run the steps of a capture for others.
    Copy,
    /// Let what was captured go.
    Abandon,
    /// The pause is published: end the VM, give its network and its disk layer back, drop older generations.
    Retire,
    /// Run the steps of a resume.
    Restore,
    /// Undo the steps of a resume, the last first.
    Withdraw,
    /// Remove what former VMs left.
    Tidy,
    /// Tell whoever listens.
    Announce,
    /// Remove it from the agent's table.
    Forget,
}

/// An event that makes no sense in a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a sandbox that is {status} does not allow this")]
pub struct Refusal {
    /// The status that refused.
    pub status: Status,
}

/// The one place where a sandbox's state changes.
pub fn next(state: &State, event: Event) -> Result<(State, &'static [Effect]), Refusal> {
    use Effect::{
        Abandon, Announce, Capture, Copy, Forget, Record, Release, Restore, Retire, Start, Thaw,
        Tidy, Unwind, Withdraw,
    };

    const RUNNING: State = State::Running { stalled: false };

    Ok(match (state, event) {
        (State::Pending, Event::Boot) => (State::Starting, &[Record, Start]),
        (State::Starting, Event::Booted) => (RUNNING, &[Record, Announce]),
        (State::Pending | State::Starting, Event::BootFailed(reason)) => {
            (State::Error(reason), &[Unwind, Record, Announce, Forget])
        }
        (State::Running { .. }, Event::VmEnded(reason @ Reason::PoweredOff)) => {
            (State::Stopped(reason), &[Unwind, Record, Announce, Forget])
        }
        // It stays until it is destroyed: somebody has to learn why, and its disk may be all there is.
        (State::Running { .. }, Event::VmEnded(reason)) => {
            (State::Error(reason), &[Record, Announce, Release])
        }
        (State::Running { stalled: false }, Event::DiskFull) => {
            (State::Running { stalled: true }, &[Announce])
        }
        (State::Running { stalled: true }, Event::DiskRoom) => (RUNNING, &[Thaw, Announce]),

        (State::Running { stalled: false }, Event::Copy(what)) => {
            (State::Copying(what), &[Announce, Copy])
        }
        // Whoever was captured for stands or failed by itself: its source goes on.
        (State::Copying(_), Event::Copied) => (RUNNING, &[Thaw, Announce]),

        // Announced at once, so that calls into the guest end before it stands still.
        (State::Running { stalled: false }, Event::Pause) => {
            (State::Pausing, &[Record, Announce, Capture])
        }
        (State::Pausing, Event::PauseFailed) => (RUNNING, &[Thaw, Abandon, Record, Announce]),
        (State::Pausing, Event::Published) => (State::Paused, &[Retire, Record, Announce]),
        // Recovery found no VM under a pause that was not published.
        (State::Pausing, Event::VmEnded(reason)) => {
            (State::Error(reason), &[Abandon, Record, Announce, Release])
        }
        (State::Paused, Event::Resume { cold }) => (
            State::Resuming { lost: None, cold },
            &[Record, Announce, Restore],
        ),
        (State::Error(reason), Event::Resume { cold }) => {
            let lost = Some(reason.clone());
            (State::Resuming { lost, cold }, &[Record, Announce, Restore])
        }
        (State::Resuming { .. }, Event::Resumed) => (RUNNING, &[Record, Announce, Tidy]),
        (State::Resuming { lost, .. }, Event::ResumeFailed) => (
            lost.clone().map_or(State::Paused, State::Error),
            &[Withdraw, Record, Announce],
        ),
        (State::Pending, Event::Imported) => (State::Paused, &[Record, Announce]),
        (State::Running { .. } | State::Pausing, Event::FellBack) => {
            (State::Paused, &[Retire, Record, Announce])
        }

        // Told twice is told once.
        (State::Running { stalled: true }, Event::DiskFull)
        | (State::Running { stalled: false }, Event::DiskRoom)
        | (State::Stopping { .. }, Event::Destroy(_) | Event::VmEnded(_)) => (state.clone(), &[]),
        // Recovery found it between its last two effects.
        (State::Stopped(_), Event::Destroy(_)) => (state.clone(), &[Forget]),
        (_, Event::Destroy(reason)) => (
            State::Stopping {
                was: state.status(),
                reason,
            },
            &[Record, Announce, Unwind],
        ),
        (State::Stopping { reason, .. }, Event::Destroyed) => {
            (State::Stopped(reason.clone()), &[Record, Announce, Forget])
        }
        _ => {
            return Err(Refusal {
                status: state.status(),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(events: &[Event]) -> State {
        events.iter().fold(State::Pending, |state, event| {
            next(&state, event.clone()).unwrap().0
        })
    }

    #[test]
    fn a_life_without_trouble() {
        let running = run(&[Event::Boot, Event::Booted]);
        assert_eq!(running, State::Running { stalled: false });
        let (stopping, effects) = next(&running, Event::Destroy(Reason::Destroyed)).unwrap();
        assert_eq!(stopping.status(), Status::Running);
        assert_eq!(stopping.transition(), Some(Transition::Stopping));
        assert_eq!(effects, [Effect::Record, Effect::Announce, Effect::Unwind]);
        let (stopped, _) = next(&stopping, Event::Destroyed).unwrap();
        assert_eq!(stopped.status(), Status::Stopped);
    }

    #[test]
    fn a_guest_that_powers_off_is_stopped_and_one_that_panics_is_an_error() {
        let running = run(&[Event::Boot, Event::Booted]);
        let (off, _) = next(&running, Event::VmEnded(Reason::PoweredOff)).unwrap();
        assert_eq!(off.status(), Status::Stopped);
        let (panicked, effects) = next(&running, Event::VmEnded(Reason::GuestPanicked)).unwrap();
        assert_eq!(panicked.status(), Status::Error);
        assert!(!effects.contains(&Effect::Forget));
    }

    #[test]
    fn a_full_disk_is_a_reason_and_no_state() {
        let stalled = run(&[Event::Boot, Event::Booted, Event::DiskFull]);
        assert_eq!(stalled.status(), Status::Running);
        assert_eq!(stalled.reason(), Some(Reason::DiskFull));
        let (on, effects) = next(&stalled, Event::DiskRoom).unwrap();
        assert_eq!(on.reason(), None);
        assert!(effects.contains(&Effect::Thaw));
    }

    #[test]
    fn a_pause_and_its_way_back() {
        let paused = run(&[Event::Boot, Event::Booted, Event::Pause, Event::Published]);
        assert_eq!(paused.status(), Status::Paused);
        let (resuming, _) = next(&paused, Event::Resume { cold: false }).unwrap();
        assert_eq!(resuming.status(), Status::Paused);
        assert_eq!(resuming.transition(), Some(Transition::Resuming));
        let (running, _) = next(&resuming, Event::Resumed).unwrap();
        assert_eq!(running, State::Running { stalled: false });
        let (still, effects) = next(&resuming, Event::ResumeFailed).unwrap();
        assert_eq!(still, State::Paused);
        assert_eq!(effects[0], Effect::Withdraw);
    }

    #[test]
    fn a_pause_that_fails_lets_the_guest_go_on_first() {
        let pausing = run(&[Event::Boot, Event::Booted, Event::Pause]);
        assert_eq!(pausing.status(), Status::Running);
        let (running, effects) = next(&pausing, Event::PauseFailed).unwrap();
        assert_eq!(running, State::Running { stalled: false });
        assert_eq!(effects[0], Effect::Thaw);
    }

    #[test]
    fn what_is_captured_for_others_runs_on_and_is_not_recorded() {
        let running = run(&[Event::Boot, Event::Booted]);
        for (what, transition) in [
            (Copying::Snapshot, Transition::Snapshotting),
            (Copying::Fork, Transition::Forking),
        ] {
            let (copying, effects) = next(&running, Event::Copy(what)).unwrap();
            assert_eq!(copying.status(), Status::Running);
            assert_eq!(copying.transition(), Some(transition));
            assert!(copying.can_be_called());
            assert!(!effects.contains(&Effect::Record));
            let (on, effects) = next(&copying, Event::Copied).unwrap();
            assert_eq!((on, effects[0]), (running.clone(), Effect::Thaw));
        }
    }

    #[test]
    fn a_failed_way_back_from_an_error_is_the_same_error() {
        let lost = run(&[
            Event::Boot,
            Event::Booted,
            Event::VmEnded(Reason::OutOfMemory),
        ]);
        let (resuming, _) = next(&lost, Event::Resume { cold: false }).unwrap();
        assert_eq!(resuming.status(), Status::Error);
        assert_eq!(next(&resuming, Event::ResumeFailed).unwrap().0, lost);
    }

    #[test]
    fn a_frozen_guest_is_not_paused() {
        let stalled = run(&[Event::Boot, Event::Booted, Event::DiskFull]);
        assert!(next(&stalled, Event::Pause).is_err());
    }

    fn reasons() -> impl Strategy<Value = Reason> {
        prop_oneof![
            Just(Reason::Destroyed),
            Just(Reason::TimedOut),
            Just(Reason::PoweredOff),
            Just(Reason::GuestPanicked),
            Just(Reason::OutOfMemory),
            Just(Reason::VmmEnded("signal 9".into())),
        ]
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Boot),
            Just(Event::Booted),
            reasons().prop_map(Event::BootFailed),
            reasons().prop_map(Event::VmEnded),
            Just(Event::DiskFull),
            Just(Event::DiskRoom),
            reasons().prop_map(Event::Destroy),
            Just(Event::Destroyed),
            Just(Event::Pause),
            Just(Event::Published),
            Just(Event::PauseFailed),
            Just(Event::Copy(Copying::Snapshot)),
            Just(Event::Copy(Copying::Fork)),
            Just(Event::Copied),
            any::<bool>().prop_map(|cold| Event::Resume { cold }),
            Just(Event::Resumed),
            Just(Event::ResumeFailed),
            Just(Event::Imported),
            Just(Event::FellBack),
        ]
    }

    proptest! {
        /// Whatever happens, in whatever order: destroy is allowed, what is gone stays gone, nothing is announced
        /// before it is recorded, what is forgotten has been unwound, and a VM is ended only where nothing runs.
        #[test]
        fn invariants_hold(events in proptest::collection::vec(events(), 0..60)) {
            let mut state = State::Pending;
            let mut unwound = false;
            for event in events {
                prop_assert!(next(&state, Event::Destroy(Reason::Destroyed)).is_ok());
                let Ok((after, effects)) = next(&state, event) else { continue };
                if matches!(state, State::Stopped(_)) {
                    prop_assert_eq!(&after, &state);
                }
                let at = |effect| effects.iter().position(|e| *e == effect);
                if let (Some(record), Some(announce)) = (at(Effect::Record), at(Effect::Announce)) {
                    prop_assert!(record < announce);
                }
                let ended = [Effect::Unwind, Effect::Release, Effect::Retire, Effect::Withdraw]
                    .into_iter()
                    .any(|effect| at(effect).is_some());
                unwound |= at(Effect::Unwind).is_some();
                let runs = matches!(after, State::Running { .. } | State::Pausing);
                prop_assert!(!ended || !runs);
                prop_assert!(!runs || !unwound);
                if at(Effect::Forget).is_some() {
                    prop_assert!(unwound);
                    // Nothing happens to what nobody knows any more.
                    break;
                }
                // A pause is published once, and only a published one retires its VM.
                if at(Effect::Retire).is_some() {
                    prop_assert_eq!(&after, &State::Paused);
                }
                state = after;
            }
        }
    }
}
