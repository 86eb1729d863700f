//! A damaged journal: what it no longer knows is found again by the names that things have, so that its owner can get rid
//! of it. Nothing is undone or ended on the word of such a journal that could have been somebody's work.
//!
//! A folder without a record is a sandbox in `error`; its virtual machine, which nobody has the keys of any more, is ended,
//! and its disk stays until the sandbox is destroyed, or resumed, cold, from the pause that it may have. A record that says that its sandbox was being started may be an old
//! one: instead of being unmade, what it speaks of becomes the same.

use std::path::{Path, PathBuf};

use wrenn_model::lifecycle::{Reason, State};
use wrenn_model::{MiB, NetworkPolicy, OnTimeout, SandboxId, SandboxSpec, VmId};
use wrenn_snapshot::{Generation, Generations};

use crate::Agent;
use crate::journal::Replay;
use crate::record::{self, Home, Keys, Origin, Pause, Record};
use crate::steps::blocking;
use crate::time::now_ms;
use wrenn_model::chain;

impl Agent {
    /// The records of a damaged journal, made good; what is new is durable.
    pub(crate) async fn salvage(&self, mut records: Vec<Record>, replay: &Replay) -> Vec<Record> {
        let mut changed = Vec::new();
        for record in &mut records {
            if unsettled(&record.state) {
                record.state = State::Error(lost());
                changed.push(record.clone());
            }
        }
        for id in self.folders().await {
            if replay.records.contains_key(id.as_str()) {
                continue;
            }
            if let Some(record) = self.seen_in_folder(&id).await {
                changed.push(record.clone());
                records.push(record);
            }
        }
        for record in changed {
            let id = record.spec.id.as_str();
            tracing::error!(id, "its record is damaged: it is an error from now on");
            if let Err(error) = self.journal.put(id, &record).await {
                tracing::error!(id, error = chain(&error), "that cannot be written down");
            }
        }
        records
    }

    async fn folders(&self) -> Vec<SandboxId> {
        let folder = self.host.sandboxes();
        let listed = blocking(move || {
            Ok(names(&folder)?
                .filter_map(|name| name.parse().ok())
                .collect())
        });
        listed.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the folders of sandboxes cannot be listed");
            Vec::new()
        })
    }

    /// A record of what a sandbox's folder shows.
    async fn seen_in_folder(&self, id: &SandboxId) -> Option<Record> {
        let folder = self.host.sandboxes().join(id.as_str());
        let looked = folder.clone();
        let looked = blocking(move || {
            let vm: Option<VmId> = names(&looked)?.find_map(|name| name.parse().ok());
            let created = std::fs::metadata(&looked)?.modified()?;
            Ok((
                vm,
                created,
                Generations::of(&looked).current().ok().flatten(),
            ))
        });
        let (vm, created, generation) = looked.await.ok()?;
        let saved = generation.as_ref().map(Generation::manifest);
        let virtual_size = saved.map_or(0, |saved| saved.layer.virtual_size);
        let home = Home::in_folder(folder, PathBuf::new(), virtual_size);
        let spec = match saved {
            Some(saved) => SandboxSpec {
                id: id.clone(),
                ..saved.spec.clone()
            },
            None => unknown(id)?,
        };
        // Its disk can be booted from. What its guest would want to see, nobody knows any more.
        let pause = saved.map(|saved| Pause {
            generation: saved.id,
            keys: Keys::lost(),
            at_ms: saved.created_ms,
        });
        let created = created.duration_since(std::time::UNIX_EPOCH).ok();
        let created_ms = created.and_then(|since| i64::try_from(since.as_millis()).ok());
        Some(Record {
            version: record::VERSION,
            state: State::Error(lost()),
            created_ms: created_ms.unwrap_or_else(now_ms),
            started_ms: None,
            seed: None,
            // Its slot is not known, and nothing is found by the address of this one.
            vm: vm.map(|id| self.host.name_vm(&home, id, 0, Origin::Template)),
            pause,
            lost_since_ms: None,
            home,
            spec,
        })
    }
}

/// Whether recovery would undo what such a record speaks of.
fn unsettled(state: &State) -> bool {
    matches!(
        state,
        State::Pending | State::Starting | State::Resuming { .. }
    )
}

fn lost() -> Reason {
    Reason::VmmEnded("its record in the agent's journal is damaged; its disk is kept".to_owned())
}

/// What is known of a sandbox of which nothing is; what its creator asked for stands in the control plane's database.
fn unknown(id: &SandboxId) -> Option<SandboxSpec> {
    Some(SandboxSpec {
        id: id.clone(),
        template: "unknown".parse().ok()?,
        vcpus: 1,
        memory: MiB(0),
        timeout_sec: 0,
        on_timeout: OnTimeout::None,
        auto_resume: false,
        hostname: String::new(),
        metadata: Default::default(),
        envs: Default::default(),
        owner_id: String::new(),
        network: NetworkPolicy::default(),
        parent: None,
    })
}

fn names(folder: &Path) -> std::io::Result<impl Iterator<Item = String>> {
    let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    Ok(entries
        .into_iter()
        .filter_map(|entry| entry.file_name().into_string().ok()))
}
