//! The words that every part of Wrenn shares: ids, the sandbox spec, the pure state machine of a sandbox, error kinds.
//! No I/O here.

mod access;
mod chain;
mod error;
mod id;
pub mod leftover;
pub mod lifecycle;
mod platform;
mod policy;
mod spec;
mod subnet;
mod terminal;

pub use access::{InvalidScope, Scope, Scopes};
pub use chain::chain;
pub use error::{ErrorKind, Fault};
pub use id::{
    HostId, InstanceId, InvalidName, KeyId, RequestId, SandboxId, TeamName, TemplateName, VmId,
    random_text,
};
pub use leftover::Leftover;
pub use lifecycle::{Status, Transition};
pub use platform::{Mismatch, Platform};
pub use policy::{NetworkPolicy, TooManyRanges};
pub use spec::{Isolation, MiB, OnTimeout, SandboxSpec, VmmKind};
pub use subnet::{InvalidSubnet, Subnet};
pub use terminal::TerminalSize;
