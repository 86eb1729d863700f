//! Which packets a socket hears of: a filter in the kernel, before anything is queued for it.
#![allow(
    unsafe_code,
    reason = "a filter is set by a raw pointer to its program"
)]

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// How much of a packet is let through: all of it.
const WHOLE: u32 = u32::MAX;

/// Lets `socket` hear only what came in by `interface`. What a machine sends to itself comes in by its loopback, whatever
/// address it is sent to; binding to a device would tell by the address.
pub(crate) fn only_from(socket: &impl AsFd, interface: &str) -> io::Result<()> {
    let number = fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))?;
    attach(socket, number.trim().parse().map_err(io::Error::other)?)
}

fn attach(socket: &impl AsFd, interface: u32) -> io::Result<()> {
    let mut program = program(interface);
    let length = program.len().try_into().map_err(io::Error::other)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_mut_ptr(),
    };
    let size = size_of_val(&filter).try_into().map_err(io::Error::other)?;
    // SAFETY: the kernel reads one `sock_fprog` and the program that it points to; both live until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// "Load the number of the interface; is it this one? All of the packet: none of it." Classic BPF, as linux/filter.h has it.
fn program(interface: u32) -> [libc::sock_filter; 4] {
    /// `SKF_AD_OFF + SKF_AD_IFINDEX`: not a place in the packet, but what is known about it.
    const INTERFACE: u32 = (-0x1000_i32 + 8).cast_unsigned();
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        // All codes are below 0x100.
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    };
    [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, INTERFACE),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, interface),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, WHOLE),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_comes_in_by_the_interface_is_heard() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let short = Some(Duration::from_millis(100));
        socket.set_read_timeout(short).unwrap();
        let address = socket.local_addr().unwrap();
        only_from(&socket, "lo").unwrap();
        socket.send_to(b"heard", address).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 5);
        // None has this number.
        attach(&socket, u32::MAX).unwrap();
        socket.send_to(b"not heard", address).unwrap();
        assert!(socket.recv(&mut [0; 8]).is_err());
        assert!(only_from(&socket, "none0").is_err());
    }
}
