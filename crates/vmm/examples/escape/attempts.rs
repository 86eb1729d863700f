//! What else is tried: network, devices, files, and what a VMM has to be able to do.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use nix::errno::Errno;

use super::kernel::{Answers, answer, call, scratch, text, word};

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
