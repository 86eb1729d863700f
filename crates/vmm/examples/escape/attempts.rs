//! What is tried, and the kernel's answers: `done`, or the name of the error.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use libc::c_long;
use nix::errno::Errno;
use wrenn_sys::seccomp::When;

pub(crate) type Answers = BTreeMap<String, String>;

/// Zeros that a call may read or write.
static mut SCRATCH: [u8; 4096] = [0; 4096];

fn scratch() -> usize {
    (&raw mut SCRATCH) as usize
}

fn answer(outcome: Result<i64, Errno>) -> String {
    outcome.map_or_else(|errno| format!("{errno:?}"), |_| "done".to_owned())
}

/// One call with whatever it is given.
fn call(number: c_long, args: &[usize]) -> Result<i64, Errno> {
    let arg = |index| args.get(index).copied().unwrap_or(0);
    // SAFETY: Pointers among the arguments are to literals or to the scratch page, which nothing else uses; the process
    // has one thread. Where a call does what it must not be able to do, the test fails anyway.
    let done = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    if done == 0 && [libc::SYS_clone, libc::SYS_clone3].contains(&number) {
        // The copy that should not exist.
        std::process::exit(0);
    }
    if done == -1 {
        Err(Errno::last())
    } else {
        Ok(done)
    }
}

fn text(text: &'static CStr) -> usize {
    text.as_ptr() as usize
}

/// A flag or a number of libc's as the word that it is.
fn word(number: i32) -> usize {
    number.cast_unsigned() as usize
}

/// Calls that must not even be looked at.
pub(crate) fn calls(host_pid: i32) -> Answers {
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

/// Sockets of each family that the kernel may have.
pub(crate) fn sockets() -> Answers {
    [
        ("AF_UNIX", libc::AF_UNIX),
        ("AF_INET", libc::AF_INET),
        ("AF_INET6", libc::AF_INET6),
        ("AF_NETLINK", libc::AF_NETLINK),
        ("AF_PACKET", libc::AF_PACKET),
        ("AF_VSOCK", libc::AF_VSOCK),
        ("AF_ALG", libc::AF_ALG),
        ("AF_XDP", libc::AF_XDP),
        ("AF_CAN", libc::AF_CAN),
        ("AF_TIPC", libc::AF_TIPC),
        ("AF_RDS", libc::AF_RDS),
    ]
    .into_iter()
    .map(|(name, family)| {
        let kind = word(libc::SOCK_RAW);
        (
            name.to_owned(),
            answer(call(libc::SYS_socket, &[word(family), kind, 0])),
        )
    })
    .collect()
}

/// Requests to the TAP that it holds, the second of its descriptors, which a holder is usually granted.
pub(crate) fn requests() -> Answers {
    [
        ("keep the TAP", libc::TUNSETPERSIST),
        ("give the TAP away", libc::TUNSETOWNER),
        ("change the TAP's kind", libc::TUNSETLINK),
        ("change the TAP's address", libc::SIOCSIFHWADDR),
        ("unplug the TAP", libc::TUNSETCARRIER),
        ("make another TAP", libc::TUNSETIFF),
    ]
    .into_iter()
    .map(|(name, request)| {
        let request = usize::try_from(request).unwrap_or(0);
        (
            name.to_owned(),
            answer(call(libc::SYS_ioctl, &[4, request, scratch()])),
        )
    })
    .collect()
}

/// Files and devices of the host by their names, and by ways around.
pub(crate) fn opens() -> Answers {
    [
        "/etc/passwd",
        "/etc/shadow",
        "/../../../../../etc/shadow",
        "/vm/../../etc/shadow",
        "/proc/1/root/etc/shadow",
        "/proc/self/mem",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/run",
        "/var/lib/wrenn",
        "/root",
        "/home",
        "/tmp",
        "/dev/kvm",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/net/tun",
        "/dev/vhost-net",
        "/dev/vhost-vsock",
        "/dev/fuse",
        "/dev/loop-control",
        "/dev/mapper/control",
        "/dev/sda",
        "/dev/vda",
        "/dev/tty",
        "/dev/ptmx",
        "/dev/shm",
    ]
    .into_iter()
    .map(|path| {
        let opened = rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        let outcome = opened
            .map(|_| 0)
            .map_err(|errno| Errno::from_raw(errno.raw_os_error()));
        (path.to_owned(), answer(outcome))
    })
    .collect()
}

/// What is refused for another reason than the filter's.
pub(crate) fn others(host_pid: i32) -> Answers {
    let kill = |pid: i32, signal| answer(call(libc::SYS_kill, &[word(pid), word(signal)]));
    let outcome = |result: std::io::Result<()>| match result {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    };
    let open = |path: &str, write: bool| OpenOptions::new().read(!write).write(write).open(path);
    let largest = word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_LOCKED);
    // An argument block of clone3(2): the flags are its first word.
    let [mut user, _] = [[0_u64; 11]; 2];
    user[0] = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
    let answers = [
        ("end a process of the host", kill(host_pid, libc::SIGKILL)),
        ("end all processes", kill(-1, 0)),
        (
            "clone in the new way",
            answer(call(libc::SYS_clone3, &[user.as_ptr() as usize, 88])),
        ),
        (
            "allow new privileges",
            answer(call(libc::SYS_prctl, &[word(libc::PR_SET_NO_NEW_PRIVS)])),
        ),
        (
            "keep a capability",
            answer(call(libc::SYS_prctl, &[word(libc::PR_CAP_AMBIENT), 2, 0])),
        ),
        (
            "take the CPU before others",
            answer(call(libc::SYS_setpriority, &[0, 0, word(-20)])),
        ),
        (
            "read root's file",
            outcome(open("/vm/foreign", false).map(drop)),
        ),
        (
            "write root's file",
            outcome(open("/vm/foreign", true).map(drop)),
        ),
        (
            "give its file away",
            answer(call(libc::SYS_chown, &[text(c"/vm/write"), 0, 0])),
        ),
        (
            "write what is to be read",
            outcome(open("/vm/read", true).map(drop)),
        ),
        ("write the root", outcome(File::create("/new").map(drop))),
        (
            "write beside its file",
            outcome(File::create("/vm/new").map(drop)),
        ),
        (
            "lock much memory",
            answer(call(
                libc::SYS_mmap,
                &[0, 1 << 30, 3, largest, usize::MAX, 0],
            )),
        ),
        ("outgrow its file", outcome(outgrow())),
        ("become root by a setuid program", setuid_program()),
    ];
    answers.map(|(name, said)| (name.to_owned(), said)).into()
}

