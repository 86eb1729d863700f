//! What records and tasks speak of.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use wrenn_model::SandboxId;
use wrenn_model::leftover::Owner;
use wrenn_model::lifecycle::State;

use crate::record::Record;
use crate::table::Table;

/// Whether a resource has an owner, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Kept(&'static str),
    Garbage(&'static str),
}

/// Everybody who may own something.
#[derive(Debug, Default)]
pub(crate) struct Known {
    vms: BTreeSet<String>,
    users: HashSet<u32>,
    sandboxes: HashSet<SandboxId>,
    /// Those whose folder holds only what is theirs: the others keep all, until they have come to rest.
    tidy: HashSet<SandboxId>,
    /// Virtual machines that no sandbox had, by their folders. No record ever spoke of one of these.
    spares: HashSet<String>,
    /// An agent is there.
    served: bool,
    /// Whether this is all: a record that cannot be read may speak of anything.
    whole: bool,
}

impl Known {
    /// What an agent's tasks and imports own.
    pub(super) fn of(table: &Arc<Table>, whole: bool) -> Self {
        let mut known = Self {
            // First the claims: who gives one up is in the table by then.
            sandboxes: table.claimed(),
            served: true,
            whole,
            ..Self::default()
        };
        // Before the sandboxes, too: who takes one is in the table by then.
        for (vm, user) in table.unowned().iter() {
            known.vms.insert(vm.as_str().to_owned());
            known.users.insert(*user);
        }
        for handle in table.all() {
            let view = handle.view();
            known.add(&handle.spec.id, &view.state, view.vm);
        }
        known
    }

    /// What the journal of an agent that is dead speaks of.
    pub(super) fn from_records(records: &[Record], whole: bool) -> Self {
        let mut known = Self {
            whole,
            ..Self::default()
        };
        for record in records {
            let vm = record.vm.as_ref().map(|vm| (vm.id.clone(), vm.uid));
            known.add(&record.spec.id, &record.state, vm);
        }
        known
    }

    fn add(&mut self, id: &SandboxId, state: &State, vm: Option<(wrenn_model::VmId, u32)>) {
        self.sandboxes.insert(id.clone());
        // An error keeps the disks of all its virtual machines: one of them may be all there is.
        if matches!(
            state,
            State::Running { .. } | State::Copying(_) | State::Paused
        ) {
            self.tidy.insert(id.clone());
        }
        if let Some((vm, user)) = vm {
            self.vms.insert(vm.as_str().to_owned());
            self.users.insert(user);
        }
    }

    /// The same, which knows those that a former agent had standing ready.
    pub(super) fn with_spares(self, spares: HashSet<String>) -> Self {
        Self { spares, ..self }
    }

    /// Whether this owner is known.
    pub(super) fn judge(&self, owner: &Owner) -> Verdict {
        let taken_up = if self.served {
            "a sandbox has it"
        } else {
            "adoptable: the next start takes its sandbox up"
        };
        let doubt = "not every record of the journal can be read: it may be a sandbox's";
        let owned = |is_known: bool, orphaned| match (is_known, self.whole) {
            (true, _) => Verdict::Kept(taken_up),
            (false, false) => Verdict::Kept(doubt),
            (false, true) => Verdict::Garbage(orphaned),
        };
        match owner {
            Owner::Vm(name) if self.spares.contains(name) && !self.has_vm(name) => {
                Verdict::Garbage("it stood ready, for nobody yet")
            }
            Owner::Vm(name) => owned(self.has_vm(name), "no record knows its virtual machine"),
            Owner::VmUser(user) => owned(
                self.users.contains(user),
                "no virtual machine runs as its user",
            ),
            Owner::Sandbox(id) => owned(self.sandboxes.contains(id), "no record knows its sandbox"),
            Owner::PartOf(id, part) => {
                let resting = self.tidy.contains(id) && !self.vms.contains(part);
                owned(
                    !resting && self.sandboxes.contains(id),
                    "its sandbox has no use for it any more",
                )
            }
            Owner::Instance if self.served => Verdict::Kept("the agent uses it"),
            Owner::Instance => owned(
                !self.vms.is_empty(),
                "there is neither agent nor virtual machine",
            ),
            Owner::Data => owned(
                self.served || !self.sandboxes.is_empty(),
                "there is neither agent nor sandbox",
            ),
            Owner::Nobody => Verdict::Garbage("who made it is gone"),
        }
    }

    /// A VM by its id, or by the beginning of it.
    fn has_vm(&self, name: &str) -> bool {
        let mut at_least = self.vms.range(name.to_owned()..);
        at_least.next().is_some_and(|vm| vm.starts_with(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: &str = "vm-zzzzzzzzzzzz";

    fn known() -> (Known, SandboxId, SandboxId) {
        let mut known = Known {
            whole: true,
            ..Known::default()
        };
        let (runs, failed) = (SandboxId::random(), SandboxId::random());
        let vm = ("vm-0123456789ab".parse().unwrap(), 1000);
        known.add(&runs, &State::Running { stalled: false }, Some(vm));
        let reason = wrenn_model::lifecycle::Reason::OutOfMemory;
        known.add(&failed, &State::Error(reason), None);
        (known, runs, failed)
    }

    fn garbage(known: &Known, owner: &Owner) -> bool {
        matches!(known.judge(owner), Verdict::Garbage(_))
    }

    #[test]
    fn what_somebody_speaks_of_is_kept_and_the_rest_is_not() {
        let (known, runs, failed) = known();
        let vm = |name: &str| Owner::Vm(name.to_owned());
        let part = |id: &SandboxId, vm: &str| Owner::PartOf(id.clone(), vm.to_owned());
        for kept in [
            vm("vm-0123456789ab"),
            vm("vm-01234567"),
            Owner::VmUser(1000),
            Owner::Sandbox(failed.clone()),
            part(&runs, "vm-0123456789ab"),
            part(&failed, GONE),
            Owner::Instance,
            Owner::Data,
        ] {
            assert!(!garbage(&known, &kept), "{kept:?}");
        }
        for gone in [
            vm(GONE),
            vm("vm-01234568"),
            vm("not a VM"),
            Owner::VmUser(1001),
            Owner::Sandbox(SandboxId::random()),
            part(&runs, GONE),
            part(&SandboxId::random(), GONE),
            Owner::Nobody,
        ] {
            assert!(garbage(&known, &gone), "{gone:?}");
        }
    }

    #[test]
    fn in_doubt_what_could_be_a_sandboxs_is_kept() {
        let known = Known {
            whole: false,
            ..known().0
        };
        assert!(!garbage(&known, &Owner::Vm(GONE.to_owned())));
        assert!(!garbage(&known, &Owner::Sandbox(SandboxId::random())));
        assert!(!garbage(&known, &Owner::VmUser(1)));
        assert!(garbage(&known, &Owner::Nobody));
    }

    #[test]
    fn what_the_instance_has_as_a_whole_goes_with_its_last() {
        let served = Known {
            served: true,
            whole: true,
            ..Known::default()
        };
        let nobody = Known {
            whole: true,
            ..Known::default()
        };
        for owner in [Owner::Instance, Owner::Data] {
            assert!(!garbage(&served, &owner), "{owner:?}");
            assert!(garbage(&nobody, &owner), "{owner:?}");
        }
        let mut paused = nobody;
        paused.add(&SandboxId::random(), &State::Paused, None);
        assert!(garbage(&paused, &Owner::Instance));
        assert!(!garbage(&paused, &Owner::Data));
    }
}
