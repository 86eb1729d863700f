//! Every sandbox of this host by id. Looking one up, adding and removing one are O(1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::{ErrorKind, Fault, MiB, SandboxId, SandboxSpec};
use wrenn_network::SlotIndexes;

use crate::sandbox::Handle;

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
}

/// A place taken for a sandbox to come: its slot index. Given back unless it was filled.
#[derive(Debug)]
pub(crate) struct Place {
    table: Arc<Table>,
    memory: u64,
    slot_index: Option<u16>,
}

impl Table {
    pub(crate) fn new(memory_mib: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                sandboxes: HashMap::new(),
                slots: SlotIndexes::new([]),
                promised: 0,
                memory: memory_mib,
            }),
        }
    }

    pub(crate) fn get(&self, id: &SandboxId) -> Option<Arc<Handle>> {
        self.lock().sandboxes.get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().sandboxes.values().cloned().collect()
    }

    /// Takes memory and a slot for a new sandbox.
    pub(crate) fn admit(self: &Arc<Self>, spec: &SandboxSpec) -> Result<(Place, u16), Fault> {
        let mut inner = self.lock();
        let memory = cost(spec);
        if inner.promised + memory > inner.memory {
            return Err(Fault::new(
                ErrorKind::HostFull,
                format!(
                    "the host has no memory left for this sandbox: {} of {} MiB are promised",
                    inner.promised, inner.memory
                ),
                "destroy sandboxes, ask for less memory, or try again later",
            ));
        }
        let slot_index = inner.slots.allocate().ok_or_else(|| {
            Fault::new(
                ErrorKind::HostFull,
                "every network slot of the host is in use",
                "destroy sandboxes",
            )
        })?;
        inner.promised += memory;
        drop(inner);
        let place = Place {
            table: self.clone(),
            memory,
            slot_index: Some(slot_index),
        };
        Ok((place, slot_index))
    }

    /// Takes back what recovery found: sandboxes that already have their slots.
    pub(crate) fn restore(&self, handles: impl IntoIterator<Item = Arc<Handle>>) {
        let mut inner = self.lock();
        for handle in handles {
            inner.promised += cost(&handle.spec);
            inner.sandboxes.insert(handle.spec.id.clone(), handle);
        }
        inner.slots = SlotIndexes::new(inner.sandboxes.values().map(|handle| handle.slot_index));
    }

    pub(crate) fn remove(&self, id: &SandboxId) {
        let mut inner = self.lock();
        if let Some(handle) = inner.sandboxes.remove(id) {
            inner.slots.release(handle.slot_index);
            inner.promised -= cost(&handle.spec);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Puts the sandbox into its place. The one that already has its id is the answer if there is one.
    pub(crate) fn fill(mut self, handle: Arc<Handle>) -> Result<(), Arc<Handle>> {
        let mut inner = self
            .table
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = inner.sandboxes.get(&handle.spec.id) {
            let there = there.clone();
            drop(inner);
            return Err(there);
        }
        inner.sandboxes.insert(handle.spec.id.clone(), handle);
        self.slot_index = None;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(index) = self.slot_index {
            let mut inner = self.table.lock();
            inner.slots.release(index);
            inner.promised -= self.memory;
        }
    }
}

fn cost(spec: &SandboxSpec) -> u64 {
    u64::from(spec.memory.0) + u64::from(OVERHEAD.0)
}
