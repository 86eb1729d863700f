//! Every sandbox of this host by id. Looking one up, adding and removing one are O(1).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::{SandboxId, VmId};

use crate::handle::Handle;
use crate::news::News;

/// How many ids are remembered of those that were told to be gone: all those of calls that can still be on their way.
const REMEMBERED: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Table {
    sandboxes: Mutex<Sandboxes>,
    claims: Mutex<HashSet<SandboxId>>,
    /// Those that were asked for and have nothing yet but what they wait for.
    coming: Mutex<HashMap<SandboxId, Arc<Handle>>>,
    /// Virtual machines that no sandbox has, and the users that their VMMs run as.
    unowned: Mutex<HashMap<VmId, u32>>,
    news: News,
}

/// A virtual machine that no sandbox has is known for as long as this is there.
#[derive(Debug)]
pub(crate) struct Unowned {
    table: Arc<Table>,
    vm: Option<VmId>,
}

/// A sandbox is known to be coming for as long as this is there.
#[derive(Debug)]
pub(crate) struct Coming {
    table: Arc<Table>,
    id: SandboxId,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.table.coming().remove(&self.id);
        self.table.news.tell(&self.id);
    }
}

impl Drop for Unowned {
    fn drop(&mut self) {
        if let Some(vm) = &self.vm {
            self.table.unowned().remove(vm);
        }
    }
}

#[derive(Debug, Default)]
struct Sandboxes {
    by_id: HashMap<SandboxId, Arc<Handle>>,
    gone: Gone,
    /// Nothing begins any more.
    closed: bool,
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

/// The right to make or remove what a sandbox of this id owns while no task does. It goes with the value.
#[derive(Debug)]
pub(crate) struct Claim {
    table: Arc<Table>,
    id: SandboxId,
}

/// Why a sandbox cannot have its id.
#[derive(Debug)]
pub(crate) enum Taken {
    /// This one has it.
    By(Arc<Handle>),
    /// Somebody makes or removes what one of this id owns.
    Claimed,
    /// It was told to be gone already: its creation comes late.
    Gone,
    /// Nothing begins any more.
    Closed,
}

impl Table {
    pub(crate) fn get(&self, id: &SandboxId) -> Option<Arc<Handle>> {
        self.lock().by_id.get(id).cloned()
    }

    /// Which of them change, come and go.
    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().by_id.values().cloned().collect()
    }

    /// Puts a sandbox into the table, unless its id is taken. `claim` is what the caller has on the id.
    pub(crate) fn insert(&self, handle: Arc<Handle>, claim: Option<&Claim>) -> Result<(), Taken> {
        self.put(&mut self.lock(), handle, claim)
    }

    /// The same for one that is to be made. Calls overtake each other: one whose destruction came first is not made.
    pub(crate) fn begin(&self, handle: Arc<Handle>) -> Result<(), Taken> {
        let mut sandboxes = self.lock();
        if sandboxes.closed {
            return Err(Taken::Closed);
        }
        if sandboxes.gone.ids.contains(&handle.spec.id) {
            return Err(Taken::Gone);
        }
        self.put(&mut sandboxes, handle, None)
    }

    fn put(
        &self,
        sandboxes: &mut Sandboxes,
        handle: Arc<Handle>,
        claim: Option<&Claim>,
    ) -> Result<(), Taken> {
        let id = &handle.spec.id;
        if let Some(there) = sandboxes.by_id.get(id) {
            return Err(Taken::By(there.clone()));
        }
        // The table is locked meanwhile: whoever claims the id after that finds the sandbox.
        let ours = claim.is_some_and(|claim| claim.id == *id);
        if !ours && self.claims().contains(id) {
            return Err(Taken::Claimed);
        }
        self.news.tell(id);
        sandboxes.by_id.insert(id.clone(), handle);
        Ok(())
    }

