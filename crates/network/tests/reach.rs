//! What does get through: the agent and root of the host to the guest, the guest's questions for names.

mod bed;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use bed::{Bed, LONG, SHORT, connect_as};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wrenn_network::{ENVD_PORT, GATEWAY_ADDRESS, GUEST_ADDRESS};
use wrenn_testkit::world::{self, HOST, INTERNET, RESOLVER, ROUTER, Service};

/// A question for the name `a`.
const QUESTION: &[u8] = &[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];

#[tokio::test(flavor = "multi_thread")]
async fn root_of_the_host_reaches_the_guest_and_nobody_else_does() {
    const PORT: u16 = 4101;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let service = Service::tcp_echo_with(one.guest.listen(PORT).unwrap()).unwrap();
    let address = (one.host_ip(), PORT);
    let mut stream = connect_as(0, address, LONG).unwrap();
    stream.write_all(b"over and back").unwrap();
    let mut answer = [0; 13];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"over and back");
    assert_eq!(
        service.callers()[0].ip(),
        GATEWAY_ADDRESS,
        "the guest sees its gateway"
    );
    connect_as(65_534, address, SHORT).unwrap_err();
    let veth_slot = one.slot.plan().veth_slot;
    for destination in [one.host_ip(), veth_slot] {
        let from_lan =
            world::outside(move || TcpStream::connect_timeout(&(destination, PORT).into(), SHORT));
        from_lan.unwrap_err();
    }
    assert_eq!(service.callers().len(), 1);
    drop((service, one));
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_from_the_lan_do_not_even_arrive() {
    const PORT: u16 = 4107;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let in_guest = one
        .guest
        .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))
        .unwrap();
    let in_slot = one
        .inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))
        .unwrap();
    let (to_guest, to_slot) = (one.host_ip(), one.slot.plan().veth_slot);
    for destination in [to_guest, to_slot] {
        let send = move || UdpSocket::bind((ROUTER, 0))?.send_to(b"knock", (destination, PORT));
        world::outside(send).unwrap();
    }
    assert!(!bed::received(&in_guest, SHORT) && !bed::received(&in_slot, SHORT));
    // A packet that looks like one from the LAN is not let into the slot either.
    let as_lan = UdpSocket::bind((HOST, 0)).unwrap();
    as_lan.send_to(b"knock", (to_guest, PORT)).unwrap();
    assert!(!bed::received(&in_guest, SHORT));
    let host = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    host.send_to(b"knock", (to_slot, PORT)).unwrap();
    host.send_to(b"knock", (to_guest, PORT)).unwrap();
    assert!(bed::received(&in_guest, LONG), "root of the host may");
    assert!(
        !bed::received(&in_slot, SHORT),
        "the slot itself has no services"
    );
    drop(one);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envd_is_reached_from_inside_the_slot_alone() {
    let bed = Bed::make().await;
    let (one, other) = (bed.inhabited().await, bed.inhabited().await);
    let _envd = Service::tcp_echo_with(one.guest.listen(ENVD_PORT).unwrap()).unwrap();
    connect_as(0, (one.host_ip(), ENVD_PORT), SHORT).unwrap_err();
    other
        .guest
        .connect((one.host_ip(), ENVD_PORT), SHORT)
        .unwrap_err();
    let dialer = one.slot.dialer();
    let mut stream = dialer.connect(ENVD_PORT).await.unwrap();
    stream.write_all(b"health").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"health");
    assert!(stream.nodelay().unwrap());
    let closed = dialer.connect(ENVD_PORT + 1).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::ConnectionRefused);
    bed.network.remove(one.slot.plan()).await.unwrap();
    let gone = dialer.connect(ENVD_PORT).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    drop((one, other));
    bed.close().await;
}

