//! Every sandbox of this host by id. Looking one up, adding and removing one are O(1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::{ErrorKind, Fault, MiB, SandboxId, SandboxSpec};
use wrenn_network::SlotIndexes;

use crate::handle::Handle;

/// What a guest costs beside its own memory: the emulator and its translation buffer.
const OVERHEAD: MiB = MiB(160);

#[derive(Debug)]
pub(crate) struct Table {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    sandboxes: HashMap<SandboxId, Arc<Handle>>,
    slots: SlotIndexes,
    /// Memory promised to guests, in MiB.
    promised: u64,
    /// Memory that may be promised, in MiB.
    memory: u64,
    /// Nobody gets a place any more.
    closed: bool,
}

/// Memory and a slot, taken for a virtual machine. Dropping it gives both back.
#[derive(Debug)]
pub(crate) struct Place {
    table: Arc<Table>,
    memory: u64,
    pub(crate) slot_index: u16,
}

impl Table {
    pub(crate) fn new(memory_mib: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                sandboxes: HashMap::new(),
                slots: SlotIndexes::new([]),
                promised: 0,
                memory: memory_mib,
                closed: false,
            }),
        }
    }

    pub(crate) fn get(&self, id: &SandboxId) -> Option<Arc<Handle>> {
        self.lock().sandboxes.get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().sandboxes.values().cloned().collect()
    }

    /// Takes memory and a slot for a virtual machine to come.
    pub(crate) fn admit(self: &Arc<Self>, spec: &SandboxSpec) -> Result<Place, Fault> {
        let mut inner = self.lock();
        let memory = cost(spec);
        if inner.closed {
            return Err(Fault::new(
                ErrorKind::Unavailable,
                "the host agent is being taken down",
                "start Wrenn again: what is paused is there then",
            ));
        }
        if inner.promised + memory > inner.memory {
            return Err(Fault::new(
                ErrorKind::HostFull,
                format!(
                    "the host has no memory left for this sandbox: {} of {} MiB are promised",
                    inner.promised, inner.memory
                ),
                "pause or destroy sandboxes, ask for less memory, or try again later",
            ));
        }
        let slot_index = inner.slots.allocate().ok_or_else(|| {
            Fault::new(
                ErrorKind::HostFull,
                "every network slot of the host is in use",
                "pause or destroy sandboxes",
            )
        })?;
        inner.promised += memory;
        Ok(Place {
            table: self.clone(),
            memory,
            slot_index,
        })
    }

    /// From now on nobody gets a place, or (with `false`) everybody again.
    pub(crate) fn close(&self, closed: bool) {
        self.lock().closed = closed;
    }

    /// Begins anew with these slots in use. Before anything else happens.
    pub(crate) fn occupy(&self, slots: impl IntoIterator<Item = u16>) {
        self.lock().slots = SlotIndexes::new(slots);
    }

    /// The place of a virtual machine that has its slot already.
    pub(crate) fn reclaim(self: &Arc<Self>, spec: &SandboxSpec, slot_index: u16) -> Place {
        let memory = cost(spec);
        self.lock().promised += memory;
        Place {
            table: self.clone(),
            memory,
            slot_index,
        }
    }

    /// Puts a sandbox into the table. The one that already has its id is the answer if there is one.
    pub(crate) fn insert(&self, handle: Arc<Handle>) -> Result<(), Arc<Handle>> {
        let mut inner = self.lock();
        if let Some(there) = inner.sandboxes.get(&handle.spec.id) {
            return Err(there.clone());
        }
        inner.sandboxes.insert(handle.spec.id.clone(), handle);
        Ok(())
    }

    pub(crate) fn remove(&self, id: &SandboxId) {
        self.lock().sandboxes.remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        inner.slots.release(self.slot_index);
        inner.promised -= self.memory;
    }
}

fn cost(spec: &SandboxSpec) -> u64 {
    u64::from(spec.memory.0) + u64::from(OVERHEAD.0)
}
