//! What should exist, and the way there: services over the store and the host's agent.
//!
//! The agent owns the truth about what exists, the store about what should. Every operation writes its intent into the
//! store before it asks the agent, and its outcome afterwards; the reconciler makes the two meet when
//! something came in between. Nothing here knows HTTP, SQL or virtual machines.

mod agent;
mod audit;
mod caller;
mod derived;
mod events;
mod fault;
mod flight;
mod hosts;
mod keys;
mod limits;
mod once;
mod plane;
mod pools;
mod reconcile;
pub mod request;
mod sandboxes;
mod shape;
mod tail;
mod teams;
mod templates;

pub use agent::{
    AgentAddress, Command, CommandEvent, CommandInput, CommandStream, ExecOutcome, FileStream,
    Input, InvalidAddress, MachineUsage, Upload, Usage, from_agent as agent_fault,
};
pub use audit::{Audit, Call};
pub use caller::{Caller, Need};
pub use derived::{children, snapshot_name};
pub use events::{Events, Follower, Heard};
pub use fault::database_away;
pub use hosts::{Hosts, Invited, OpenError};
pub use keys::{ApiKey, Keys, MadeKey, NewKey};
pub use limits::Limits;
pub use once::{AskedOnce, Calls, InHand, Turn};
pub use plane::{AgentState, ControlPlane};
pub use pools::{Pool, Pools, Ready};
pub use sandboxes::{
    Created, Deleted, Forked, NewFork, NewSandbox, NewSnapshot, Paused, Resumed, Sandboxes,
    Snapshotted, Source, StepTime, Wait,
};
pub use teams::Teams;
pub use templates::{Template, TemplateKind, Templates};
pub use wrenn_pki::{JoinAnswer, JoinRequest};
pub use wrenn_store::{
    AuditEntry, AuditFilter, Cursor, DatabaseUrl, Event, EventKind, Filter, InvalidUrl, Sandbox,
    StoreError, StoredAnswer, StoredKey, Team, TeamLimits, copy as copy_database,
};
