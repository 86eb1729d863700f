//! What a caller asks for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NetworkPolicy, SandboxId, TemplateName};

/// An amount of memory in mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MiB(pub u32);

impl MiB {
    /// The same in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

impl fmt::Display for MiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

/// A sandbox as its creator asked for it, all defaults filled in. But for `network` it does not change over the
/// sandbox's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Minted by the control plane before anything exists.
    pub id: SandboxId,
    /// The base template.
    pub template: TemplateName,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory.
    pub memory: MiB,
    /// Seconds without activity after which `on_timeout` happens.
    pub timeout_sec: u32,
    /// What happens then.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// A call into the paused sandbox resumes it first.
    #[serde(default)]
    pub auto_resume: bool,
    /// The guest's host name.
    pub hostname: String,
    /// The caller's own labels.
    pub metadata: BTreeMap<String, String>,
    /// Variables for every process in the guest.
    pub envs: BTreeMap<String, String>,
    /// Whose it is: the name of the team of the key that it was made with. Empty where nobody said. The agent takes turns by
    /// it; who may do what, the control plane decides.
    pub owner_id: String,
    /// Where its packets may go.
    #[serde(default)]
    pub network: NetworkPolicy,
    /// The sandbox that it is a fork of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SandboxId>,
}

/// What happens to a sandbox that nobody has used for its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// It is destroyed.
    #[default]
    Destroy,
    /// It is paused, and stays so until somebody resumes or destroys it.
    Pause,
    /// Nothing.
    None,
}

impl OnTimeout {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Destroy, Self::Pause, Self::None];

    /// As the REST API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Pause => "pause",
            Self::None => "none",
        }
    }

    /// The choice of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == name)
    }
}

/// What separates the guest from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Hardware virtualisation.
    Kvm,
    /// An emulator's process and the jail around it.
    Emulated,
}

impl Isolation {
    /// As the REST API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Emulated => "emulated",
        }
    }
}

/// Which VMM runs a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VmmKind {
    /// QEMU's microvm machine.
    Qemu,
    /// Firecracker.
    Firecracker,
}

impl VmmKind {
    /// As the REST API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
        }
    }
}
