//! The REST API's words: what a request may say, what an answer says, and which status each kind of error has.
//!
//! Types for servers and clients alike; nothing here opens a socket. Requests refuse fields that they don't know and
//! check themselves ([`CreateSandbox::check`] and its like) against the bounds in [`limits`].

mod check;
mod error;
mod event;
mod exec;
mod file;
mod fork;
mod health;
mod host;
mod key;
pub mod limits;
mod metrics;
mod network;
mod pause;
mod pool;
mod sandbox;
mod snapshot;
mod stream;
mod team;
mod template;
mod text;
mod time;
mod whole;

pub use check::{absolute_path, user_name};
pub use error::{ErrorBody, ErrorInfo, http_status};
pub use event::{AuditEntry, Event};
pub use exec::{Encoding, ExecRequest, ExecResponse};
pub use file::{ReadFileRequest, WriteFileForm};
pub use fork::{AskedFork, ForkResult, ForkSandbox, Forked};
pub use health::{AgentHealth, Health};
pub use host::{Invitation, InviteHost, JoinHost, JoinedHost};
pub use key::{AskedKey, CreateKey, CreatedKey, Key, KeyScope};
pub use metrics::{MachineMetrics, SandboxMetrics};
pub use network::Network;
pub use pause::{Paused, ResumeRequest, Resumed, Timing, millis};
pub use pool::{AskedPool, Drained, Pool, Pools, WarmPool};
pub use sandbox::{Asked, CreateSandbox, Sandbox};
pub use snapshot::{AskedSnapshot, CreateSnapshot, Snapshot};
pub use stream::{ClientMessage, PtySize, ServerMessage, StartCommand};
pub use team::{AskedLimits, Team, TeamLimits};
pub use template::{Template, TemplateType};
pub use time::Timestamp;
