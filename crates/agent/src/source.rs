//! What a sandbox to come is made of, and the record that names all that it will own.

use std::path::PathBuf;
use std::sync::Arc;

use wrenn_guest_image::Template;
use wrenn_model::{ErrorKind, Fault, SandboxId, SandboxSpec, TemplateName};

use crate::admission::{Asked, Place, Purpose, Waiting};
use crate::failure::internal;
use crate::library::Lent;
use crate::record::{Home, Origin, Record};
use crate::sandbox::{Held, Start};
use crate::spare::{Shape, Spare};
use crate::steps::{CLONE, CREATE, Parts, Plan, TAKE};
use crate::{Agent, Host, images_fault};

/// What one is made of.
#[derive(Debug)]
pub(crate) enum Source {
    /// A boot from a template's disk.
    Template(Template),
    /// A generation that is not its own: its memory and disk, or its disk alone.
    Lent(Box<Lent>, Origin),
    /// A virtual machine that stands ready.
    Ready(Spare, Template),
}

impl Agent {
    /// What a sandbox is made of that a caller asked for. `cold` is one that is to boot.
    pub(crate) async fn source(&self, spec: &SandboxSpec, cold: bool) -> Result<Source, Fault> {
        let template = match self.host.base_template(&spec.template).await {
            Err(fault) if fault.kind == ErrorKind::NotFound => {
                let lent = self.lend_snapshot(spec).await?.ok_or(fault)?;
                let origin = if cold { Origin::SeedDisk } else { Origin::Seed };
                return Ok(Source::Lent(Box::new(lent), origin));
            }
            found => found?,
        };
        if cold {
            return Ok(Source::Template(template));
        }
        let shape = Shape::of(spec);
        let Some(image) = self.boot_image(&shape, &template).await else {
            return Ok(Source::Template(template));
        };
        if let Some(ready) = self.host.pools.take(&shape, &image).await {
            return Ok(Source::Ready(ready, template));
        }
        Ok(match self.host.lend_image(&image).await {
            Some(lent) => Source::Lent(Box::new(lent), Origin::Seed),
            None => Source::Template(template),
        })
    }

    /// The snapshot of this name, if it is the sandbox's owner's.
    async fn lend_snapshot(&self, spec: &SandboxSpec) -> Result<Option<Lent>, Fault> {
        let snapshots = self.host.snapshots.generations(spec.template.as_str());
        let Some(lent) = self.host.lend(snapshots).await? else {
            return Ok(None);
        };
        let of = &lent.generation.manifest().spec;
        if of.owner_id != spec.owner_id {
            return Ok(None);
        }
        if (of.vcpus, of.memory) != (spec.vcpus, spec.memory) {
            let message = format!(
                "snapshot {} has {} vCPUs and {}: it was made anew meanwhile",
                spec.template, of.vcpus, of.memory
            );
            return Err(Fault::new(ErrorKind::Conflict, message, "try again"));
        }
        Ok(Some(lent))
    }

    /// Takes what it needs of the host, and names all that the sandbox will own, before any of it exists.
    pub(crate) async fn plan(
        &self,
        spec: SandboxSpec,
        source: Source,
        asked: Asked,
    ) -> Result<Start, Fault> {
        match source {
            Source::Template(template) => {
                let (place, waiting) = self.place(&spec, asked).await?;
                let home = self.home(&spec.id, template.image, template.virtual_size);
                let vm = self
                    .host
                    .plan_vm(&home, place.slot_index(), Origin::Template);
                let record = Record::new(spec, home, None, Some(vm));
                Ok(start(record, CREATE, place, waiting, None))
            }
            Source::Lent(lent, origin) => {
                let (place, waiting) = self.place(&spec, asked).await?;
                let size = lent.generation.manifest().layer.virtual_size;
                let home = self.home(&spec.id, lent.generation.base(), size);
                let vm = self.host.plan_vm(&home, place.slot_index(), origin);
                let record = Record::new(spec, home, Some(lent.seed()), Some(vm));
                Ok(start(record, CLONE, place, waiting, Some(Held::Lent(lent))))
            }
            Source::Ready(spare, template) => self.take(spec, spare, template),
        }
    }

    fn take(&self, spec: SandboxSpec, spare: Spare, template: Template) -> Result<Start, Fault> {
        let beginning = spare.beginning().zip(spare.id());
        let ((slot, seed), id) =
            beginning.ok_or_else(|| internal("what stood ready is not whole"))?;
        let home = self.home(&spec.id, template.image, template.virtual_size);
        let vm = self.host.name_vm(&home, id, slot, Origin::Seed);
        Ok(Start {
            record: Record::new(spec, home, Some(seed), Some(vm)),
            plan: TAKE,
            place: None,
            waiting: None,
            held: Some(Held::Ready(spare)),
            parts: Parts::default(),
        })
    }

    async fn place(&self, spec: &SandboxSpec, asked: Asked) -> Result<(Place, Waiting), Fault> {
        let place = self.host.admit(spec).await?;
        let admission = &self.host.admission;
        let waiting = admission.queue_since(spec, Purpose::Create, asked)?;
        Ok((place, waiting))
    }

    /// That of the sandbox of this id.
    pub(crate) fn home(&self, id: &SandboxId, template_image: PathBuf, virtual_size: u64) -> Home {
        let folder = self.host.sandboxes().join(id.as_str());
        Home::in_folder(folder, template_image, virtual_size)
    }
}

impl Host {
    /// The base template of this name.
    pub(crate) async fn base_template(
        self: &Arc<Self>,
        name: &TemplateName,
    ) -> Result<Template, Fault> {
        let (host, wanted) = (self.clone(), name.clone());
        let found = tokio::task::spawn_blocking(move || host.images.template(&wanted)).await;
        match found {
            Ok(Ok(template)) => Ok(template),
            Ok(Err(wrenn_guest_image::Error::NoTemplate { .. })) => Err(Fault::new(
                ErrorKind::NotFound,
                format!("there is no template {:?}", name.as_str()),
                "list the templates with GET /v1/snapshots, or build it with `wrenn template build`",
            )),
            Ok(Err(error)) => Err(images_fault(&error)),
            Err(error) => Err(internal(error)),
        }
    }
}

fn start(record: Record, plan: Plan, place: Place, waiting: Waiting, held: Option<Held>) -> Start {
    Start {
        record,
        plan,
        place: Some(place),
        waiting: Some(waiting),
        held,
        parts: Parts::default(),
    }
}
