//! The guest's one link: fixed addresses, the same in every guest.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket};
use wrenn_envd_api::guest::{ADDRESS, GATEWAY, INTERFACE, PORT, PREFIX_LEN};

use crate::sys::filter;
use crate::sys::interface::Interface;

/// Takes loopback and the link into service and sets the default route. Slots have no IPv6, so the link does not look for
/// it.
pub(super) fn configure() -> io::Result<()> {
    let loopback = Interface::new("lo")?;
    loopback.set_address(Ipv4Addr::LOCALHOST, 8)?;
    loopback.up()?;

    // Absent in a kernel without IPv6.
    drop(fs::write(
        format!("/proc/sys/net/ipv6/conf/{INTERFACE}/disable_ipv6"),
        "1",
    ));
    let link = Interface::new(INTERFACE)?;
    link.set_address(ADDRESS, PREFIX_LEN)?;
    link.up()?;
    link.default_route(GATEWAY)
}

/// How many connections may wait to be taken.
const BACKLOG: u32 = 1024;

/// Listens for the host: on the link alone, by which only the host can come. A guest's own programs get no answer, and
/// however many connections they try to open, the queue and the agent's room for connections stay the host's.
pub(super) fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    filter::only_from(&socket, INTERFACE)?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))?;
    socket.listen(BACKLOG)
}

/// Makes the gateway the resolver. What stood there goes, above all a link to a resolver that does not run here.
pub(super) fn write_resolver() -> io::Result<()> {
    let path = Path::new("/etc/resolv.conf");
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::write(path, format!("nameserver {GATEWAY}\n"))
}
