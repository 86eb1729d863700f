//! The jail that a VMM lives in, made by a helper process of our own: the hidden subcommand `wrenn jail`.
//!
//! ```text
//! agent ── orders: spec and descriptors ──► zygote: waits, and copies itself into the VM's cgroup
//!   ▲                                          │
//!   │ pid, failure or silence                  ▼
//!   └──────────── the copy, PID 1 of its namespace: cgroups, namespaces, mounts, privileges ──► the VMM
//! ```
//!
//! Orders come over one socket, the zygote's standard input; each brings the socket for its answer. The copy is a child of
//! the agent, not of the zygote: its number is the agent's to release, so that a pidfd opened by number is the right one.
//! The answer's socket closes when the copy becomes the VMM; until then whatever fails is told through it.

mod filter;
mod inside;
mod wire;
mod zygote;

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use wrenn_sys::cgroup::Entry;
use wrenn_sys::dm::DeviceNumber;
use wrenn_sys::jail::{
    Side, close_all_but_stdio, fork_sibling, hand_over, raise, say_into, take_stdin,
};
use wrenn_sys::oom;

pub use filter::refusals;
use wire::{Order, Told};
pub use zygote::{Jailed, Launch, Zygote};

/// The first descriptor that the agent hands to the program in the jail; the others follow.
pub const FIRST_FD: i32 = 3;

/// When the host itself runs out of memory: rather a VM than the agent, or than anything else that runs here.
const OOM_SCORE: oom::Score = 500;

/// A program and the little that it may see of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JailSpec {
    /// The way into its cgroup.
    pub cgroup: Entry,
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
    /// Who lives in it.
    pub inhabitant: Inhabitant,
}

/// What a jail is made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Inhabitant {
    /// A program.
    Program {
        /// It, as a path in the jail.
        path: String,
        /// Its arguments, without its own name.
        args: Vec<String>,
        /// Its whole environment.
        env: Vec<(String, String)>,
    },
    /// A program of the host that makes the rest of the jail itself, as Firecracker's jailer does: it begins as root in the host's
    /// own tree, sees the jail's root where the host has it, and gives up all that the others never had. That root may be written.
    Jailer {
        /// It, as a path of the host.
        path: PathBuf,
        /// Its arguments, without its own name.
        args: Vec<String>,
        /// What of the jail's root files may take, in bytes.
        room: u64,
    },
    /// Nobody else: the copy of ourselves goes on by itself, with this order for [`main`]'s caller.
    Own {
        /// What it is told to do.
        order: String,
    },
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// `/dev/null`.
    Null,
    /// `/dev/urandom`.
    Urandom,
    /// `/dev/kvm`, the jail's own node of it.
    Kvm,
    /// A block device, the jail's own node of it.
    Disk {
        /// In the jail, without the leading slash.
        at: PathBuf,
        /// Which one.
        number: DeviceNumber,
    },
}

/// What a copy of ourselves does in its jail, with its order; what it was given is open from [`FIRST_FD`] up.
pub type Own<'a> = &'a dyn Fn(&str) -> io::Result<()>;

/// The body of `wrenn jail`, the zygote. To be called before anything starts a thread. In a copy it returns only when
/// something failed, which the agent has been told then; the zygote ends with the agent, and a copy that goes on as one of us
/// with what it was to do.
pub fn main(own: Own<'_>) -> io::Result<Infallible> {
    close_all_but_stdio()?;
    let control = take_stdin()?;
    while let Some(order) = wire::receive(&control)? {
        let told = match copy(&order) {
            Ok(Side::Caller(pid)) => Told::Pid(pid),
            Ok(Side::New) => {
                drop(control);
                return follow(order, own);
            }
            Err(error) => Told::Failed(error.to_string()),
        };
        // Whoever ordered it may have gone; what was begun is found in its cgroups.
        drop(wire::tell(&order.answer, &told));
    }
    std::process::exit(0);
}

fn copy(order: &Order) -> io::Result<Side> {
    let spec = order.spec.as_ref();
    let spec = spec.map_err(|error| io::Error::other(error.to_string()))?;
    let birthplace = spec.cgroup.birthplace.as_deref();
    let group = birthplace
        .map(|dir| File::open(dir).map_err(doing("joining", dir)))
        .transpose()?;
    fork_sibling(group.as_ref().map(AsFd::as_fd))
}

/// The copy becomes what was ordered.
fn follow(order: Order, own: Own<'_>) -> io::Result<Infallible> {
    let Order {
        spec,
        answer,
        log,
        fds,
    } = order;
    // Out of the way of the numbers that the program expects.
    let answer = raise(answer)?;
    let entered = spec.and_then(|spec| prepare(spec, log, fds));
    let order = entered.inspect_err(|error| {
        // The agent may be dead; the sweeper of the next one finds us by the cgroups.
        drop(wire::tell(&answer, &Told::Failed(error.to_string())));
    })?;
    // Nothing can go wrong any more that the agent waits to hear.
    drop(answer);
    own(&order)?;
    std::process::exit(0);
}

/// Returns the order of one of us; whoever else it is has become that.
fn prepare(spec: JailSpec, log: OwnedFd, fds: Vec<OwnedFd>) -> io::Result<String> {
    say_into(log)?;
    hand_over(fds, FIRST_FD)?;
    oom::set_own_score(OOM_SCORE)?;
    for door in &spec.cgroup.tasks {
        join(door).map_err(doing("joining", door))?;
    }
    inside::enter(&spec)?;
    inside::settle(spec.inhabitant)
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
