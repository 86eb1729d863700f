//! Configures a network interface by the classic socket ioctls: five calls, where netlink would need a parser.
#![allow(unsafe_code, reason = "interface ioctls take raw structures")]

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

/// `AF_INET` of linux/socket.h, in the width that an address has for it.
const AF_INET: libc::sa_family_t = 2;

/// One interface, by name.
#[derive(Debug)]
pub(crate) struct Interface {
    name: [libc::c_char; libc::IFNAMSIZ],
    socket: OwnedFd,
}

impl Interface {
    /// The interface `name`; that it exists shows only in the calls that follow.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let mut bytes = [0; libc::IFNAMSIZ];
        if name.len() >= bytes.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        // Any IPv4 socket does: it only names the protocol family that the ioctls are for.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.into();
        Ok(Self {
            name: bytes,
            socket,
        })
    }

    /// Sets the address and the length of its network prefix.
    pub(crate) fn set_address(&self, address: Ipv4Addr, prefix_len: u8) -> io::Result<()> {
        let mask = u32::MAX
            .checked_shl(32 - u32::from(prefix_len))
            .unwrap_or(0);
        self.request(libc::SIOCSIFADDR, ifru_addr(address))?;
        self.request(libc::SIOCSIFNETMASK, ifru_addr(Ipv4Addr::from_bits(mask)))
    }

    /// Takes the interface into service.
    pub(crate) fn up(&self) -> io::Result<()> {
        let flags =
            libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).map_err(io::Error::other)?;
        self.request(
            libc::SIOCSIFFLAGS,
            libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
        )
    }

    /// Makes `gateway`, which must be on this interface's network, the default route.
    pub(crate) fn default_route(&self, gateway: Ipv4Addr) -> io::Result<()> {
        // SAFETY: `rtentry` is plain data, for which all zeroes is a valid value.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = sockaddr(Ipv4Addr::UNSPECIFIED);
        route.rt_genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
        route.rt_gateway = sockaddr(gateway);
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        // SAFETY: the request reads one `rtentry`, which lives until the call returns; its device name is null.
        check(unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCADDRT, &raw const route) })
    }

    fn request(&self, request: libc::Ioctl, value: libc::__c_anonymous_ifr_ifru) -> io::Result<()> {
        let argument = libc::ifreq {
            ifr_name: self.name,
            ifr_ifru: value,
        };
        // SAFETY: the requests that this module makes read one `ifreq`, which lives until the call returns.
        check(unsafe { libc::ioctl(self.socket.as_raw_fd(), request, &raw const argument) })
    }
}

fn ifru_addr(address: Ipv4Addr) -> libc::__c_anonymous_ifr_ifru {
    libc::__c_anonymous_ifr_ifru {
        ifru_addr: sockaddr(address),
    }
}

/// `address` as the kernel's generic socket address: family, port 0, four bytes in network order.
fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    libc::sockaddr {
        sa_family: AF_INET,
        sa_data: data,
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
