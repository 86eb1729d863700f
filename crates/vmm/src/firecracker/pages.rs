//! The process that brings a restored guest's memory: one of us, in a jail of its own and in the VM's cgroup, so that it outlives the
//! agent and ends with the VM. Firecracker connects to its socket and hands over the userfaultfd and where its memory lies.
//!
//! Whoever touches a page waits for it, the VMM's own threads included: when it fails, there is nobody left who could be asked, and
//! the VM has to be ended from outside.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wrenn_sys::cgroup::Cgroup;
use wrenn_sys::process::{self, Exit, Process};

use crate::jail::{FIRST_FD, Inhabitant, JailSpec, Launch, Zygote};
use crate::{Error, Helper, Identity, MemorySource};

/// The jail's mount point, in the VM's folder.
pub(super) const ROOT: &str = "pages-root";
/// Where Firecracker connects, in the VM's folder.
pub(super) const SOCKET: &str = "pages.sock";
/// What it has when all of the memory was brought, in the VM's folder.
pub(super) const DONE: &str = "pages.done";
/// The most that is written into a file, in bytes: what was touched first.
const FILE: u64 = 1 << 20;

/// What is told to the process that [`crate::jail::main`] becomes, which finds its descriptors by these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageOrder {
    /// The listening socket.
    pub listener: i32,
    /// The memory image, to be read.
    pub image: i32,
    /// The table of its sums, to be read.
    pub sums: i32,
    /// What is touched first: to be read, and to be added to.
    pub touched: i32,
    /// To be given a byte when all is there and nobody has to be waited for any more.
    pub done: i32,
}

/// The process.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    pub(super) helper: Helper,
    process: Option<Process>,
}

/// Whether a page server gets on.
#[derive(Debug)]
pub(super) struct Progress {
    read: u64,
    at: Instant,
}

impl Progress {
    pub(super) fn begun() -> Self {
        Self {
            read: 0,
            at: Instant::now(),
        }
    }

    /// How long it has read nothing by now. One that has nothing to read any more ends at once.
    pub(super) fn idle(&mut self, pages: &Pages) -> Duration {
        // One that has ended is judged by that.
        if let Ok(read) = process::bytes_read(pages.helper.pid)
            && read != self.read
        {
            *self = Self {
                read,
                at: Instant::now(),
            };
        }
        self.at.elapsed()
    }
}

/// How it is with the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is still being brought.
    Serving,
    /// All of it is there.
    Done,
    /// What is missing will never come.
    Lost,
}

impl Pages {
    /// Starts it for a VM in this folder. It waits for Firecracker then.
    pub(super) async fn start(
        zygote: &Zygote,
        cgroup: &Cgroup,
        dir: &Path,
        uid: u32,
        memory: &MemorySource,
        log: OwnedFd,
    ) -> Result<Self, Error> {
        let MemorySource::Summed {
            image,
            sums,
            touched,
        } = memory
        else {
            let why = "memory that is brought page by page has sums";
            return Err(Error::Spec(why.into()));
        };
        let opening = |path: &Path| Error::io(format!("opening {}", path.display()));
        let making = |name: &str| Error::io(format!("making {name} in {}", dir.display()));
        std::fs::create_dir(dir.join(ROOT)).map_err(making(ROOT))?;
        let listener = listen(dir, uid).map_err(making(SOCKET))?;
        let image_file = File::open(image).map_err(opening(image))?;
        let sums_file = File::open(sums).map_err(opening(sums))?;
        let touched_file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(touched);
        let touched_file = touched_file.map_err(opening(touched))?;
        let done = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(dir.join(DONE))
            .map_err(making(DONE))?;
        let fds: [BorrowedFd<'_>; 5] = [
            listener.as_fd(),
            image_file.as_fd(),
            sums_file.as_fd(),
            touched_file.as_fd(),
            done.as_fd(),
        ];
        let order = PageOrder {
            listener: FIRST_FD,
            image: FIRST_FD + 1,
            sums: FIRST_FD + 2,
            touched: FIRST_FD + 3,
            done: FIRST_FD + 4,
        };
        let order =
            serde_json::to_string(&order).map_err(|error| Error::io("an order")(error.into()))?;
        let spec = JailSpec {
            cgroup: cgroup.entry(),
            root: dir.join(ROOT),
            mounts: Vec::new(),
            links: Vec::new(),
            devices: Vec::new(),
            uid,
            file_size: FILE,
            inhabitant: Inhabitant::Own { order },
        };
        let launch = Launch {
            spec: &spec,
            fds: &fds,
            log,
        };
        let process = zygote.launch(launch).await?.process;
        let looking = Error::io("looking at the page server");
        let birth = process::birth(process.pid()).map_err(looking)?;
        let lost = || Error::Jail("the page server has ended at once".into());
        Ok(Self {
            helper: Helper {
                pid: process.pid(),
                birth: birth.ok_or_else(lost)?,
            },
            process: Some(process),
        })
    }

    /// Takes up the one of a VM that an earlier agent started; none where it needs none.
    pub(super) fn adopt(identity: &Identity) -> Result<Option<Self>, Error> {
        let Some(helper) = identity.pages.clone() else {
            return Ok(None);
        };
        let looking = || Error::io("looking at the page server");
        // First held, then compared.
        let process = Process::open(helper.pid).map_err(looking())?;
        let same = process::birth(helper.pid).map_err(looking())?.as_ref() == Some(&helper.birth);
        let process = process.filter(|_| same);
        Ok(Some(Self { helper, process }))
    }

    /// Waits for its end, and says whether all was brought.
    pub(super) async fn ended(&self, dir: &Path) -> State {
        match &self.process {
            Some(process) => self.judge(Some(process.ended().await), dir),
            None => self.judge(None, dir),
        }
    }

    /// How it is now.
    pub(super) fn state(&self, dir: &Path) -> State {
        match &self.process {
            Some(process) if process.exit().is_none() => State::Serving,
            Some(process) => self.judge(process.exit(), dir),
            None => self.judge(None, dir),
        }
    }

    fn judge(&self, exit: Option<Exit>, dir: &Path) -> State {
        let done = std::fs::metadata(dir.join(DONE)).is_ok_and(|meta| meta.len() > 0);
        match (done, exit) {
            (true, _) => State::Done,
            // Its peer had gone: what becomes of that is told by itself.
            (false, Some(Exit::Code(0))) => State::Done,
            (false, _) => State::Lost,
        }
    }
}

/// A socket that only the VM's user can connect to, whatever the length of the folder's name.
fn listen(dir: &Path, uid: u32) -> io::Result<UnixListener> {
    let opened = File::open(dir)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    std::os::unix::fs::chown(&path, Some(uid), Some(uid))?;
    Ok(listener)
}
