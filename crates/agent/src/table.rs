//! Every sandbox of this host by id. Looking one up, adding and removing one are O(1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::SandboxId;

use crate::handle::Handle;

#[derive(Debug, Default)]
pub(crate) struct Table {
    sandboxes: Mutex<HashMap<SandboxId, Arc<Handle>>>,
}

impl Table {
    pub(crate) fn get(&self, id: &SandboxId) -> Option<Arc<Handle>> {
        self.lock().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().values().cloned().collect()
    }

    /// Puts a sandbox into the table. The one that already has its id is the answer if there is one.
    pub(crate) fn insert(&self, handle: Arc<Handle>) -> Result<(), Arc<Handle>> {
        let mut sandboxes = self.lock();
        if let Some(there) = sandboxes.get(&handle.spec.id) {
            return Err(there.clone());
        }
        sandboxes.insert(handle.spec.id.clone(), handle);
        Ok(())
    }

    pub(crate) fn remove(&self, id: &SandboxId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Handle>>> {
        self.sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
