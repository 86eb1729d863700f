//! What a process does to itself before it becomes a program that nobody trusts. For a process with one thread.
#![allow(
    unsafe_code,
    reason = "cloning without a wrapper in libc, and closing descriptors that nobody owns"
)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

/// From here up are descriptors of our own, out of the way of those that programs expect.
const HIGH: i32 = 100;

/// Which side of [`fork_sibling`] this is.
#[derive(Debug)]
pub enum Side {
    /// The caller; the new process has this number.
    Caller(i32),
    /// The new process.
    New,
}

/// Closes every descriptor from 3 up.
pub fn close_all_but_stdio() -> io::Result<()> {
    // SAFETY: Called first thing in a process with one thread, before anything here opens a descriptor, so that no
    // `OwnedFd` refers to one of those closed.
    if unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Copies this process. The new one is a child not of the caller but of the caller's parent, which so learns how it
/// ends, and it is the first in a new PID namespace. With a `birthplace`, the directory of a control group of v2, it is born
/// in that group.
///
/// Fails in a process with more than one thread: the copy would have only one, and the locks of the others.
pub fn fork_sibling(birthplace: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("this process has more than one thread"));
    }
    /// `linux/sched.h`; libc's constant has too few bits for it.
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let (flag, cgroup) = match birthplace {
        Some(group) => (CLONE_INTO_CGROUP, group.as_raw_fd()),
        None => (0, 0),
    };
    // SAFETY: All zeros is a valid value of this plain structure of numbers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let plain = libc::CLONE_PARENT | libc::CLONE_NEWPID;
    args.flags = u64::from(plain.cast_unsigned()) | flag;
    args.cgroup = u64::from(cgroup.cast_unsigned());
    // SAFETY: Without CLONE_VM this is a fork: both sides go on with memory of their own, and there is no other
    // thread whose locks could be held. No stack, thread id or TLS is asked for; the structure lives through the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    match i32::try_from(pid) {
        Ok(0) => Ok(Side::New),
        Ok(pid) if pid > 0 => Ok(Side::Caller(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives up root for good: groups, user, every capability, and all ways to get one back.
pub fn drop_privileges(uid: u32) -> io::Result<()> {
    if uid == 0 || uid == u32::MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a jail's user may not be root",
        ));
    }
    for capability in 0..64 {
        // The kernel refuses the first number that it has no capability for.
        let capability = CapabilitySet::from_bits_retain(1 << capability);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(rustix::io::Errno::INVAL) => break,
            other => other?,
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let (gid, uid) = (Gid::from_raw(uid), Uid::from_raw(uid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        },
    )?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// What one process may take that no control group bounds.
#[derive(Debug, Clone, Copy)]
pub struct ResourceLimits {
    /// Open descriptors.
    pub descriptors: u64,
    /// The size of a file that it writes, in bytes.
    pub file_size: u64,
}

/// Bounds what the process may take, and forbids it to leave its memory in a core file.
pub fn set_resource_limits(limits: ResourceLimits) -> io::Result<()> {
    // A limit of 0 stops core files, but not a pipe to the host's own handler; of 1 byte it stops both (core(5)).
    const NO_CORE: u64 = 1;
    /// Enough for a library that keeps its keys there.
    const LOCKED: u64 = 64 << 10;
    for (resource, most) in [
        (Resource::Core, NO_CORE),
        (Resource::Memlock, LOCKED),
        (Resource::Nofile, limits.descriptors),
        (Resource::Fsize, limits.file_size),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        rustix::process::setrlimit(resource, limit)?;
    }
    Ok(())
}

/// Lets descriptors live on in the program that this process becomes, the first with this number and the others with those
/// that follow. Nothing else may be open at these numbers than what is handed over.
pub fn hand_over(fds: Vec<OwnedFd>, first: i32) -> io::Result<()> {
    let raised = fds.into_iter().map(raise).collect::<io::Result<Vec<_>>>()?;
    for (fd, number) in raised.into_iter().zip(first..) {
        let placed = rustix::io::fcntl_dupfd_cloexec(&fd, number)?;
        if placed.as_raw_fd() != number {
            return Err(io::Error::other(format!("descriptor {number} is taken")));
        }
        rustix::io::fcntl_setfd(&placed, FdFlags::empty())?;
        // It is the program's from here on.
        let _theirs = placed.into_raw_fd();
    }
    Ok(())
}

/// Takes a descriptor that was handed over to this process itself.
///
/// # Errors
/// Nothing is open at this number.
pub fn take_handed(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: The number is only looked at by the kernel, which refuses one that is not open; what is kept is a copy.
    let handed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_dupfd_cloexec(handed, HIGH)?)
}

/// Lets what this process and its program say go there.
pub fn say_into(log: OwnedFd) -> io::Result<()> {
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok(())
}

/// The same at a high number, that nothing counts on.
pub fn raise(fd: OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, HIGH)?)
}

/// Takes standard input away for ourselves, and leaves `/dev/null` there.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let taken = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), HIGH)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    Ok(taken)
}

/// Becomes another program. Returns only when that failed.
pub fn exec(program: &str, args: &[String], env: &[(String, String)]) -> io::Error {
    let become_it = || -> io::Result<std::convert::Infallible> {
        let program = CString::new(program)?;
        let args = std::iter::once(Ok(program.clone()))
            .chain(args.iter().map(|arg| CString::new(arg.as_str())))
            .collect::<Result<Vec<_>, _>>()?;
        let env = env
            .iter()
            .map(|(name, value)| CString::new(format!("{name}={value}")))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(nix::unistd::execve(&program, &args, &env)?)
    };
    match become_it() {
        Ok(never) => match never {},
        Err(error) => error,
    }
}
