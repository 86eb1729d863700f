//! What stood ready and fails while it is handed out is no reason to refuse anybody: the sandbox is restored from the boot image
//! that it was a clone of.

use wrenn_model::Fault;
use wrenn_model::lifecycle::State;

use super::{Held, Sandbox, view};
use crate::admission::{Asked, Place, Purpose, Turn};
use crate::failure::{StepError, internal};
use crate::record::{Home, Origin, Record};
use crate::steps::{CLONE, Leave, TAKE, Timings};

impl Sandbox {
    /// Makes it in the other way, if there is one. `None` where the failure stays what came of it.
    pub(super) async fn start_anew(
        &mut self,
        failed: &StepError,
    ) -> Option<Result<Timings, StepError>> {
        if self.plan.stages != TAKE.stages || self.end.shared.parts().cancel.is_cancelled() {
            return None;
        }
        tracing::warn!(%failed, "what stood ready was no use: it is restored from its boot image");
        self.unmake(Leave::Nothing).await;
        match self.plan_anew().await {
            Ok(turn) => {
                let made = self.make(CLONE).await;
                drop(turn);
                Some(made)
            }
            Err(fault) => {
                tracing::warn!(%fault, "it can not be restored either");
                None
            }
        }
    }

    /// Names all that it will own now, in the journal too, before any of it exists; its place is the one that it has.
    async fn plan_anew(&mut self) -> Result<Turn, Fault> {
        let host = self.host.clone();
        let spec = self.record.spec.clone();
        let asked = Asked::at_unix_ms(self.record.created_ms);
        let admission = &host.admission;
        let waiting = admission.queue_since(&spec, Purpose::Create, asked)?;
        let lent = host.lend_image_of(&spec).await?;
        let index = self.place.as_ref().map(Place::slot_index);
        let index = index.ok_or_else(|| internal("it has no place"))?;
        let former = self.end.shared.parts();
        self.end.shared.renew_parts();
        // Whoever gave it up meanwhile gave up this, too.
        if former.cancel.is_cancelled() {
            self.end.shared.parts().cancel.cancel();
        }
        let (turn, waited) = self.turn(waiting).await?;
        self.waited = waited;
        let home = Home::in_folder(
            self.record.home.folder.clone(),
            lent.generation.base(),
            lent.generation.manifest().layer.virtual_size,
        );
        let vm = host.plan_vm(&home, index, Origin::Seed);
        self.record = Record {
            state: State::Starting,
            created_ms: self.record.created_ms,
            ..Record::new(spec, home, Some(lent.seed()), Some(vm))
        };
        self.held = Some(Held::Lent(Box::new(lent)));
        self.take_slot();
        self.end.view.send_modify(|seen| *seen = view(&self.record));
        match self.write_record(&State::Pending).await {
            None => Ok(turn),
            Some(_) => Err(internal("the journal cannot be written")),
        }
    }
}
