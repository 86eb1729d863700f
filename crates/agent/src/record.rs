//! What the journal keeps of a sandbox: all that it owns, named before any of it exists.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wrenn_disk::Layer;
use wrenn_model::lifecycle::State;
use wrenn_model::{Platform, SandboxSpec, VmId};
use wrenn_network::SlotPlan;
use wrenn_snapshot::{GenerationId, Generations};
use wrenn_vmm::Identity;

use crate::time::now_ms;

/// The version of this record's JSON. It counts what an agent must not overlook: 3 has the egress policy, 4 what a sandbox was
/// restored from that is not its own.
pub(crate) const VERSION: u32 = 4;
/// The oldest version that is read. 2 had no egress policy, and its sandboxes have the default one; 3 had no seeds; 1 was never
/// released.
const OLDEST: u32 = 2;

/// Why a record is left alone, with all that it speaks of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It was written by another release.
    #[error(
        "it is of version {0}, and this agent reads {OLDEST} to {VERSION}: run the agent that wrote it"
    )]
    Version(u64),
    /// It is not what its version says.
    #[error("it is no record")]
    Invalid(#[source] serde_json::Error),
}

/// One sandbox, durable.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) spec: SandboxSpec,
    pub(crate) state: State,
    /// Milliseconds since the epoch.
    pub(crate) created_ms: i64,
    /// Milliseconds since the epoch, once it runs.
    pub(crate) started_ms: Option<i64>,
    pub(crate) home: Home,
    /// What its first virtual machine is restored from, until it has a generation of its own.
    #[serde(default)]
    pub(crate) seed: Option<Seed>,
    /// What its virtual machine owns; a paused sandbox has none.
    pub(crate) vm: Option<Vm>,
    /// Its newest generation.
    pub(crate) pause: Option<Pause>,
    /// Milliseconds since the epoch: what happened after this was lost when it went back to its pause.
    pub(crate) lost_since_ms: Option<i64>,
}

impl Record {
    /// One of a sandbox that has nothing yet, and names all that it will own.
    pub(crate) fn new(spec: SandboxSpec, home: Home, seed: Option<Seed>, vm: Option<Vm>) -> Self {
        Self {
            version: VERSION,
            state: State::Pending,
            created_ms: now_ms(),
            started_ms: None,
            seed,
            vm,
            pause: None,
            lost_since_ms: None,
            home,
            spec,
        }
    }

    /// Its spec as far as it is the business of others that go on from what it was: without variables and labels.
    pub(crate) fn spec_for_others(&self) -> SandboxSpec {
        SandboxSpec {
            envs: Default::default(),
            metadata: Default::default(),
            ..self.spec.clone()
        }
    }

    /// The generations that its virtual machine's origin is one of.
    pub(crate) fn generations(&self, origin: &Origin) -> Generations {
        match origin {
            Origin::Seed | Origin::SeedDisk => Generations::of(&self.home.seed()),
            Origin::Template | Origin::Disk(_) | Origin::Generation(_) => {
                Generations::of(&self.home.folder)
            }
        }
    }

    /// The generation that a virtual machine of this origin has its disk from.
    pub(crate) fn generation_of(&self, origin: &Origin) -> Option<GenerationId> {
        match origin {
            Origin::Template => None,
            Origin::Disk(id) | Origin::Generation(id) => Some(*id),
            Origin::Seed | Origin::SeedDisk => self.seed.as_ref().map(|seed| seed.generation),
        }
    }

    /// What the guest that its virtual machine was restored with lets its host in by; none after a boot, and where nobody has
    /// introduced itself to it yet.
    pub(crate) fn known_init_key(&self, origin: &Origin) -> Option<&str> {
        let keys = match origin {
            Origin::Generation(_) => self.pause.as_ref().map(|pause| &pause.keys),
            Origin::Seed => self.seed.as_ref().and_then(|seed| seed.keys.as_ref()),
            Origin::Template | Origin::Disk(_) | Origin::SeedDisk => None,
        };
        keys.map(|keys| keys.init_key.as_str())
    }

    /// A record out of the journal, of any version that is read; from its next change on it is of this one.
    pub(crate) fn read(value: &serde_json::Value) -> Result<Self, Unreadable> {
        let known = u64::from(OLDEST)..=u64::from(VERSION);
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if !known.contains(&version) => Err(Unreadable::Version(version)),
            _ => {
                let record = Self::deserialize(value).map_err(Unreadable::Invalid)?;
                Ok(Self {
                    version: VERSION,
                    ..record
                })
            }
        }
    }
}

/// What a sandbox has with or without a virtual machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Home {
    /// Its folder in the store; everything of it in files is below.
    pub(crate) folder: PathBuf,
    /// The template's image, to be linked into the folder; the link is `base`.
    pub(crate) template_image: PathBuf,
    pub(crate) base: PathBuf,
    /// The size of its disk, in bytes.
    pub(crate) virtual_size: u64,
}

impl Home {
    /// That of a sandbox with this folder, over a template's image and with a disk of so many bytes.
    pub(crate) fn in_folder(folder: PathBuf, template_image: PathBuf, virtual_size: u64) -> Self {
        Self {
            base: folder.join("base.ext4"),
            folder,
            template_image,
            virtual_size,
        }
    }

    /// Where the generation stands that it was begun from, if it was from one.
    pub(crate) fn seed(&self) -> PathBuf {
        self.folder.join(SEED)
    }
}