/// Else a guest that fills the table of connections would be out of the agent's reach.
#[tokio::test(flavor = "multi_thread")]
async fn the_agents_calls_take_no_room_in_the_table_of_connections() {
    const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let _envd = Service::tcp_echo_with(one.guest.listen(ENVD_PORT).unwrap()).unwrap();
    let tracked = || one.inside(|| std::fs::read_to_string(COUNT)).unwrap();
    let mut stream = one.slot.dialer().connect(ENVD_PORT).await.unwrap();
    stream.write_all(b"health").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!((&answer, tracked().trim()), (b"health", "0"));
    // Answers pass, and nothing that a guest begins from the same port: somebody listens here, and never hears of it.
    let other = bed.inhabited().await;
    let listening = || TcpListener::bind((GATEWAY_ADDRESS, 4302));
    let _listener = other.inside(listening).unwrap();
    let begun = other.guest.run(|| {
        let socket = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::empty(),
            None,
        )?;
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(0, 300_000))?;
        let at = |address, port| SockaddrIn::from(SocketAddrV4::new(address, port));
        bind(socket.as_raw_fd(), &at(GUEST_ADDRESS, ENVD_PORT))?;
        Ok(connect(socket.as_raw_fd(), &at(GATEWAY_ADDRESS, 4302))?)
    });
    let silence = begun.unwrap_err();
    assert_eq!(
        silence.raw_os_error(),
        Some(Errno::EINPROGRESS as i32),
        "{silence}"
    );
    drop(other);
    drop(stream);
    drop(one);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_asked_of_the_gateway() {
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let dns = Service::dns(INTERNET).unwrap();
    let answer = one
        .guest
        .ask_udp((GATEWAY_ADDRESS, 53), QUESTION, LONG)
        .unwrap();
    assert!(answer.ends_with(&INTERNET.octets()));
    assert_eq!(dns.callers()[0].ip(), HOST);
    one.guest
        .ask_udp((RESOLVER, 53), QUESTION, SHORT)
        .unwrap_err();
    one.guest
        .ask_udp((one.slot.plan().veth_host, 53), QUESTION, SHORT)
        .unwrap_err();
    one.guest
        .ask_udp((GATEWAY_ADDRESS, 54), QUESTION, SHORT)
        .unwrap_err();
    assert_eq!(dns.callers().len(), 1);
    drop((dns, one));
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_on_the_host_itself_is_asked_too_and_nothing_else_there() {
    let own = UdpSocket::bind((HOST, 53)).unwrap();
    let bed = Bed::make_with(|config| config.resolvers = vec![HOST]).await;
    let one = bed.inhabited().await;
    let dns = Service::udp(own, |question| Some(question.to_vec())).unwrap();
    let answer = one
        .guest
        .ask_udp((GATEWAY_ADDRESS, 53), QUESTION, LONG)
        .unwrap();
    assert_eq!(answer, QUESTION);
    one.guest.ask_udp((HOST, 53), QUESTION, SHORT).unwrap_err();
    assert_eq!(dns.callers().len(), 1);
    drop((dns, one));
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_goes_to_the_internet_and_comes_back() {
    const PORT: u16 = 4105;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let _outside = Service::tcp_echo(PORT).unwrap();
    let stream = one.guest.connect((INTERNET, PORT), LONG).unwrap();
    let sent: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    let (mut reader, mut writer) = (stream.try_clone().unwrap(), stream);
    let received = std::thread::spawn(move || {
        let mut received = vec![0; 1 << 20];
        reader.read_exact(&mut received).map(|()| received)
    });
    writer.write_all(&sent).unwrap();
    assert!(received.join().unwrap().unwrap() == sent);
    drop(one);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_answers_come_back() {
    const PORT: u16 = 4106;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let outside = Service::udp_echo(INTERNET, PORT).unwrap();
    assert_eq!(
        one.guest.ask_udp((INTERNET, PORT), b"ping", LONG).unwrap(),
        b"ping"
    );
    assert_eq!(outside.callers()[0].ip(), HOST);
    drop(one);
    bed.close().await;
}
