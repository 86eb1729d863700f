//! Every sandbox of this host by id. Looking one up, adding and removing one are O(1).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::SandboxId;

use crate::handle::Handle;

#[derive(Debug, Default)]
pub(crate) struct Table {
    sandboxes: Mutex<HashMap<SandboxId, Arc<Handle>>>,
    claims: Mutex<HashSet<SandboxId>>,
}

/// The right to make or remove what a sandbox of this id owns while no task does. It goes with the value.
#[derive(Debug)]
pub(crate) struct Claim {
    table: Arc<Table>,
    id: SandboxId,
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

    /// Claims an id that no sandbox has; `None` when one has it, or somebody else has claimed it.
    pub(crate) fn claim(self: &Arc<Self>, id: &SandboxId) -> Option<Claim> {
        let claimed = self.claims().insert(id.clone());
        let claim = claimed.then(|| Claim {
            table: self.clone(),
            id: id.clone(),
        });
        claim.filter(|_| self.get(id).is_none())
    }

    /// The ids that are claimed now. Who gives one up for a sandbox has put that into the table before.
    pub(crate) fn claimed(&self) -> HashSet<SandboxId> {
        self.claims().clone()
    }

    fn claims(&self) -> MutexGuard<'_, HashSet<SandboxId>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Handle>>> {
        self.sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.table.claims().remove(&self.id);
    }
}
