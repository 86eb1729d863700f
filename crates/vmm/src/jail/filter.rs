//! The system calls that no VMM needs. Most are refused without this too, by what the jail took away; here they don't even
//! reach the code that would refuse them, and that code is where kernels have their holes.
//!
//! A VMM's own filter, such as QEMU's, comes on top of this.

use libc::c_long;
use wrenn_sys::seccomp::{Refusal, When};

/// Looking into other processes, or steering them.
const OTHERS: &[c_long] = &[
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
];

/// Other users, other namespaces, the kernel's keys.
const PRIVILEGES: &[c_long] = &[
    libc::SYS_add_key,
    libc::SYS_capset,
    libc::SYS_keyctl,
    libc::SYS_personality,
    libc::SYS_request_key,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setns,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setrlimit,
    libc::SYS_setuid,
    libc::SYS_unshare,
];

/// Mounts, roots, device nodes, files by their number instead of a name.
const MOUNTS: &[c_long] = &[
    libc::SYS_chroot,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mknodat,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
];

/// The whole machine: modules, another kernel, its end, its clock and its names.
const MACHINE: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// Wide doors into the kernel. The network is among them: a VMM is given its sockets, and some families, such as that of
/// virtual machines (vsock), look past the network namespace.
const DOORS: &[c_long] = &[
    libc::SYS_bpf,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_memfd_secret,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_perf_event_open,
    libc::SYS_socket,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_userfaultfd,
    libc::SYS_vmsplice,
];

/// What this instruction set has beside the common calls.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// Requests that change a TAP for longer than its holder lives, or for others, and such that type on a terminal. The
/// kernel asks for no privilege once a TAP is held (`linux/if_tun.h`).
const REQUESTS: &[libc::Ioctl] = &[
    libc::SIOCSIFHWADDR,
    libc::TIOCLINUX,
    libc::TIOCSTI,
    libc::TUNSETCARRIER,
    libc::TUNSETDEBUG,
    libc::TUNSETGROUP,
    libc::TUNSETIFF,
    libc::TUNSETLINK,
    libc::TUNSETOWNER,
    libc::TUNSETPERSIST,
];

const NAMESPACES: i32 = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// What the jail refuses to whatever runs in it. Calls that are frequent and need a look at their arguments come first.
#[must_use]
pub fn refusals() -> Vec<Refusal> {
    let refusal = |call, when, errno| Refusal { call, when, errno };
    let mut all: Vec<_> = REQUESTS
        .iter()
        .map(|request| refusal(libc::SYS_ioctl, When::Is(1, number(*request)), libc::EPERM))
        .collect();
    all.extend([
        refusal(
            libc::SYS_clone,
            When::Has(0, NAMESPACES.cast_unsigned()),
            libc::EPERM,
        ),
        // Its flags are out of a filter's sight; C libraries fall back on clone when it seems not to be there.
        refusal(libc::SYS_clone3, When::Always, libc::ENOSYS),
        // Reading limits is fine. A core file's limit that may be set to 0 would open the way to the host's handler.
        refusal(libc::SYS_prlimit64, When::NotZero(2), libc::EPERM),
    ]);
    let lists = [OTHERS, PRIVILEGES, MOUNTS, MACHINE, DOORS, OLD];
    let always = |call: &c_long| refusal(*call, When::Always, libc::EPERM);
    all.extend(lists.into_iter().flatten().map(always));
    all
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel takes 32 bits of a request"
)]
const fn number(request: libc::Ioctl) -> u32 {
    request as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_is_listed_twice() {
        let all = refusals();
        let plain: Vec<_> = all
            .iter()
            .filter(|refusal| matches!(refusal.when, When::Always))
            .map(|refusal| refusal.call)
            .collect();
        let distinct: BTreeSet<_> = plain.iter().collect();
        assert_eq!(distinct.len(), plain.len());
    }
}
