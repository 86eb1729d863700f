//! Which sandboxes somebody here is working on. The reconciler leaves them alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::SandboxId;

/// The sandboxes with an operation under way in this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<SandboxId, usize>>>);

/// An operation under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    flights: Flights,
    id: SandboxId,
}

impl Flights {
    /// An operation on this sandbox begins. Several may run at once, a create and a delete say.
    pub(crate) fn begin(&self, id: &SandboxId) -> Flight {
        *self.lock().entry(id.clone()).or_default() += 1;
        Flight {
            flights: self.clone(),
            id: id.clone(),
        }
    }

    /// Whether an operation on this sandbox is under way.
    pub(crate) fn has(&self, id: &SandboxId) -> bool {
        self.lock().contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SandboxId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if let Some(count) = flights.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                flights.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_operation_to_end_frees_the_sandbox() {
        let (flights, id) = (Flights::default(), SandboxId::random());
        let first = flights.begin(&id);
        let second = flights.begin(&id);
        drop(first);
        assert!(flights.has(&id));
        drop(second);
        assert!(!flights.has(&id));
    }
}
