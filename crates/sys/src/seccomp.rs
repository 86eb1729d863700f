//! System calls that a process gives up for good, for itself and for all that it becomes (seccomp(2)).
//!
//! What is refused is a list; all else is allowed. A program may take further filters on top, none can be taken off.
#![allow(
    unsafe_code,
    reason = "no crate that we have installs a filter of our own making"
)]

use std::io;

use libc::{c_long, sock_filter, sock_fprog};

/// A system call that fails from now on.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// Its number, `libc::SYS_…`.
    pub call: c_long,
    /// With which arguments.
    pub when: When,
    /// What the caller is told, `libc::E…`.
    pub errno: i32,
}

/// The arguments with which a call is refused. Arguments are counted from 0; but for [`When::NotZero`] the lower 32 bits
/// are looked at, as the kernel itself does with those that the filters here are about.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// Any.
    Always,
    /// The argument is this value.
    Is(u8, u32),
    /// The argument has at least one of these bits.
    Has(u8, u32),
    /// The argument, a pointer, is given.
    NotZero(u8),
}

/// What the kernel calls the instruction set that this was built for; the numbers of system calls belong to it.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
/// The second set of numbers that x86-64 has, for pointers of 32 bits; nothing here was built for it.
#[cfg(target_arch = "x86_64")]
const FOREIGN_NUMBERS: u32 = 0x4000_0000;

/// Where a filter finds what (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Takes the calls away from the calling thread and all that it starts. It must have given up new privileges before.
///
/// A call by the numbers of another instruction set ends the process: no program of ours makes one.
pub fn refuse(refusals: &[Refusal]) -> io::Result<()> {
    let mut filter = assemble(refusals);
    let len = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = sock_fprog {
        len,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: The program points to `len` instructions that live until the call has returned; the kernel copies and
    // checks them, and writes nothing.
    let installed = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if installed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The program that lets a thread make these calls alone, and those others with this value in this argument: any other is a SIGSYS.
/// Each instruction is as the kernel reads it, in eight bytes (`struct sock_filter`).
#[must_use]
pub fn only(calls: &[c_long], with: &[(c_long, u8, u32)]) -> Vec<u64> {
    let mut filter = preamble();
    for (call, argument, value) in with {
        filter.extend([
            unless_equal(number(*call), 0, 4),
            load(lower(*argument)),
            unless_equal(*value, 0, 1),
            give(libc::SECCOMP_RET_ALLOW),
            give(libc::SECCOMP_RET_TRAP),
        ]);
    }
    for call in calls {
        filter.extend([
            unless_equal(number(*call), 0, 1),
            give(libc::SECCOMP_RET_ALLOW),
        ]);
    }
    filter.push(give(libc::SECCOMP_RET_TRAP));
    filter.iter().map(packed).collect()
}

fn packed(instruction: &sock_filter) -> u64 {
    u64::from(instruction.code)
        | u64::from(instruction.jt) << 16
        | u64::from(instruction.jf) << 24
        | u64::from(instruction.k) << 32
}

fn assemble(refusals: &[Refusal]) -> Vec<sock_filter> {
    let mut filter = preamble();
    for refusal in refusals {
        filter.extend(block(refusal));
    }
    filter.push(give(libc::SECCOMP_RET_ALLOW));
    filter
}

/// Ends whoever calls by other numbers than ours. The call's number is what is loaded then.
fn preamble() -> Vec<sock_filter> {
    let mut filter = vec![
        load(ARCH),
        unless_equal(ARCHITECTURE, 0, 1),
        jump(1),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    #[cfg(target_arch = "x86_64")]
    filter.extend([
        instruction(libc::BPF_JMP | libc::BPF_JGE, 0, 1, FOREIGN_NUMBERS),
        give(libc::SECCOMP_RET_KILL_PROCESS),
    ]);
    filter
}

/// The instructions for one refusal. Before and after it the call's number is what is loaded.
fn block(refusal: &Refusal) -> Vec<sock_filter> {
    let refused = give(libc::SECCOMP_RET_ERRNO | refusal.errno.cast_unsigned() & 0xFFFF);
    let mut asked = match refusal.when {
        When::Always => vec![refused],
        When::Is(argument, value) => {
            vec![load(lower(argument)), unless_equal(value, 0, 1), refused]
        }
        When::Has(argument, bits) => vec![
            load(lower(argument)),
            instruction(libc::BPF_JMP | libc::BPF_JSET, 0, 1, bits),
            refused,
        ],
        When::NotZero(argument) => vec![
            load(lower(argument)),
            unless_equal(0, 0, 2),
            load(lower(argument) + 4),
            unless_equal(0, 1, 0),
            refused,
        ],
    };
    if !matches!(refusal.when, When::Always) {
        asked.push(load(NUMBER));
    }
    // A block is 6 instructions at most.
    let length = u8::try_from(asked.len()).unwrap_or(u8::MAX);
    let mut block = vec![unless_equal(number(refusal.call), 0, length)];
    block.append(&mut asked);
    block
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of system calls are small"
)]
fn number(call: c_long) -> u32 {
    call as u32
}

/// Where the lower half of an argument is. Every machine that we run on is little endian.
fn lower(argument: u8) -> u32 {
    ARGUMENTS + 8 * u32::from(argument)
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Skips `equal` instructions when what is loaded is the value, else `other`.
fn unless_equal(value: u32, equal: u8, other: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ, equal, other, value)
}

fn jump(over: u32) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, over)
}

