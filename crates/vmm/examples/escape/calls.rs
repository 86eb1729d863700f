//! Calls that the jail refuses without a look at what they ask for.

use libc::c_long;
use nix::errno::Errno;
use wrenn_sys::seccomp::When;

use super::kernel::{Answers, answer, call, scratch, text, word};

/// With arguments that would do something where they were allowed.
pub(crate) fn named(host_pid: i32) -> Answers {
    let (page, host) = (scratch(), word(host_pid));
    let (root, tmpfs) = (text(c"/"), text(c"tmpfs"));
    let mut tried: Vec<(&str, c_long, Vec<usize>)> = vec![
        // Other processes.
        (
            "attach to a process of the host",
            libc::SYS_ptrace,
            vec![word(16), host],
        ),
        (
            "read a process of the host",
            libc::SYS_process_vm_readv,
            vec![host, page, 1, page, 1],
        ),
        (
            "write to a process of the host",
            libc::SYS_process_vm_writev,
            vec![host, page, 1, page, 1],
        ),
        (
            "hold a process of the host",
            libc::SYS_pidfd_open,
            vec![host],
        ),
        (
            "take a descriptor of another",
            libc::SYS_pidfd_getfd,
            vec![3, 0],
        ),
        (
            "compare with a process of the host",
            libc::SYS_kcmp,
            vec![host, 1],
        ),
        // Privileges.
        ("become root", libc::SYS_setuid, vec![0]),
        (
            "become root in all ways",
            libc::SYS_setresuid,
            vec![0, 0, 0],
        ),
        ("join root's group", libc::SYS_setgid, vec![0]),
        ("join groups", libc::SYS_setgroups, vec![1, page]),
        ("read files as root", libc::SYS_setfsuid, vec![0]),
        ("take capabilities", libc::SYS_capset, vec![page, page]),
        (
            "make a user namespace",
            libc::SYS_unshare,
            vec![word(libc::CLONE_NEWUSER)],
        ),
        (
            "make a mount namespace",
            libc::SYS_unshare,
            vec![word(libc::CLONE_NEWNS)],
        ),
        (
            "make a network namespace",
            libc::SYS_unshare,
            vec![word(libc::CLONE_NEWNET)],
        ),
        (
            "clone into a user namespace",
            libc::SYS_clone,
            vec![word(libc::CLONE_NEWUSER | libc::SIGCHLD)],
        ),
        (
            "clone into a network namespace",
            libc::SYS_clone,
            vec![word(libc::CLONE_NEWNET | libc::SIGCHLD)],
        ),
        ("enter a namespace", libc::SYS_setns, vec![0]),
        (
            "add a key",
            libc::SYS_add_key,
            vec![text(c"user"), text(c"x"), page, 8, usize::MAX - 2],
        ),
        (
            "ask for a key",
            libc::SYS_request_key,
            vec![text(c"user"), text(c"x"), 0, 0],
        ),
        ("join a keyring", libc::SYS_keyctl, vec![1, 0]),
        ("change the personality", libc::SYS_personality, vec![0]),
        ("raise a limit", libc::SYS_setrlimit, vec![word(7), page]),
        (
            "change a limit of core files",
            libc::SYS_prlimit64,
            vec![0, word(4), page, 0],
        ),
        // Mounts and nodes.
        (
            "mount a tmpfs",
            libc::SYS_mount,
            vec![tmpfs, root, tmpfs, 0, 0],
        ),
        (
            "mount proc",
            libc::SYS_mount,
            vec![text(c"proc"), root, text(c"proc"), 0, 0],
        ),
        (
            "make the root writable",
            libc::SYS_mount,
            vec![0, root, 0, 0x20, 0],
        ),
        ("unmount the root", libc::SYS_umount2, vec![root, 2]),
        ("change the root", libc::SYS_chroot, vec![root]),
        ("exchange the root", libc::SYS_pivot_root, vec![root, root]),
        (
            "copy a mount",
            libc::SYS_open_tree,
            vec![word(-100), root, 1],
        ),
        ("open a file system", libc::SYS_fsopen, vec![tmpfs, 0]),
        (
            "pick a file system",
            libc::SYS_fspick,
            vec![word(-100), root],
        ),
        ("move a mount", libc::SYS_move_mount, vec![3, root, 3, root]),
        (
            "change a mount",
            libc::SYS_mount_setattr,
            vec![word(-100), root, 0, page, 32],
        ),
        (
            "name a file by number",
            libc::SYS_name_to_handle_at,
            vec![word(-100), root, page, page],
        ),
        (
            "open a file by number",
            libc::SYS_open_by_handle_at,
            vec![3, page, 0],
        ),
        ("watch all files", libc::SYS_fanotify_init, vec![0, 0]),
        (
            "make a disk node",
            libc::SYS_mknodat,
            vec![word(-100), text(c"/vm/disk"), 0o060_600, 0x800],
        ),
        (
            "make a memory node",
            libc::SYS_mknodat,
            vec![word(-100), text(c"/vm/mem"), 0o020_600, 0x101],
        ),
        (
            "swap to a file",
            libc::SYS_swapon,
            vec![text(c"/vm/write"), 0],
        ),
        ("set a quota", libc::SYS_quotactl, vec![0, root, 0, page]),
        // The machine.
        (
            "load a module",
            libc::SYS_init_module,
            vec![page, 64, text(c"")],
        ),
        (
            "load a module's file",
            libc::SYS_finit_module,
            vec![3, text(c""), 0],
        ),
        (
            "unload a module",
            libc::SYS_delete_module,
            vec![text(c"xfs"), 0],
        ),
        ("load a kernel", libc::SYS_kexec_load, vec![0, 0, 0, 0]),
        // That Ctrl-Alt-Del shall do nothing: harmless where it is allowed.
        (
            "reboot",
            libc::SYS_reboot,
            vec![0xfee1_dead, 672_274_793, 0],
        ),
        ("set the time", libc::SYS_settimeofday, vec![0, page]),
        ("set a clock", libc::SYS_clock_settime, vec![0, page]),
        ("adjust the clock", libc::SYS_adjtimex, vec![page]),
        ("name the host", libc::SYS_sethostname, vec![text(c"x"), 1]),
        (
            "name the domain",
            libc::SYS_setdomainname,
            vec![text(c"x"), 1],
        ),
        ("read the kernel's log", libc::SYS_syslog, vec![3, page, 64]),
        ("keep accounts", libc::SYS_acct, vec![0]),
        // Doors.
        ("load a BPF program", libc::SYS_bpf, vec![5, page, 64]),
        (
            "count events",
            libc::SYS_perf_event_open,
            vec![page, 0, usize::MAX, usize::MAX, 0],
        ),
        ("handle page faults", libc::SYS_userfaultfd, vec![0]),
        ("set up a ring", libc::SYS_io_uring_setup, vec![8, page]),
        ("use a ring", libc::SYS_io_uring_enter, vec![3, 1, 0, 0]),
        ("hide memory", libc::SYS_memfd_secret, vec![0]),
        ("splice", libc::SYS_splice, vec![3, 0, 3, 0, 1]),
        ("move pages of another", libc::SYS_move_pages, vec![host, 0]),
    ];
    #[cfg(target_arch = "x86_64")]
    tried.extend([
        ("reach the ports", libc::SYS_iopl, vec![3]),
        ("reach a port", libc::SYS_ioperm, vec![0x80, 1, 1]),
        ("make segments", libc::SYS_modify_ldt, vec![0, page, 64]),
    ]);
    tried
        .into_iter()
        .map(|(name, number, args)| (name.to_owned(), answer(call(number, &args))))
        .collect()
}

/// Every call that the jail refuses whatever its arguments are, from the jail's own list.
pub(crate) fn list() -> Answers {
    wrenn_vmm::jail::refusals()
        .into_iter()
        .filter(|refusal| matches!(refusal.when, When::Always))
        .map(|refusal| {
            let said = answer(call(refusal.call, &[]));
            let expected = answer(Err(Errno::from_raw(refusal.errno)));
            let verdict = if said == expected { "refused" } else { &said };
            (format!("call {}", refusal.call), verdict.to_owned())
        })
        .collect()
}
