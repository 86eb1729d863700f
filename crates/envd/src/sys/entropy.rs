//! Gives the kernel's random number generator bytes from outside.
#![allow(unsafe_code, reason = "the random device takes entropy by ioctl only")]

use std::fs::File;
use std::io;

use rustix::fd::AsRawFd;

/// The most bytes that one call takes.
pub(crate) const MAX_LEN: usize = 512;

/// `_IOW('R', 0x03, int[2])`, from linux/random.h.
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
/// `_IO('R', 0x07)`, from linux/random.h.
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;

/// `struct rand_pool_info` with room for its bytes.
#[repr(C)]
struct PoolInfo {
    entropy_bits: libc::c_int,
    len: libc::c_int,
    bytes: [u8; MAX_LEN],
}

/// Mixes `bytes` in, credits them as entropy and makes the generator start from them at once, so that two guests that were
/// restored from one snapshot part ways.
///
/// Errors: more than [`MAX_LEN`] bytes, or the kernel refuses (not root).
pub(crate) fn reseed(bytes: &[u8]) -> io::Result<()> {
    let mut info = PoolInfo {
        entropy_bits: 0,
        len: 0,
        bytes: [0; MAX_LEN],
    };
    let room = info
        .bytes
        .get_mut(..bytes.len())
        .ok_or(io::ErrorKind::InvalidInput)?;
    room.copy_from_slice(bytes);
    info.len = libc::c_int::try_from(bytes.len()).map_err(io::Error::other)?;
    info.entropy_bits = info.len * 8;

    let device = File::options().write(true).open("/dev/urandom")?;
    // SAFETY: the request reads a `rand_pool_info` of `len` bytes behind the pointer; `info` has that layout, holds at least
    // `len` bytes and lives until the call returns.
    check(unsafe { libc::ioctl(device.as_raw_fd(), RNDADDENTROPY, &raw const info) })?;
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), RNDRESEEDCRNG, 0) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
