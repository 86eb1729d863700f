//! What a virtual machine was restored from, when that did not live.

use wrenn_model::ErrorKind;
use wrenn_model::lifecycle::{Event, Reason};
use wrenn_sys::process::FileId;

use super::Sandbox;
use crate::doubts::Doubt;
use crate::failure::StepError;
use crate::record::Origin;
use crate::steps::Step;

impl Sandbox {
    /// Has what its virtual machine was restored from read where that died, as one does whose memory is damaged.
    pub(super) fn doubt_at(&self, event: &Event) {
        if let Event::VmEnded(Reason::VmmEnded(_) | Reason::GuestPanicked) = event {
            self.doubt();
        }
    }

    /// The same where its guest did not come back: neither for want of room, nor since nobody wanted it any more.
    pub(super) fn doubt_after(&self, failed: &StepError) {
        let comes_back = [Step::Machine, Step::Take, Step::Guest].map(Step::name);
        let is_known = matches!(failed.kind, ErrorKind::HostFull | ErrorKind::Conflict);
        if comes_back.contains(&failed.step) && !is_known {
            self.doubt();
        }
    }

    /// Has what its virtual machine was restored from read before its turn.
    fn doubt(&self) {
        let Some(vm) = &self.record.vm else { return };
        let doubt = match vm.origin {
            Origin::Generation(which) => Some(Doubt::Pause {
                sandbox: self.record.spec.id.clone(),
                which,
            }),
            Origin::Seed => self.shared_memory().map(Doubt::Shared),
            Origin::Template | Origin::Disk(_) | Origin::SeedDisk => None,
        };
        if let Some(doubt) = doubt {
            self.host.doubts.raise(doubt);
        }
    }

    /// The memory image that it has from others.
    fn shared_memory(&self) -> Option<FileId> {
        let which = self.record.generation_of(&Origin::Seed)?;
        let memory = self.record.generations(&Origin::Seed).memory(which);
        Some(FileId::from(&memory.metadata().ok()?))
    }
}
