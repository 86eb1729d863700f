//! The jail that a VMM lives in, made by a helper process of our own: the hidden subcommand `wrenn jail`.
//!
//! ```text
//! agent ── spec and descriptors ──► helper: joins the cgroup, leaves the PID namespace, copies itself
//!   ▲                                  │
//!   │ pid, failure or silence          ▼
//!   └──────────────────────────── the copy, PID 1: namespaces, mounts, privileges ──► the VMM
//! ```
//!
//! They talk over one socket, the helper's standard input. The copy is a child of the agent, not of the helper: its
//! number is the agent's to release, so that a pidfd opened by number is the right one. The socket closes when the copy
//! becomes the VMM; until then whatever fails is told through it.

mod filter;
mod inside;
mod wire;

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use wrenn_sys::jail::{Side, close_all_but_stdio, fork_sibling, inherit, take_stdin};
use wrenn_sys::oom;

pub use filter::refusals;
pub use wire::{Jailed, Launch};

/// The first descriptor that the agent hands to the program in the jail; the others follow.
pub const FIRST_FD: i32 = 3;

/// When the host itself runs out of memory: rather a VM than the agent, or than anything else that runs here.
const OOM_SCORE: oom::Score = 500;

/// A program and the little that it may see of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JailSpec {
    /// The `cgroup.procs` files of the groups to join.
    pub cgroup: Vec<PathBuf>,
    /// An empty folder of the host. The jail's root is mounted on it, seen by nobody outside.
    pub root: PathBuf,
    /// What of the host's files is to be seen.
    pub mounts: Vec<Mount>,
    /// Symbolic links.
    pub links: Vec<Link>,
    /// Devices, under `/dev`.
    pub devices: Vec<Device>,
    /// The user and group, not 0.
    pub uid: u32,
    /// The largest file that it may write, in bytes.
    pub file_size: u64,
    /// The program, as a path in the jail.
    pub program: String,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
}

/// A file or folder of the host that is seen in the jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// On the host.
    pub from: PathBuf,
    /// In the jail, without the leading slash.
    pub to: PathBuf,
    /// What may be done with it.
    pub access: Access,
}

/// What may be done with a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reading.
    Read,
    /// Reading, and running what is there.
    Execute,
    /// Reading and writing.
    Write,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// In the jail, without the leading slash.
    pub at: PathBuf,
    /// What it points to, as seen in the jail.
    pub target: PathBuf,
}

/// A device that a jail may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// `/dev/null`.
    Null,
    /// `/dev/urandom`.
    Urandom,
    /// `/dev/kvm`, the jail's own node of it.
    Kvm,
}

/// What the helper tells the agent, a JSON line each. The two sides of the copy write independently.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    /// The copy has this process number, as the agent sees it.
    Pid(i32),
    /// It went wrong.
    Failed(String),
}

/// The body of `wrenn jail`. To be called before anything starts a thread. Returns only when something failed, which
/// the agent has been told then.
pub fn main() -> io::Result<Infallible> {
    close_all_but_stdio()?;
    let socket = take_stdin()?;
    let outcome = prepare(&socket);
    if let Err(error) = &outcome {
        // The agent may be dead; the sweeper of the next one finds us by the cgroup.
        drop(wire::tell(&socket, &Told::Failed(error.to_string())));
    }
    outcome
}

fn prepare(socket: &OwnedFd) -> io::Result<Infallible> {
    let (spec, fds) = wire::receive(socket)?;
    for (fd, expected) in fds.iter().zip(FIRST_FD..) {
        if fd.as_raw_fd() != expected {
            return Err(io::Error::other("a descriptor has the wrong number"));
        }
        inherit(fd.as_fd())?;
    }
    oom::set_score(std::process::id(), OOM_SCORE)?;
    for door in &spec.cgroup {
        join(door).map_err(doing("joining", door))?;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID)?;
    match fork_sibling()? {
        Side::New => inside::enter(&spec),
        Side::Caller(pid) => {
            wire::tell(socket, &Told::Pid(pid))?;
            std::process::exit(0);
        }
    }
}

fn join(door: &Path) -> io::Result<()> {
    // Not fs::write: where the group is gone, no file is to be made.
    File::options().write(true).open(door)?.write_all(b"0")
}

/// Says in an error what was being done, and with what.
fn doing<'a, E: Into<io::Error>>(
    what: &'a str,
    path: &'a Path,
) -> impl FnOnce(E) -> io::Error + 'a {
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
    }
}

/// Tries a call again that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
