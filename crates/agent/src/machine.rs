//! What happens to a virtual machine, in the words of the lifecycle.

use tokio::sync::broadcast;
use wrenn_model::lifecycle::{Event, Reason};
use wrenn_vmm::{Ended, Machine, RunState, VmEvent};

/// Waits until something happens to the VM. It asks first, for what happened while nobody listened.
pub(crate) async fn next_event(machine: Option<&dyn Machine>, stalled: bool) -> Event {
    let Some(machine) = machine else {
        return Event::VmEnded(Reason::VmmEnded("it has no process".into()));
    };
    let mut events = machine.events();
    match machine.run_state().await {
        Ok(RunState::Shutdown) => return Event::VmEnded(Reason::PoweredOff),
        Ok(RunState::Panicked) => return Event::VmEnded(Reason::GuestPanicked),
        Ok(RunState::IoError) if !stalled => return Event::DiskFull,
        // A VMM that does not answer may have ended: the event says how.
        Ok(_) | Err(_) => {}
    }
    loop {
        match events.recv().await {
            Ok(VmEvent::Shutdown { .. }) => return Event::VmEnded(Reason::PoweredOff),
            Ok(VmEvent::Panicked) => return Event::VmEnded(Reason::GuestPanicked),
            Ok(VmEvent::IoError { .. }) => return Event::DiskFull,
            Ok(VmEvent::Ended { how }) => return Event::VmEnded(reason(&how)),
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => {
                return Event::VmEnded(Reason::VmmEnded("nobody watches it any more".into()));
            }
        }
    }
}

/// Why a VM that ended by itself is gone.
pub(crate) fn reason(how: &Ended) -> Reason {
    match how {
        Ended::OutOfMemory => Reason::OutOfMemory,
        other => Reason::VmmEnded(other.to_string()),
    }
}
