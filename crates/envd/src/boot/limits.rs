//! What all commands together may take, so that something is left for the agent, whatever they do.
//!
//! The agent stays in the root group. There the commands' group counts as one process beside it, however many are in it:
//! a fork bomb leaves the agent half of a processor. And it can't have the last process id, so that the agent can still
//! make a process, and say so when a command may not. A guest's root can undo all this: it is for guests that err, and for
//! those whose commands run as somebody else.

use std::fs;
use std::io;
use std::path::Path;

/// Where the hierarchy is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// How many processes and threads are left to the agent: as many helpers as it has at most, and as many again.
pub(super) const AGENT_TASKS: u64 = 128;

/// Bounds the group of all commands, which is made.
///
/// Errors: this kernel lacks a controller, or refuses. What was set until then holds.
pub(super) fn bound_commands(group: &Path) -> io::Result<()> {
    fs::create_dir_all(group)?;
    fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+cpu +pids")?;
    // Each command counts as one beside the others, too.
    fs::write(group.join("cgroup.subtree_control"), "+cpu")?;
    let tasks = number("kernel/threads-max")?.min(number("kernel/pid_max")?);
    let most = tasks.saturating_sub(AGENT_TASKS).max(1);
    fs::write(group.join("pids.max"), most.to_string())
}

/// A number of /proc/sys.
fn number(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(Path::new("/proc/sys").join(name))?;
    text.trim().parse().map_err(io::Error::other)
}