fn give(what: u32) -> sock_filter {
    instruction(libc::BPF_RET, 0, 0, what)
}

/// All operations and modes are below 256 and are tested on the constants' way here.
fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "operation codes have 8 bits"
    )]
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// A filter is the calling thread's own: each test has a thread for it.
    fn filtered<T: Send>(refusals: &[Refusal], then: impl FnOnce() -> T + Send) -> T {
        let body = || {
            rustix::thread::set_no_new_privs(true).unwrap();
            refuse(refusals).unwrap();
            then()
        };
        std::thread::scope(|scope| scope.spawn(body).join().unwrap())
    }

    fn refusal(call: c_long, when: When) -> Refusal {
        let errno = libc::EXDEV;
        Refusal { call, when, errno }
    }

    #[test]
    fn what_is_listed_fails_and_nothing_else() {
        let affinity = || rustix::thread::sched_getaffinity(None).map(drop);
        let list = [
            refusal(libc::SYS_sethostname, When::Always),
            refusal(libc::SYS_sched_getaffinity, When::Always),
        ];
        let (refused, allowed) = filtered(&list, || (affinity(), rustix::process::chdir(".")));
        assert_eq!((refused, allowed), (Err(Errno::XDEV), Ok(())));
        assert_eq!(affinity(), Ok(()), "only that thread");
    }

    #[test]
    fn arguments_decide() {
        use rustix::net::{AddressFamily, SocketType, socket};
        let call = |family, kind| socket(family, kind, None).map(drop);
        let inet = u32::from(AddressFamily::INET.as_raw());
        let is = [refusal(libc::SYS_socket, When::Is(0, inet))];
        let (inet, unix) = filtered(&is, || {
            let kind = SocketType::STREAM;
            (
                call(AddressFamily::INET, kind),
                call(AddressFamily::UNIX, kind),
            )
        });
        assert_eq!((inet, unix), (Err(Errno::XDEV), Ok(())));

        let has = [refusal(libc::SYS_socket, When::Has(1, 0b10))];
        let (stream, datagram) = filtered(&has, || {
            let of = |kind| call(AddressFamily::UNIX, kind);
            (of(SocketType::STREAM), of(SocketType::DGRAM))
        });
        assert_eq!((stream, datagram), (Ok(()), Err(Errno::XDEV)));
    }

    /// Told by the exit of a process, since a thread that makes another call takes all others along.
    #[test]
    fn what_is_not_listed_ends_the_process() {
        let calls = [libc::SYS_exit_group, libc::SYS_write];
        let with = [(libc::SYS_socket, 0, libc::AF_UNIX.cast_unsigned())];
        let run = |call: c_long, argument: c_long| {
            let mut filter: Vec<sock_filter> =
                only(&calls, &with).into_iter().map(unpacked).collect();
            let program = sock_fprog {
                len: u16::try_from(filter.len()).unwrap(),
                filter: filter.as_mut_ptr(),
            };
            // SAFETY: between fork and its end the child makes system calls alone; the program lives through them.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                    libc::syscall(
                        libc::SYS_seccomp,
                        libc::SECCOMP_SET_MODE_FILTER,
                        0,
                        &raw const program,
                    );
                    libc::syscall(call, argument, libc::SOCK_STREAM, 0);
                    libc::syscall(libc::SYS_exit_group, 7);
                }
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                status
            }
        };
        let exited = |status| libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7;
        assert!(exited(run(libc::SYS_write, -1)));
        assert!(exited(run(libc::SYS_socket, libc::AF_UNIX.into())));
        for (call, argument) in [
            (libc::SYS_socket, libc::AF_INET.into()),
            (libc::SYS_socket, libc::AF_VSOCK.into()),
            (libc::SYS_getpid, 0),
        ] {
            let status = run(call, argument);
            assert!(libc::WIFSIGNALED(status), "{call} {argument}");
            assert_eq!(libc::WTERMSIG(status), libc::SIGSYS);
        }
    }

    fn unpacked(word: u64) -> sock_filter {
        let part = |shift: u32| word >> shift;
        sock_filter {
            code: (part(0) & 0xffff).try_into().unwrap(),
            jt: (part(16) & 0xff).try_into().unwrap(),
            jf: (part(24) & 0xff).try_into().unwrap(),
            k: (part(32) & 0xffff_ffff).try_into().unwrap(),
        }
    }

    #[test]
    fn a_pointer_in_either_half_counts_as_given() {
        // The lower 32 bits of this one are 0.
        let high = (1_usize << 32) as *const u8;
        for (pointer, expected) in [
            (std::ptr::null(), 0),
            (high, libc::EXDEV),
            (8 as *const u8, libc::EXDEV),
        ] {
            let list = [refusal(libc::SYS_getrandom, When::NotZero(0))];
            let address = pointer as usize;
            let errno = filtered(&list, || {
                // SAFETY: No byte is asked for, so that nothing is written anywhere.
                let done = unsafe { libc::syscall(libc::SYS_getrandom, address, 0, 0) };
                if done == 0 {
                    0
                } else {
                    io::Error::last_os_error().raw_os_error().unwrap()
                }
            });
            assert_eq!(errno, expected, "{pointer:?}");
        }
    }

    #[test]
    fn a_process_that_may_gain_privileges_can_not_filter_itself_unless_it_is_root() {
        let outcome = std::thread::spawn(|| refuse(&[])).join().unwrap();
        assert_eq!(outcome.is_ok(), rustix::process::geteuid().is_root());
    }
}
