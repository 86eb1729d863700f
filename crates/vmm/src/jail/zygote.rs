//! The agent's side: a zygote that is started once, and asked for each jail.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::Interest;
use wrenn_sys::process::{self, Process};

use super::{JailSpec, wire};
use crate::Error;

/// From the order to the VMM's own start.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a zygote that is gone is replaced for one order.
const STARTS: u32 = 2;

/// A program to be started in a jail.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The jail.
    pub spec: &'a JailSpec,
    /// What the program finds open, from [`super::FIRST_FD`] up.
    pub fds: &'a [BorrowedFd<'a>],
    /// Its standard output and error.
    pub log: OwnedFd,
}

/// A program that runs in a jail.
#[derive(Debug)]
pub struct Jailed {
    /// Its process, a child of ours.
    pub process: Process,
}

/// A helper of our own that waits to be copied: for a jail nothing is loaded and linked any more, which takes longer than the
/// jail does. It ends with us, and one that has ended is started anew.
#[derive(Debug)]
pub struct Zygote {
    program: PathBuf,
    alive: Mutex<Option<Arc<Alive>>>,
}

/// Its process. Whoever drops it ends it; what runs in jails is not its child.
#[derive(Debug)]
struct Alive {
    /// It keeps messages apart, as no stream does; the runtime waits for it in the same way.
    control: tokio::net::UnixStream,
    process: tokio::process::Child,
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Refused when it has ended already.
        drop(self.process.start_kill());
    }
}

impl Zygote {
    /// One of this program, which is run with the argument `jail` and must call [`super::main`] then. It starts with the first
    /// order, or by [`Zygote::start`].
    #[must_use]
    pub fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            alive: Mutex::default(),
        }
    }

    /// Starts it, so that the first order does not wait for that.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(&self) -> Result<(), Error> {
        self.alive().map(drop)
    }

    /// Starts a program in a jail. On failure no process is left that is not in the jail's cgroups.
    ///
    /// # Errors
    /// [`Error::Jail`] with what failed in it, [`Error::TimedOut`], or what the kernel said here.
    pub async fn launch(&self, launch: Launch<'_>) -> Result<Jailed, Error> {
        match tokio::time::timeout(LIMIT, self.order(launch)).await {
            Ok(result) => result,
            Err(_) => Err(Error::TimedOut {
                what: "making the jail".into(),
                limit: LIMIT,
            }),
        }
    }

    async fn order(&self, launch: Launch<'_>) -> Result<Jailed, Error> {
        let text = describe(&launch).map_err(Error::io("describing the jail"))?;
        let (ours, theirs) = UnixStream::pair().map_err(Error::io("a socket for the jail"))?;
        let own = [theirs.as_fd(), launch.log.as_fd()];
        let mut starts = 0;
        loop {
            let alive = self.alive()?;
            match alive.send(&text, own, launch.fds).await {
                Err(error) if is_gone(&error) && starts < STARTS => {
                    starts += 1;
                    self.forget(&alive);
                }
                sent => break sent.map_err(Error::io("ordering a jail"))?,
            }
        }
        drop((theirs, launch.log));
        let said = wire::listen(ours).await;
        let (pid, failure) =
            wire::parse(&said.map_err(Error::io("listening to the jail's helper"))?)?;
        // Also after a failure: what was our child has to be reaped.
        let process = pid
            .map(Process::open)
            .transpose()
            .map_err(Error::io("watching the VMM"))?
            .flatten();
        match (process, failure) {
            (_, Some(failure)) => Err(Error::Jail(failure)),
            (Some(process), None) => Ok(Jailed { process }),
            (None, None) => Err(Error::Jail("its helper said nothing".into())),
        }
    }

    /// The one that is there, or a new one.
    fn alive(&self) -> Result<Arc<Alive>, Error> {
        let mut slot = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alive) = &*slot {
            return Ok(Arc::clone(alive));
        }
        let alive = Alive::start(&self.program)
            .map_err(Error::io(format!("running {}", self.program.display())))?;
        Ok(Arc::clone(slot.insert(Arc::new(alive))))
    }

    /// Unless another order has replaced it already.
    fn forget(&self, gone: &Arc<Alive>) {
        let mut slot = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|alive| Arc::ptr_eq(alive, gone)) {
            *slot = None;
        }
    }
}

impl Alive {
    fn start(program: &Path) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let log = rustix::stdio::stderr().try_clone_to_owned()?;
        let process = process::spawn_helper(program, "jail", theirs, log)?;
        Ok(Self {
            control: tokio::net::UnixStream::from_std(UnixStream::from(ours))?,
            process,
        })
    }

    async fn send(
        &self,
        text: &[u8],
        own: [BorrowedFd<'_>; 2],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let sending = || wire::send(self.control.as_fd(), text, own, fds);
        self.control.async_io(Interest::WRITABLE, sending).await
    }
}

fn describe(launch: &Launch<'_>) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(launch.spec)?;
    if text.len() > wire::LONGEST || launch.fds.len() > wire::MOST_FDS {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(text)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
    )
}
