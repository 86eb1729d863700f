//! What the journal keeps of a sandbox: all that it owns, named before any of it exists.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wrenn_disk::Layer;
use wrenn_model::lifecycle::State;
use wrenn_model::{SandboxSpec, VmId};
use wrenn_network::SlotPlan;
use wrenn_vmm::Identity;

/// The version of this record's JSON. An agent that meets a later one leaves the sandbox alone and says so.
pub(crate) const VERSION: u32 = 1;

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
    pub(crate) resources: Resources,
    /// The VMM's process, once it runs.
    pub(crate) machine: Option<Identity>,
    pub(crate) keys: Keys,
}

/// Everything that a sandbox owns on this host. It is enough to unmake each of them, whoever made it and however far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Resources {
    pub(crate) vm: VmId,
    /// Which of the instance's slots; its addresses and its uid follow from it.
    pub(crate) slot_index: u16,
    pub(crate) slot: SlotPlan,
    /// The VMM's own user id.
    pub(crate) uid: u32,
    /// The sandbox's folder in the store; everything of it in files is below.
    pub(crate) folder: PathBuf,
    /// The template's image, to be linked into the folder.
    pub(crate) template_image: PathBuf,
    pub(crate) layer: Layer,
}

impl Resources {
    /// The VM's own folder: sockets, jail, logs.
    pub(crate) fn vm_folder(&self) -> PathBuf {
        self.folder.join(self.vm.as_str())
    }
}

/// What proves to the guest agent that a call comes from here. They never leave the host.
#[derive(Clone, Serialize, Deserialize)]
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
