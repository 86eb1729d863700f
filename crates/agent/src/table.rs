//! Every sandbox of this host by id. Looking one up, adding and removing one are O(1).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::SandboxId;

use crate::handle::Handle;

/// How many ids are remembered of those that were told to be gone: all those of calls that can still be on their way.
const REMEMBERED: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Table {
    sandboxes: Mutex<Sandboxes>,
    claims: Mutex<HashSet<SandboxId>>,
}

#[derive(Debug, Default)]
struct Sandboxes {
    by_id: HashMap<SandboxId, Arc<Handle>>,
    gone: Gone,
}

/// Ids that somebody was told, or is about to be told, to be gone; the latest of them.
#[derive(Debug, Default)]
struct Gone {
    ids: HashSet<SandboxId>,
    order: VecDeque<SandboxId>,
}

impl Gone {
    fn add(&mut self, id: &SandboxId) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// Why a sandbox is not made.
#[derive(Debug)]
pub(crate) enum Taken {
    /// There is one of this id.
    By(Arc<Handle>),
    /// It was told to be gone already: its creation comes late.
    Gone,
}

/// The right to make or remove what a sandbox of this id owns while no task does. It goes with the value.
#[derive(Debug)]
pub(crate) struct Claim {
    table: Arc<Table>,
    id: SandboxId,
}

impl Table {
    pub(crate) fn get(&self, id: &SandboxId) -> Option<Arc<Handle>> {
        self.lock().by_id.get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().by_id.values().cloned().collect()
    }

    /// Puts a sandbox into the table. The one that already has its id is the answer if there is one.
    pub(crate) fn insert(&self, handle: Arc<Handle>) -> Result<(), Arc<Handle>> {
        self.lock().insert(handle)
    }

    /// The same for one that is to be made. Calls overtake each other: one whose destruction came first is not made.
    pub(crate) fn begin(&self, handle: Arc<Handle>) -> Result<(), Taken> {
        let mut sandboxes = self.lock();
        if sandboxes.gone.ids.contains(&handle.spec.id) {
            return Err(Taken::Gone);
        }
        sandboxes.insert(handle).map_err(Taken::By)
    }

    /// The sandbox, whose creation is refused from now on, whether there is one or not.
    pub(crate) fn end(&self, id: &SandboxId) -> Option<Arc<Handle>> {
        let mut sandboxes = self.lock();
        sandboxes.gone.add(id);
        sandboxes.by_id.get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &SandboxId) {
        self.lock().by_id.remove(id);
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

    fn lock(&self) -> MutexGuard<'_, Sandboxes> {
        self.sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sandboxes {
    fn insert(&mut self, handle: Arc<Handle>) -> Result<(), Arc<Handle>> {
        if let Some(there) = self.by_id.get(&handle.spec.id) {
            return Err(there.clone());
        }
        self.by_id.insert(handle.spec.id.clone(), handle);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.table.claims().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_that_are_gone_are_remembered() {
        let mut gone = Gone::default();
        let (first, last) = (SandboxId::random(), SandboxId::random());
        gone.add(&first);
        for _ in 1..REMEMBERED {
            gone.add(&SandboxId::random());
        }
        gone.add(&first);
        assert!(gone.ids.contains(&first));
        gone.add(&last);
        assert!(gone.ids.contains(&last) && !gone.ids.contains(&first));
        assert_eq!((gone.ids.len(), gone.order.len()), (REMEMBERED, REMEMBERED));
    }
}
