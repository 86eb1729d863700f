//! Processes of the host, known by more than their number: watched and ended through a pidfd, recognised by birth.
#![allow(unsafe_code, reason = "registering a descriptor with tokio")]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// When a process began. No two processes of a host share a number and a birth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// The host's boot, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Clock ticks from that boot to the start of the process, field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

/// A file, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

impl From<&fs::Metadata> for FileId {
    fn from(file: &fs::Metadata) -> Self {
        Self {
            dev: file.dev(),
            ino: file.ino(),
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was no child of ours, so its status went to another process.
    Unknown,
}

/// The running boot of this host.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// When a process began; `None` when there is none of this number or it has ended.
pub fn birth(pid: i32) -> io::Result<Option<Birth>> {
    let Some(stat) = present(fs::read_to_string(format!("/proc/{pid}/stat")))? else {
        return Ok(None);
    };
    match parse_stat(&stat) {
        Some(('Z' | 'X', _)) => Ok(None),
        Some((_, start_time)) => Ok(Some(Birth {
            boot_id: boot_id()?,
            start_time,
        })),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat")),
    }
}

/// The program that a process runs; `None` when there is no process of this number.
pub fn exe(pid: i32) -> io::Result<Option<FileId>> {
    let meta = present(fs::metadata(format!("/proc/{pid}/exe")))?;
    Ok(meta.as_ref().map(FileId::from))
}

/// How many bytes of a process's memory are its own and nobody's file, resident or swapped out; 0 when there is no process
/// of this number. See proc_pid_status(5).
pub fn private_memory(pid: i32) -> io::Result<u64> {
    let text = present(fs::read_to_string(format!("/proc/{pid}/status")))?.unwrap_or_default();
    Ok(parse_private(&text))
}

fn parse_private(status: &str) -> u64 {
    let own = |line: &str| {
        let (name, value) = line.split_once(':')?;
        matches!(name, "RssAnon" | "VmSwap").then_some(())?;
        value.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    status.lines().filter_map(own).sum::<u64>() << 10
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time of all its threads, in the kernel too. It comes in ticks of 10 ms.
    pub cpu: Duration,
    /// Memory that is resident now, in bytes, files that it maps included.
    pub resident: u64,
}

/// What waits in this machine's memory to be written to files and devices, in bytes: `Dirty` and `Writeback` of proc_meminfo(5).
///
/// # Errors
/// What the kernel said.
pub fn unwritten() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse::<u64>().ok())
    };
    let both = kib("Dirty:").zip(kib("Writeback:"));
    let (dirty, writing) = both.ok_or(io::ErrorKind::InvalidData)?;
    Ok((dirty + writing) * 1024)
}

/// How many bytes a process has read by system calls so far, from wherever. See proc_pid_io(5); wants root.
///
/// # Errors
/// There is no process of this number, or what the kernel said.
pub fn bytes_read(pid: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let read = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.and_then(|read| read.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What a process has used; `None` when there is no process of this number. See proc_pid_stat(5).
pub fn usage(pid: i32) -> io::Result<Option<Usage>> {
    let stat = present(fs::read_to_string(format!("/proc/{pid}/stat")))?;
    Ok(stat.and_then(|stat| parse_usage(&stat)))
}

/// The fields are counted from the state, behind the name's last parenthesis: utime and stime are the 12th and 13th, rss the
/// 22nd of them.
fn parse_usage(stat: &str) -> Option<Usage> {
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let pages: u64 = fields.nth(8)?.parse().ok()?;
    let millis = (user + system) * 1000 / rustix::param::clock_ticks_per_second();
    Some(Usage {
        cpu: Duration::from_millis(millis),
        resident: pages * rustix::param::page_size() as u64,
    })
}

/// The cgroups of a process, one a hierarchy; empty when there is no process of this number.
pub fn cgroups(pid: i32) -> io::Result<Vec<String>> {
    let text = present(fs::read_to_string(format!("/proc/{pid}/cgroup")))?.unwrap_or_default();
    Ok(text
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .map(str::to_owned)
        .collect())
}

/// State and start time out of `/proc/PID/stat`. The name before them may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// `None` for what the kernel answers about a process that is no more.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A process that is being watched. A child of ours is reaped as soon as it ends, also when nobody holds this any more.
#[derive(Debug, Clone)]
pub struct Process {
    pid: i32,
    pidfd: Arc<OwnedFd>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    /// Watches the process that has this number now; `None` when there is none. Wants a tokio runtime.
    ///
    /// A child that nobody else reaps keeps its number until this does, so that there is no race; for any other
    /// process the caller compares [`birth`] after this.
    pub fn open(pid: i32) -> io::Result<Option<Self>> {
        let pidfd = match rustix::process::pidfd_open(pid_of(pid)?, PidfdFlags::NONBLOCK) {
            Err(Errno::SRCH) => return Ok(None),
            other => Arc::new(other?),
        };
        let (tell, exit) = watch::channel(None);
        // SAFETY: The descriptor is owned by what is registered, which never gives out another, and stays open with it.
        let ready = unsafe { AsyncFd::register(Arc::clone(&pidfd)) }?;
        tokio::spawn(async move {
            // An error is the runtime's end: nobody is left to be told.
            if ready.readable().await.is_ok() {
                tell.send_replace(Some(reap(ready.get_ref())));
            }
        });
        Ok(Some(Self { pid, pidfd, exit }))
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// How it ended; `None` while it lives.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Unknown),
            Err(_) => Exit::Unknown,
        }
    }

    /// Ends it. One that has ended already is fine.
    pub fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&*self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn reap(pidfd: &OwnedFd) -> Exit {
    use std::os::fd::AsFd;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        },
        Ok(None) | Err(_) => Exit::Unknown,
    }
}

