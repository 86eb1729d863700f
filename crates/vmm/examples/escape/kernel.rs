//! How the kernel is called, past every wrapper, and how its answers are told: `done`, or the name of the error.

use std::collections::BTreeMap;
use std::ffi::CStr;

use libc::c_long;
use nix::errno::Errno;

pub(crate) type Answers = BTreeMap<String, String>;

/// Zeros that a call may read or write.
static mut SCRATCH: [u8; 4096] = [0; 4096];

pub(crate) fn scratch() -> usize {
    (&raw mut SCRATCH) as usize
}

pub(crate) fn answer(outcome: Result<i64, Errno>) -> String {
    outcome.map_or_else(|errno| format!("{errno:?}"), |_| "done".to_owned())
}

/// One call with whatever it is given.
pub(crate) fn call(number: c_long, args: &[usize]) -> Result<i64, Errno> {
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

pub(crate) fn text(text: &'static CStr) -> usize {
    text.as_ptr() as usize
}

/// A flag or a number of libc's as the word that it is.
pub(crate) fn word(number: i32) -> usize {
    number.cast_unsigned() as usize
}
