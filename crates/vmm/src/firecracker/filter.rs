//! The system calls that Firecracker may make, for builds that bring no list of their own: one against glibc lets all of them pass
//! (`firecracker/build.rs` of its sources).
//!
//! What it asks of the devices that it has open is not looked at; it has KVM, its TAP, its disk and its own files.
//!
//! A list for each of its threads, which they take on once they have started. Any other call ends the process, with exit code 148,
//! and is told in its log. The file is what `--seccomp-filter` takes: a map of programs, in the encoding of `bitcode`.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use wrenn_sys::seccomp;

/// Memory, time, locks, and the end: what any thread needs.
const ANY: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_ioctl,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_write,
];

/// Waiting for many things, and talking over sockets that are there.
const EVENTS: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_getrandom,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
];

/// What the devices need: the disk's file, the TAP, snapshots, the page server's socket.
const DEVICES: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_eventfd2,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_lseek,
    libc::SYS_memfd_create,
    libc::SYS_mincore,
    libc::SYS_msync,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_readv,
    libc::SYS_sendmsg,
    libc::SYS_stat,
    libc::SYS_statx,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_writev,
];

/// What a guest's exits to its devices need beside that.
const EXITS: &[c_long] = &[libc::SYS_sendmsg, libc::SYS_timerfd_settime];

/// The file's contents.
pub(super) fn file() -> io::Result<Vec<u8>> {
    let threads = [
        ("api", [ANY, EVENTS].concat()),
        ("vcpu", [ANY, EXITS].concat()),
        ("vmm", [ANY, EVENTS, DEVICES].concat()),
    ];
    // To the page server; vsock knows no namespaces.
    let unix = [(libc::SYS_socket, 0, libc::AF_UNIX.cast_unsigned())];
    let programs: BTreeMap<&str, Vec<u64>> = threads
        .into_iter()
        .map(|(thread, calls)| (thread, seccomp::only(&calls, &unix)))
        .collect();
    bitcode::serialize(&programs).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_thread_has_a_program_that_firecracker_takes() {
        let file = file().unwrap();
        assert!(file.len() < 100_000, "it reads no more");
        let programs: BTreeMap<String, Vec<u64>> = bitcode::deserialize(&file).unwrap();
        let threads: Vec<_> = programs.keys().map(String::as_str).collect();
        assert_eq!(threads, ["api", "vcpu", "vmm"]);
        assert!(programs.values().all(|program| program.len() <= 4096));
        assert!(programs["vcpu"].len() < programs["vmm"].len());
    }

    #[test]
    fn a_guest_that_has_broken_out_runs_nothing_and_makes_no_process() {
        let all: BTreeSet<_> = [ANY, EVENTS, DEVICES, EXITS].concat().into_iter().collect();
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_fork,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_kill,
            libc::SYS_prctl,
            libc::SYS_socket,
            libc::SYS_io_uring_setup,
        ] {
            assert!(!all.contains(&call), "{call}");
        }
    }
}