fn pid_of(pid: i32) -> io::Result<Pid> {
    Pid::from_raw(pid)
        .filter(|pid| pid.as_raw_nonzero().get() > 0)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no process number"))
}

/// Ends the process of this number, which the caller just found in a place that only its own processes can be in.
/// `false` when there is none.
pub(crate) fn kill_if(pid: i32, still: impl FnOnce() -> bool) -> io::Result<bool> {
    let pidfd = match rustix::process::pidfd_open(pid_of(pid)?, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(false),
        other => other?,
    };
    // Asked again now that the number is held: another process may have got it in between.
    if !still() {
        return Ok(false);
    }
    match rustix::process::pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Ends the process of this number if it is still the one that was born then, and waits until it is gone; `false` when it
/// does not go within `limit`.
pub async fn end(pid: i32, born: &Birth, limit: Duration) -> io::Result<bool> {
    let same = || birth(pid).is_ok_and(|now| now.as_ref() == Some(born));
    kill_if(pid, same)?;
    let until = Instant::now() + limit;
    while same() {
        if Instant::now() > until {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(true)
}

/// Starts a helper of our own that talks to us over `stdin`, a socket. Its other output goes to `log`; it inherits
/// nothing else. Dropping the handle does not end it.
#[expect(
    clippy::disallowed_methods,
    reason = "a program of the host runs to its end, a helper becomes something else"
)]
pub fn spawn_helper(
    program: &Path,
    arg: impl AsRef<OsStr>,
    stdin: OwnedFd,
    log: OwnedFd,
) -> io::Result<Child> {
    Command::new(program)
        .arg(arg)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        .spawn()
}

/// Starts a service of our own, to be watched and ended by us: its standard output is ours to read, its log is ours, and what
/// a terminal sends to us it does not get. It inherits `stdin` and nothing else, and
/// is told that it is called `name`. Dropping the handle ends it.
#[expect(
    clippy::disallowed_methods,
    reason = "a program of the host runs to its end, a service runs until it is told"
)]
pub fn spawn_service(
    program: &Path,
    name: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    stdin: OwnedFd,
) -> io::Result<Child> {
    Command::new(program)
        .arg0(name)
        .args(args)
        .env_clear()
        .envs(vars)
        .current_dir("/")
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_written_is_told() {
        unwritten().unwrap();
    }

    #[test]
    fn what_a_process_reads_is_counted() {
        let pid = std::process::id().try_into().unwrap();
        let before = bytes_read(pid).unwrap();
        let read = std::fs::read("/proc/self/exe").unwrap();
        assert!(bytes_read(pid).unwrap() >= before + read.len() as u64);
        assert!(bytes_read(i32::MAX).is_err());
    }

    #[test]
    fn a_process_s_own_memory_is_what_no_file_has() {
        let status =
            "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t 100 kB\nRssFile:\t 800 kB\nVmSwap:\t 4 kB\n";
        assert_eq!(parse_private(status), 104 << 10);
        assert!(private_memory(i32::try_from(std::process::id()).unwrap()).unwrap() > 0);
    }

    #[test]
    fn what_a_process_used_is_read_behind_its_name() {
        let fields = (4..=24).map(|n| n.to_string()).collect::<Vec<_>>();
        let used = parse_usage(&format!("7 (a) b (c)) S {} 25", fields.join(" "))).unwrap();
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(used.cpu, Duration::from_millis((14 + 15) * 1000 / ticks));
        assert_eq!(used.resident, 24 * rustix::param::page_size() as u64);
        assert_eq!(parse_usage("7 (short) S 1"), None);
        let me = std::process::id().try_into().unwrap();
        assert!(usage(me).unwrap().unwrap().resident > 100_000);
        assert_eq!(usage(i32::MAX).unwrap(), None);
    }

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let fields = (4..=21).map(|n| n.to_string()).collect::<Vec<_>>();
        let stat = format!("7 (a) b (c)) S {} 4711 23", fields.join(" "));
        assert_eq!(parse_stat(&stat), Some(('S', 4711)));
        assert_eq!(parse_stat("7 (short) S 1"), None);
    }

    #[test]
    fn we_were_born_and_nobody_is_not() {
        let me = std::process::id().try_into().unwrap();
        assert_eq!(birth(me).unwrap(), birth(me).unwrap());
        assert!(birth(me).unwrap().is_some());
        let own = fs::metadata(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(exe(me).unwrap().unwrap().ino, own.ino());
        assert!(birth(i32::MAX).unwrap().is_none());
        assert!(exe(i32::MAX).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_child_that_is_killed_is_reaped_and_its_signal_known() {
        #[expect(
            clippy::disallowed_methods,
            clippy::zombie_processes,
            reason = "a process to watch, reaped through its pidfd"
        )]
        let child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let pid = child.id().try_into().unwrap();
        let process = Process::open(pid).unwrap().unwrap();
        assert_eq!(process.exit(), None);
        process.kill().unwrap();
        assert_eq!(process.ended().await, Exit::Signal(libc::SIGKILL));
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        process.kill().unwrap();
        assert!(Process::open(i32::MAX).unwrap().is_none());
    }
}
