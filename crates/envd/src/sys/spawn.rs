//! Makes a process: born inside its control group, in a session of its own, as its user.
//!
//! The standard library's `Command` cannot place a child in a control group at birth, and moving it there afterwards waits
//! for an RCU grace period, 10 ms and more. `clone3` takes the group's directory.
#![allow(
    unsafe_code,
    reason = "a child is made by clone3 and set up by raw system calls"
)]

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

/// `CLONE_INTO_CGROUP` of linux/sched.h.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a new process is.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// Paths to try, in order; the first that can be executed is.
    pub(crate) candidates: &'a [CString],
    /// The program's own name and its arguments.
    pub(crate) args: &'a [CString],
    /// `NAME=value` strings, the whole environment.
    pub(crate) env: &'a [CString],
    /// The working directory, entered as the new user.
    pub(crate) cwd: &'a CStr,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: &'a [u32],
    /// What the process has as descriptors 0, 1 and 2.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// These are a terminal, which becomes that of its session.
    pub(crate) on_terminal: bool,
}

/// How far a child came that could not become its program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("could not make a process")]
    Clone(#[source] io::Error),
    #[error("could not take the terminal")]
    Terminal(#[source] io::Error),
    #[error("could not become the user")]
    Identity(#[source] io::Error),
    #[error("could not enter the working directory")]
    Directory(#[source] io::Error),
    #[error("could not execute the program")]
    Execute(#[source] io::Error),
}

/// The arguments of `clone3`, from linux/sched.h.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Starts `image` in the control group whose directory is `group`, and returns its pid once it runs.
///
/// The caller must keep others from reaping the child until this has returned, since a child that fails is collected here.
pub(crate) fn spawn(image: &Image<'_>, group: BorrowedFd<'_>) -> Result<i32, SpawnError> {
    let args = pointers(image.args);
    let env = pointers(image.env);
    let (mut report, failure) = pipe().map_err(SpawnError::Clone)?;
    let clone = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: group.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM this is a fork: the child runs on a copy of this thread's stack and memory. Other threads do
    // not exist there and may have held locks, so the child makes system calls only; it never returns from `become_program`.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const clone, size_of::<CloneArgs>()) };
    if pid == 0 {
        // SAFETY: this is the child; `args` and `env` are null-terminated arrays of strings that outlive the call.
        unsafe { become_program(image, &args, &env, failure.as_raw_fd()) }
    }
    let pid = i32::try_from(pid).map_err(|error| SpawnError::Clone(io::Error::other(error)))?;
    if pid < 0 {
        return Err(SpawnError::Clone(io::Error::last_os_error()));
    }
    drop(failure);
    let mut outcome = [0; 5];
    match report.read_exact(&mut outcome) {
        // The descriptor was closed by execve: the program runs.
        Err(_) => Ok(pid),
        Ok(()) => {
            // SAFETY: waits for the child that this function made and that nobody else may reap; no status is asked for.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            Err(failed_at(outcome))
        }
    }
}

/// The child's side. Only async-signal-safe calls: no allocation, no lock, no panic.
///
/// # Safety
/// Must run in a fresh child; `args` and `env` must be null-terminated arrays of C strings.
unsafe fn become_program(
    image: &Image<'_>,
    args: &[*const libc::c_char],
    env: &[*const libc::c_char],
    failure: RawFd,
) -> ! {
    // SAFETY: plain system calls on descriptors, numbers and pointers that `image`, `args` and `env` keep valid. The libc
    // wrappers of set*id are avoided: they would signal threads that do not exist in this process.
    unsafe {
        for (target, source) in (0..).zip(image.stdio) {
            libc::dup2(source.as_raw_fd(), target);
        }
        // Whatever this agent was started with is not for its commands.
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
        libc::setsid();
        if image.on_terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
            give_up(failure, b't', errno());
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);

        if libc::syscall(
            libc::SYS_setgroups,
            image.groups.len(),
            image.groups.as_ptr(),
        ) != 0
            || libc::syscall(libc::SYS_setresgid, image.gid, image.gid, image.gid) != 0
            || libc::syscall(libc::SYS_setresuid, image.uid, image.uid, image.uid) != 0
        {
            give_up(failure, b'i', errno());
        }
        if libc::chdir(image.cwd.as_ptr()) != 0 {
            give_up(failure, b'd', errno());
        }
        // As a shell searches PATH: what is not there is passed over, and a refusal is told only if nothing else is found.
        let mut reason = libc::ENOENT;
        for path in image.candidates {
            libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr());
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => reason = libc::EACCES,
                other => give_up(failure, b'x', other),
            }
        }
        give_up(failure, b'x', reason)
    }
}

/// Tells the parent what failed and ends the child.
///
/// # Safety
/// Must run in the child.
unsafe fn give_up(failure: RawFd, stage: u8, errno: libc::c_int) -> ! {
    let [a, b, c, d] = errno.to_ne_bytes();
    let outcome = [stage, a, b, c, d];
    // SAFETY: writes five bytes that are on this stack, then ends the process without running destructors.
    unsafe {
        libc::write(failure, outcome.as_ptr().cast(), outcome.len());
        libc::_exit(127)
    }
}

fn errno() -> libc::c_int {
    // SAFETY: the C library's errno is always valid to read.
    unsafe { *libc::__errno_location() }
}

fn failed_at([stage, a, b, c, d]: [u8; 5]) -> SpawnError {
    let error = io::Error::from_raw_os_error(libc::c_int::from_ne_bytes([a, b, c, d]));
    match stage {
        b't' => SpawnError::Terminal(error),
        b'i' => SpawnError::Identity(error),
        b'd' => SpawnError::Directory(error),
        _ => SpawnError::Execute(error),
    }
}

/// A null-terminated array, as `execve` wants it.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// A pipe, both ends closed on exec.
fn pipe() -> io::Result<(std::fs::File, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((reader.into(), writer))
}
