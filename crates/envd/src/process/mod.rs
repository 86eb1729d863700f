//! The commands that run in the guest: made, followed, fed, signalled, collected.

mod cgroup;
mod ended;
mod followers;
mod handle;
mod launch;
mod output;
mod reaper;
mod refusal;
mod rpc;
mod spool;
mod stream;
mod table;
mod terminal;

pub(crate) use cgroup::Groups;
pub(crate) use reaper::{Reaper, block_sigchld};
pub(crate) use rpc::ProcessService;
pub(crate) use table::Processes;
