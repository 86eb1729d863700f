//! What a sweeper finds: a resource of an instance, whose it is by its label, and how it is taken away. Each crate that
//! makes resources lists its own kinds; whether one of them still has an owner is for the agent to say.

use std::error::Error;
use std::fmt;
use std::pin::Pin;

use crate::SandboxId;

/// The kinds of resources that an instance has in the kernel and on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A process of a virtual machine's user.
    Process,
    /// A virtual machine's control group.
    Cgroup,
    /// Something mounted in a virtual machine's folder.
    JailMount,
    /// A virtual machine's disk, as a device of the host's.
    Device,
    /// A slot's network namespace, or its name alone.
    Namespace,
    /// A slot's interface on the host.
    Link,
    /// The instance's rules on the host.
    Table,
    /// A claim on a range of addresses.
    Route,
    /// A virtual machine's folder.
    VmFolder,
    /// A generation that was begun.
    Generation,
    /// A sandbox's folder.
    SandboxFolder,
    /// A file or folder that was being made.
    Temporary,
    /// The agent's socket.
    Socket,
    /// The store's mount.
    StoreMount,
    /// The store's loop device.
    LoopDevice,
}

impl Kind {
    /// Every kind, in the order in which they are taken away: what holds another comes first.
    pub const ALL: [Self; 15] = [
        Self::Process,
        Self::Cgroup,
        Self::JailMount,
        Self::Device,
        Self::Link,
        Self::Namespace,
        Self::VmFolder,
        Self::Generation,
        Self::SandboxFolder,
        Self::Temporary,
        Self::Socket,
        Self::Table,
        Self::Route,
        Self::StoreMount,
        Self::LoopDevice,
    ];

    /// As `wrenn gc` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Cgroup => "cgroup",
            Self::JailMount => "jail mount",
            Self::Device => "disk device",
            Self::Namespace => "namespace",
            Self::Link => "link",
            Self::Table => "nft table",
            Self::Route => "route",
            Self::VmFolder => "VM folder",
            Self::Generation => "generation",
            Self::SandboxFolder => "sandbox folder",
            Self::Temporary => "temporary file",
            Self::Socket => "socket",
            Self::StoreMount => "store mount",
            Self::LoopDevice => "loop device",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whose a resource is, as its label tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The virtual machine of this id, or of one that begins so where a name has no room for more.
    Vm(String),
    /// The virtual machine whose VMM runs as this user.
    VmUser(u32),
    /// This sandbox.
    Sandbox(SandboxId),
    /// A part of this sandbox: a virtual machine's, if it has that one's name.
    PartOf(SandboxId, String),
    /// The instance as a whole, while it has an agent or virtual machines.
    Instance,
    /// The instance as a whole, while it has sandboxes: what they are lies there and nowhere else.
    Data,
    /// Nobody any more.
    Nobody,
}

/// How a removal ends.
pub type Removed = Result<(), Box<dyn Error + Send + Sync>>;

type Removal = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Removed> + Send>> + Send>;

/// A resource that stands, with the way to take it away.
pub struct Leftover {
    /// What it is.
    pub kind: Kind,
    /// By what it is told from its like, and found by who looks for it.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
    removal: Removal,
}

impl Leftover {
    /// One that `removal` takes away. One that is gone already must be no error to it, and what has taken its name since
    /// must be left alone.
    pub fn new<F>(
        kind: Kind,
        name: impl Into<String>,
        owner: Owner,
        removal: impl FnOnce() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Removed> + Send + 'static,
    {
        Self {
            kind,
            name: name.into(),
            owner,
            removal: Box::new(move || Box::pin(removal())),
        }
    }

    /// Takes it away; returns when it is gone.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn remove(self) -> Removed {
        (self.removal)().await
    }
}

impl fmt::Debug for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leftover")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_listed_once_under_a_name_of_its_own() {
        let kinds: BTreeSet<Kind> = Kind::ALL.into();
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!((kinds.len(), names.len()), (15, 15));
    }
}
