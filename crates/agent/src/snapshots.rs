//! Snapshots: what a sandbox was at one instant, under a name, for others to be made from.

use std::time::Duration;

use wrenn_model::lifecycle::Copying;
use wrenn_model::{ErrorKind, Fault, TemplateName};
use wrenn_snapshot::Generation;

use crate::Agent;
use crate::failure::{Failed, internal};
use crate::library::{Claimed, begin, settle};
use crate::steps::Timings;

/// A snapshot as it is listed.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    pub(crate) generation: Generation,
    pub(crate) bytes: u64,
}

/// One that was just made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) snapshot: Snapshot,
    pub(crate) timings: Timings,
    pub(crate) frozen: Duration,
}

impl Agent {
    /// Makes a snapshot of a sandbox, which goes on as it was.
    pub(crate) async fn snapshot(
        &self,
        id: &str,
        name: TemplateName,
        overwrite: bool,
    ) -> Result<Made, Fault> {
        let handle = self.find(id)?;
        let claimed = self
            .free_name(&name, &handle.spec.owner_id, overwrite)
            .await?;
        let (claimed, into) = begin(claimed).await?;
        let copied = handle.copy(Copying::Snapshot, into).await;
        settle(
            claimed,
            copied.as_ref().ok().map(|copied| copied.generation.id()),
        )
        .await;
        let copied = copied?;
        Ok(Made {
            snapshot: told(name.to_string(), copied.generation).map_err(Failed::fault)?,
            timings: copied.report.timings,
            frozen: copied.report.frozen,
        })
    }

    /// Claims a name for a snapshot of this owner.
    async fn free_name(
        &self,
        name: &TemplateName,
        owner: &str,
        overwrite: bool,
    ) -> Result<Claimed, Fault> {
        let taken = |remedy| {
            let message = format!("there is a template {:?} already", name.as_str());
            Err(Fault::new(ErrorKind::AlreadyExists, message, remedy))
        };
        let other_name = "choose another name";
        match self.host.base_template(name).await {
            Ok(_) => return taken(other_name),
            Err(fault) if fault.kind == ErrorKind::NotFound => {}
            Err(fault) => return Err(fault),
        }
        let claimed = self.host.snapshots.claim(name.as_str());
        let claimed = claimed.ok_or_else(|| being_made(name))?;
        match self.find_snapshot(name.as_str()).await? {
            Some(there) if there.manifest().spec.owner_id != owner => taken(other_name),
            Some(_) if !overwrite => taken("choose another name, or overwrite it"),
            _ => Ok(claimed),
        }
    }

    /// What stands under a name.
    pub(crate) async fn find_snapshot(&self, name: &str) -> Result<Option<Generation>, Fault> {
        let (library, name) = (self.host.snapshots.clone(), name.to_owned());
        let found = tokio::task::spawn_blocking(move || library.get(&name));
        let found = found.await.map_err(internal)?;
        found.map_err(|error| Failed::from(error).fault())
    }

    /// The same as a list, in which there is none where there is none.
    pub(crate) async fn snapshot_of(&self, name: &TemplateName) -> Result<Vec<Snapshot>, Fault> {
        let found = self.find_snapshot(name.as_str()).await?;
        let found = found.map(|generation| told(name.to_string(), generation));
        found
            .map(|told| told.map_err(Failed::fault))
            .into_iter()
            .collect()
    }

    /// All of them.
    pub(crate) async fn snapshots(&self) -> Result<Vec<Snapshot>, Fault> {
        let library = self.host.snapshots.clone();
        let listed = tokio::task::spawn_blocking(move || -> Result<_, Failed> {
            let mut snapshots = Vec::new();
            for name in library.names()? {
                match library.get(&name) {
                    Ok(Some(generation)) => snapshots.extend(told(name, generation).ok()),
                    // It is being made, or goes this moment.
                    Ok(None) | Err(wrenn_snapshot::Error::Removed(_)) => {}
                    Err(error) => {
                        tracing::error!(
                            name,
                            error = wrenn_model::chain(&error),
                            "a snapshot cannot be read"
                        );
                    }
                }
            }
            Ok(snapshots)
        });
        listed.await.map_err(internal)?.map_err(Failed::fault)
    }

    /// Removes a snapshot's name; `false` where there is none, or none of this owner's, unless that is empty. Sandboxes made from
    /// it have links of their own.
    pub(crate) async fn delete_snapshot(&self, name: &str, owner: &str) -> Result<bool, Fault> {
        let Ok(name) = name.parse::<TemplateName>() else {
            return Ok(false);
        };
        let claimed = self.host.snapshots.claim(name.as_str());
        let claimed = claimed.ok_or_else(|| being_made(&name))?;
        let (library, owner) = (self.host.snapshots.clone(), owner.to_owned());
        let removed = tokio::task::spawn_blocking(move || -> Result<bool, Failed> {
            let there = library.get(name.as_str());
            if let Ok(Some(there)) = &there
                && !owner.is_empty()
                && there.manifest().spec.owner_id != owner
            {
                return Ok(false);
            }
            claimed.remove()?;
            // One that cannot be read was there, too.
            Ok(!matches!(there, Ok(None)))
        });
        removed.await.map_err(internal)?.map_err(Failed::fault)
    }
}

fn told(name: String, generation: Generation) -> Result<Snapshot, Failed> {
    let bytes = generation.allocated()?;
    Ok(Snapshot {
        name,
        generation,
        bytes,
    })
}

fn being_made(name: &TemplateName) -> Fault {
    Fault::new(
        ErrorKind::Conflict,
        format!("snapshot {:?} is being made or removed", name.as_str()),
        "try again in a moment",
    )
}