/// Writes at a place that is far out. The signal that comes with the refusal is ignored.
fn outgrow() -> std::io::Result<()> {
    // SAFETY: Ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let file = OpenOptions::new().write(true).open("/vm/write")?;
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 8 << 20)
}

/// Who a program is that belongs to root and has the setuid bit.
fn setuid_program() -> String {
    #[expect(clippy::disallowed_methods, reason = "a program of the jail's")]
    let output = std::process::Command::new("/vm/setuid")
        .arg("whoami")
        .output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => error.to_string(),
    }
}

/// What a VMM needs: a program that could do nothing at all would be refused everything too.
pub(crate) fn allowed() -> Answers {
    let word_of = |result: std::io::Result<()>| match result {
        Ok(()) => "done".to_owned(),
        Err(error) => error.to_string(),
    };
    let random = || File::open("/dev/urandom")?.read_exact(&mut [0; 8]);
    let write = || {
        OpenOptions::new()
            .write(true)
            .open("/vm/write")?
            .write_all(b"changed")
    };
    let read = || File::open("/vm/read")?.read_exact(&mut [0; 6]);
    let limits = call(libc::SYS_prlimit64, &[0, 4, 0, scratch()]);
    let pair = call(
        libc::SYS_socketpair,
        &[word(libc::AF_UNIX), 1, 0, scratch()],
    );
    let thread = std::thread::Builder::new().spawn(|| ());
    let echo = CString::new("memory").unwrap_or_default();
    let answers = [
        ("read randomness", word_of(random())),
        ("write its file", word_of(write())),
        ("read what is to be read", word_of(read())),
        ("read a limit", answer(limits)),
        ("make a pair of sockets", answer(pair)),
        (
            "start a thread",
            word_of(thread.map(|thread| drop(thread.join()))),
        ),
        (
            "share memory",
            answer(call(libc::SYS_memfd_create, &[echo.as_ptr() as usize, 0])),
        ),
    ];
    answers.map(|(name, said)| (name.to_owned(), said)).into()
}