    /// From now on nothing begins.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// The sandbox, whose creation is refused from now on, whether there is one or not.
    pub(crate) fn end(&self, id: &SandboxId) -> Option<Arc<Handle>> {
        let mut sandboxes = self.lock();
        sandboxes.gone.add(id);
        sandboxes.by_id.get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &SandboxId) {
        self.lock().by_id.remove(id);
        self.news.tell(id);
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

    /// Makes a sandbox known that was asked for, and for which nothing can be made yet: who lists them sees that it is under way.
    pub(crate) fn expect(self: &Arc<Self>, handle: Arc<Handle>) -> Coming {
        let id = handle.spec.id.clone();
        self.coming().insert(id.clone(), handle);
        self.news.tell(&id);
        Coming {
            table: self.clone(),
            id,
        }
    }

    /// Every sandbox that there is, or is under way, of these ids; of none, all.
    pub(crate) fn told_of(&self, ids: &[SandboxId]) -> Vec<Arc<Handle>> {
        // First those that are coming: who is not any more is in the table by then.
        let coming = self.coming().clone();
        let mut all = self.lock().by_id.clone();
        for (id, handle) in coming {
            all.entry(id).or_insert(handle);
        }
        match ids {
            [] => all.into_values().collect(),
            ids => ids.iter().filter_map(|id| all.get(id).cloned()).collect(),
        }
    }

    fn coming(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Handle>>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a virtual machine known that no sandbox has, and the user that its VMM runs as.
    pub(crate) fn own(self: &Arc<Self>, vm: Option<(VmId, u32)>) -> Unowned {
        let id = vm.as_ref().map(|(id, _)| id.clone());
        self.unowned().extend(vm);
        Unowned {
            table: self.clone(),
            vm: id,
        }
    }

    /// Those that are known. Who gives one to a sandbox has put that into the table before.
    pub(crate) fn unowned(&self) -> MutexGuard<'_, HashMap<VmId, u32>> {
        self.unowned.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Drop for Claim {
    fn drop(&mut self) {
        self.table.claims().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::handle::View;
    use crate::steps::Parts;
    use wrenn_model::{MiB, NetworkPolicy, OnTimeout, SandboxSpec};

    fn handle(id: &SandboxId) -> Arc<Handle> {
        let spec = SandboxSpec {
            id: id.clone(),
            template: "minimal".parse().unwrap(),
            vcpus: 1,
            memory: MiB(128),
            timeout_sec: 1,
            on_timeout: OnTimeout::None,
            auto_resume: false,
            hostname: String::new(),
            metadata: BTreeMap::new(),
            envs: BTreeMap::new(),
            owner_id: String::new(),
            network: NetworkPolicy::default(),
            parent: None,
        };
        let view = View::of_one_to_come(&spec);
        Handle::new(spec, 0, view, Parts::default()).0
    }

    #[test]
    fn an_id_is_one_sandboxes_or_whoever_claimed_its() {
        let table = Arc::new(Table::default());
        let id = SandboxId::random();
        let claim = table.claim(&id).unwrap();
        assert!(table.claim(&id).is_none());
        let refused = table.insert(handle(&id), None).unwrap_err();
        assert!(matches!(refused, Taken::Claimed));
        table.insert(handle(&id), Some(&claim)).unwrap();
        drop(claim);
        let refused = table.insert(handle(&id), None).unwrap_err();
        assert!(matches!(refused, Taken::By(there) if there.spec.id == id));
        assert!(table.claim(&id).is_none());
        table.remove(&id);
        table.insert(handle(&id), None).unwrap();
    }

    #[test]
    fn one_that_is_to_go_gets_no_other_machine() {
        let handle = handle(&SandboxId::random());
        assert!(!handle.shared.renew_parts().cancel.is_cancelled());
        handle.shared.doomed.cancel();
        let parts = handle.shared.renew_parts();
        assert!(parts.cancel.is_cancelled() && parts.doomed.is_cancelled());
    }

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
