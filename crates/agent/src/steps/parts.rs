//! What the steps make for one virtual machine, as far as it lives in this process only.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::fd::OwnedFd;
use tokio_util::sync::CancellationToken;
use wrenn_envd_client::EnvdClient;
use wrenn_model::Platform;
use wrenn_snapshot::Generation;
use wrenn_vmm::{Machine, RunState};

use crate::exec::Outputs;
use crate::guest;
use crate::slots::Slot;

/// How long it may take to say what a machine does, for a message.
const RUN_STATE: Duration = Duration::from_secs(2);

/// What the steps made for one virtual machine that lives in this process only.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Gives a creation or a resume up, between two steps or in the wait for the guest.
    pub(crate) cancel: CancellationToken,
    /// The sandbox's own: somebody wants it gone.
    pub(crate) doomed: CancellationToken,
    pub(super) generation: OnceLock<Generation>,
    /// The virtual machine that stood ready, where it is one that is taken.
    ready: Mutex<Option<Ready>>,
    /// What its guest was used with before it stood still, with the connection to it.
    kept: Mutex<Option<EnvdClient>>,
    pub(crate) slot: OnceLock<Slot>,
    tap: Mutex<Option<OwnedFd>>,
    pub(crate) machine: OnceLock<Arc<dyn Machine>>,
    pub(crate) platform: OnceLock<Platform>,
    guest: Mutex<Option<Guest>>,
}

/// A virtual machine that stands ready.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) machine: Arc<dyn Machine>,
    /// Its state is loaded; else it stands by for that.
    pub(crate) loaded: bool,
}

/// A guest that can be called.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) client: EnvdClient,
    /// The agent has let go of it: whoever holds a connection closes it, and commands go on without us.
    pub(crate) left: CancellationToken,
    /// What its commands keep on the host.
    pub(crate) outputs: Outputs,
}

impl Parts {
    /// What another VM of a sandbox is to be made of: one that is doomed already gets none.
    pub(crate) fn of(doomed: &CancellationToken) -> Self {
        let parts = Self {
            doomed: doomed.clone(),
            ..Self::default()
        };
        if doomed.is_cancelled() {
            parts.cancel.cancel();
        }
        parts
    }

    /// Takes up what a former agent made.
    pub(crate) fn adopt(&self, slot: Slot, machine: Arc<dyn Machine>, token: &str) {
        self.connect(guest::client(slot.dialer.clone(), token));
        self.machine.get_or_init(|| machine);
        self.slot.get_or_init(|| slot);
    }

    /// Whether its guest is known to go on, or to stand still so that it may.
    pub(crate) async fn runs_on(&self) -> bool {
        let Some(machine) = self.machine.get() else {
            return false;
        };
        let state = tokio::time::timeout(RUN_STATE, machine.run_state()).await;
        matches!(
            state,
            Ok(Ok(RunState::Running | RunState::Frozen | RunState::IoError))
        )
    }

    /// What a virtual machine that no sandbox has is to be made of, unless the agent ends before.
    pub(crate) fn for_nobody(closing: &CancellationToken) -> Self {
        Self {
            cancel: closing.child_token(),
            doomed: closing.child_token(),
            ..Self::default()
        }
    }

    /// Takes a slot that stood ready.
    pub(crate) fn receive_slot(&self, mut slot: Slot) {
        *self.lock_tap() = slot.tap.take();
        let taken = self.slot.set(slot).is_ok();
        debug_assert!(taken, "a slot is taken once");
    }

    /// What is to be made of a virtual machine that stands ready.
    pub(crate) fn taken(
        doomed: &CancellationToken,
        slot: Slot,
        ready: Ready,
        kept: Option<EnvdClient>,
        platform: Platform,
    ) -> Self {
        Self {
            slot: OnceLock::from(slot),
            platform: OnceLock::from(platform),
            ready: Mutex::new(Some(ready)),
            kept: Mutex::new(kept),
            ..Self::of(doomed)
        }
    }

    /// The guest, unless it was let go.
    pub(crate) fn guest(&self) -> Option<Guest> {
        self.lock_guest().clone()
    }

    pub(super) fn connect(&self, client: EnvdClient) -> Guest {
        let guest = Guest {
            client,
            left: CancellationToken::new(),
            outputs: Outputs::default(),
        };
        *self.lock_guest() = Some(guest.clone());
        guest
    }

    /// Lets the guest go: connections to it close. Nothing in the guest ends by that.
    pub(crate) fn leave_guest(&self) {
        if let Some(guest) = self.lock_guest().take() {
            guest.left.cancel();
        }
    }

    /// The opposite.
    pub(crate) fn return_to_guest(&self, token: &str) {
        if let Some(slot) = self.slot.get() {
            self.connect(guest::client(slot.dialer.clone(), token));
        }
    }

    pub(super) fn lock_tap(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.tap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_ready(&self) -> MutexGuard<'_, Option<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever takes it goes on over the connection that it has.
    pub(crate) fn take_kept(&self) -> Option<EnvdClient> {
        self.lock_kept().take()
    }

    pub(super) fn keep(&self, client: EnvdClient) {
        *self.lock_kept() = Some(client);
    }

    fn lock_kept(&self) -> MutexGuard<'_, Option<EnvdClient>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_guest(&self) -> MutexGuard<'_, Option<Guest>> {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
