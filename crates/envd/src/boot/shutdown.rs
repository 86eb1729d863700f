//! The orderly end of a guest: processes ended, file system at rest, power off.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::console;

/// How long processes have between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How often it is looked whether any is left.
const POLL: Duration = Duration::from_millis(5);

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    PowerOff,
    Reboot,
}

/// The signals by which a guest's programs and its host ask PID 1 for the end.
#[derive(Debug)]
pub(super) struct Signals {
    power_off: Vec<Stream>,
    reboot: Vec<Stream>,
}

impl Signals {
    /// Listens from now on: TERM, INT and PWR; USR1 and USR2, which `halt` and `poweroff` of BusyBox send; and RTMIN+3 to
    /// RTMIN+5 (halt, power off, reboot), by which systemd's tools ask. A halted machine would be of no use to anybody: it
    /// is powered off.
    pub(super) fn new() -> io::Result<Self> {
        let listen = |number| signal(SignalKind::from_raw(number));
        let realtime = libc::SIGRTMIN();
        let power_off = [
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGPWR,
            libc::SIGUSR1,
            libc::SIGUSR2,
            realtime + 3,
            realtime + 4,
        ];
        Ok(Self {
            power_off: power_off
                .into_iter()
                .map(listen)
                .collect::<io::Result<_>>()?,
            reboot: vec![listen(realtime + 5)?],
        })
    }

    /// Resolves when one has come.
    pub(super) async fn asked(&mut self) -> End {
        tokio::select! {
            () = any(&mut self.power_off) => End::PowerOff,
            () = any(&mut self.reboot) => End::Reboot,
        }
    }
}

async fn any(streams: &mut [Stream]) {
    let waits = streams.iter_mut().map(|stream| Box::pin(stream.recv()));
    futures::future::select_all(waits).await;
}

/// Ends every process and then the machine. Comes back only with the error that kept it from ending.
pub(super) fn end(how: End) -> io::Error {
    console::log(format_args!("shutting down"));
    end_processes();
    rustix::fs::sync();
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    if let Err(error) = mount(None::<&str>, "/", None::<&str>, read_only, None::<&str>) {
        console::log(format_args!("the root stays writable: {error}"));
        rustix::fs::sync();
    }
    let mode = match how {
        End::PowerOff => RebootMode::RB_POWER_OFF,
        End::Reboot => RebootMode::RB_AUTOBOOT,
    };
    match reboot(mode) {
        Err(error) => error.into(),
        Ok(never) => match never {},
    }
}

/// TERM, a short grace, KILL. The reaper collects them meanwhile.
fn end_processes() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // Everyone but this process.
        kill(Pid::from_raw(-1), signal).ok();
        let start = Instant::now();
        while anyone_left() && start.elapsed() < GRACE {
            thread::sleep(POLL);
        }
    }
}

/// Every process descends from PID 1 and becomes its child when its parent ends, so no child means no process.
fn anyone_left() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::All, look).err() != Some(rustix::io::Errno::CHILD)
}