/// The folder of what a sandbox was begun from, in its own.
pub(crate) const SEED: &str = "seed";

/// A generation that is not a sandbox's own, and that it is begun from: a snapshot, a boot image, its parent at one instant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seed {
    /// The folder of the generations that it is one of. It is linked into the sandbox's own; what becomes of the name here is no
    /// matter then.
    pub(crate) from: PathBuf,
    pub(crate) generation: GenerationId,
    /// What the guest in it knows its host by; none where nobody has introduced itself to it.
    pub(crate) keys: Option<Keys>,
}

/// Everything that a virtual machine owns on this host. It is enough to unmake each of them, whoever made it and however
/// far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Vm {
    pub(crate) id: VmId,
    pub(crate) origin: Origin,
    pub(crate) slot: SlotPlan,
    /// The VMM's own user id.
    pub(crate) uid: u32,
    /// Its own folder: disk layer, sockets, jail, logs.
    pub(crate) folder: PathBuf,
    pub(crate) layer: Layer,
    pub(crate) keys: Keys,
    /// What it runs on, once it runs.
    pub(crate) platform: Option<Platform>,
    /// The VMM's process, once it runs.
    pub(crate) machine: Option<Identity>,
}

impl Vm {
    /// What keeps the VMM build on this host that it runs on.
    pub(crate) fn build_link(&self) -> PathBuf {
        self.folder.join("build")
    }
}

/// What a virtual machine was started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Booted from an empty layer over the template.
    Template,
    /// Booted from a generation's disk.
    Disk(GenerationId),
    /// Restored from a generation, disk and memory.
    Generation(GenerationId),
    /// Restored from what its sandbox was begun from, disk and memory.
    Seed,
    /// Booted from the disk of that.
    SeedDisk,
}

impl Origin {
    /// Whether it went on from a memory, rather than by a boot.
    pub(crate) fn is_restored(&self) -> bool {
        matches!(self, Self::Generation(_) | Self::Seed)
    }

    /// Whether it is the first virtual machine that its sandbox has: its guest is given what makes it that sandbox.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self, Self::Template | Self::Seed | Self::SeedDisk)
    }
}

/// A sandbox's newest generation, and what its guest will want to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    pub(crate) generation: GenerationId,
    /// The keys that the guest in it knows.
    pub(crate) keys: Keys,
    /// Milliseconds since the epoch.
    pub(crate) at_ms: i64,
}

/// What proves to the guest agent that a call comes from here. They never leave the host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keys {
    /// The token of every call.
    pub(crate) token: String,
    /// What the next `/init` has to show, once the last one was taken.
    pub(crate) init_key: String,
}

impl Keys {
    /// Those of a guest that nobody knows the keys of any more: it can be booted anew from its disk.
    pub(crate) fn lost() -> Self {
        Self {
            token: String::new(),
            init_key: String::new(),
        }
    }

    pub(crate) fn are_lost(&self) -> bool {
        self.init_key.is_empty()
    }

    /// As they lie beside a generation.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn random() -> Self {
        Self {
            token: secret(),
            init_key: secret(),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// 256 random bits in hex.
fn secret() -> String {
    entropy().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 random bytes.
pub(crate) fn entropy() -> [u8; 32] {
    let mut bytes = [0; 32];
    #[expect(clippy::expect_used, reason = "without entropy nothing may go on")]
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use wrenn_model::NetworkPolicy;

    /// A log of the release before there was an egress policy: a sandbox that runs and one that is paused.
    const JOURNAL_2: &[u8] = include_bytes!("../testdata/journal-2");

    #[tokio::test]
    async fn the_journal_of_a_former_release_is_read_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (path, sandboxes) = (dir.path().join("journal"), dir.path().join("sandboxes"));
        std::fs::write(&path, JOURNAL_2).unwrap();
        let (journal, replay) = Journal::open(&path, &sandboxes).unwrap();
        assert_eq!((replay.records.len(), replay.damaged), (2, 0));
        for (id, value) in &replay.records {
            assert_eq!(value["version"], 2);
            let record = Record::read(value).unwrap();
            assert_eq!(
                (record.spec.id.as_str(), record.version),
                (id.as_str(), VERSION)
            );
            assert_eq!(record.spec.network, NetworkPolicy::default());
            match record.state {
                State::Running { .. } => assert!(record.vm.as_ref().unwrap().machine.is_some()),
                State::Paused => assert!(record.pause.is_some() && record.vm.is_none()),
                ref other => panic!("{other:?}"),
            }
            journal.put(id, &record).await.unwrap();
        }
        drop(journal);
        let (_journal, replay) = Journal::open(&path, &sandboxes).unwrap();
        for value in replay.records.values() {
            assert_eq!(value["version"], VERSION);
            assert!(Record::read(value).is_ok());
        }
    }

    #[test]
    fn records_of_other_releases_are_left_alone() {
        let read = |value: serde_json::Value| Record::read(&value).unwrap_err();
        for version in [0, 1, u64::from(VERSION) + 1, u64::MAX] {
            // Whatever else it has.
            let refused = read(serde_json::json!({ "version": version, "new": true }));
            assert!(matches!(refused, Unreadable::Version(told) if told == version));
        }
        for invalid in [
            serde_json::json!({ "version": VERSION }),
            serde_json::json!([]),
        ] {
            assert!(matches!(read(invalid), Unreadable::Invalid(_)));
        }
    }
}
