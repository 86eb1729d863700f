//! TAP devices: made in the namespace of the calling thread, gone with their descriptor.
#![allow(unsafe_code, reason = "the TAP is configured by ioctl")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// A hardware address.
pub type Mac = [u8; 6];

/// Makes a TAP with one queue and returns its descriptor, non-blocking and closed on exec.
///
/// Each frame that is read or written begins with a virtio-net header of 10 bytes until the holder sets another size;
/// that is what QEMU looks for in a descriptor that it is given.
///
/// # Errors
/// `InvalidInput` for a name longer than 15 bytes; else what the kernel said.
pub fn create(name: &str, mac: Mac) -> io::Result<OwnedFd> {
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags =
        i16::try_from(flags).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the descriptor is a TUN control file, and TUNSETIFF reads and writes one `ifreq`, which lives through the call.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    request.ifr_ifru.ifru_hwaddr = hardware_address(mac);
    // SAFETY: as above; the TUN driver takes SIOCSIFHWADDR on its own file and reads one `ifreq`.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::SIOCSIFHWADDR, &raw mut request) })?;
    Ok(tap.into())
}

/// What a TAP is called.
///
/// # Errors
/// What the kernel said.
pub fn name(tap: BorrowedFd<'_>) -> io::Result<String> {
    // SAFETY: an `ifreq` is plain data; all zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is a TAP, and TUNGETIFF writes one `ifreq`, which lives through the call.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    let name = request.ifr_name.iter().take_while(|byte| **byte != 0);
    let name = name.map(|byte| byte.cast_unsigned()).collect();
    String::from_utf8(name).map_err(io::Error::other)
}

/// Lets a TAP stand without its descriptor, for as long as its namespace stands, so that a process of the user `uid` can open it by
/// its name once the descriptor is closed.
///
/// # Errors
/// What the kernel said.
pub fn give_to(tap: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    let yes: libc::c_ulong = 1;
    // SAFETY: both take their argument as a number, and the TUN driver takes them on its own files.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOWNER, libc::c_ulong::from(uid)) })?;
    // SAFETY: as above.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETPERSIST, yes) })
}

/// The network namespace that a TAP was made in.
///
/// # Errors
/// What the kernel said.
pub fn namespace(tap: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    /// `linux/sockios.h`
    const SIOCGSKNS: libc::Ioctl = 0x894C;
    // SAFETY: the descriptor is a TAP, whose driver takes this request, which has no argument.
    let namespace = unsafe { libc::ioctl(tap.as_raw_fd(), SIOCGSKNS) };
    check(namespace)?;
    // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(namespace) })
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: an `ifreq` is plain data; all zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte of the field stays the terminating zero.
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an interface name has 1 to 15 bytes",
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn hardware_address(mac: Mac) -> libc::sockaddr {
    let mut address = libc::sockaddr {
        sa_family: libc::ARPHRD_ETHER,
        sa_data: [0; 14],
    };
    for (to, from) in address.sa_data.iter_mut().zip(mac) {
        *to = from.cast_signed();
    }
    address
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    #[tokio::test]
    async fn a_tap_has_its_address_and_goes_with_its_descriptor() {
        let name = format!("wrenn-tap-test-{}", std::process::id());
        netns::create(&name, || {
            // Sysfs shows the namespace of its mount; /proc/thread-self/net shows the thread's.
            let stands = || -> io::Result<bool> {
                Ok(std::fs::read_to_string("/proc/thread-self/net/dev")?.contains("tap7:"))
            };
            assert!(Path::new("/dev/net/tun").exists());
            let tap = create("tap7", [2, 0xfc, 0, 0, 0, 1])?;
            assert!(stands()?);
            assert!(create("tap7", [2, 0xfc, 0, 0, 0, 1]).is_err());
            drop(tap);
            assert!(!stands()?);
            let tap = create("tap7", [2, 0xfc, 0, 0, 0, 1])?;
            let own = std::fs::metadata("/proc/thread-self/ns/net")?;
            let of_tap = File::from(namespace(tap.as_fd())?).metadata()?;
            assert_eq!((of_tap.dev(), of_tap.ino()), (own.dev(), own.ino()));
            assert_eq!(super::name(tap.as_fd())?, "tap7");
            give_to(tap.as_fd(), 4242)?;
            drop(tap);
            assert!(stands()?, "it went with its descriptor");
            drop(create("tap7", [2, 0xfc, 0, 0, 0, 1])?);
            assert_eq!(
                create("a-name-of-16-byte", [2, 0xfc, 0, 0, 0, 1])
                    .unwrap_err()
                    .kind(),
                io::ErrorKind::InvalidInput
            );
            Ok(())
        })
        .await
        .unwrap();
        netns::remove(&name).unwrap();
    }
}
