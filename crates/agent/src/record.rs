//! What the journal keeps of a sandbox: all that it owns, named before any of it exists.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wrenn_disk::Layer;
use wrenn_model::lifecycle::State;
use wrenn_model::{Platform, SandboxSpec, VmId};
use wrenn_network::SlotPlan;
use wrenn_snapshot::GenerationId;
use wrenn_vmm::Identity;

/// The version of this record's JSON. An agent that meets a later one leaves the sandbox alone and says so.
pub(crate) const VERSION: u32 = 2;

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
    /// What its virtual machine owns; a paused sandbox has none.
    pub(crate) vm: Option<Vm>,
    /// Its newest generation.
    pub(crate) pause: Option<Pause>,
    /// Milliseconds since the epoch: what happened after this was lost when it went back to its pause.
    pub(crate) lost_since_ms: Option<i64>,
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
}

impl Origin {
    /// The generation that its disk layer branched from.
    pub(crate) fn of_disk(&self) -> Option<GenerationId> {
        match self {
            Self::Template => None,
            Self::Disk(id) | Self::Generation(id) => Some(*id),
        }
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
