//! What a guest must not reach, with real packets: each forbidden one does not arrive, an allowed one after it does.

mod bed;

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use bed::{Bed, LONG, SHORT, received};
use wrenn_network::{GATEWAY_ADDRESS, GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC, PRIVATE, PROTECTED};
use wrenn_testkit::guest::{arp_request, ethernet, udp_frame};
use wrenn_testkit::world::{
    HOST, INTERNET, LAN_NEIGHBOUR, METADATA, OTHER_INTERNET, RESOLVER, ROUTER, Service, Tape,
};

/// Addresses in every range that is denied, and the neighbourhood of this host.
fn forbidden() -> Vec<Ipv4Addr> {
    let mut all: Vec<_> = PROTECTED
        .iter()
        .chain(&PRIVATE)
        .map(|subnet| {
            Ipv4Addr::from_bits(subnet.address().to_bits() | u32::from(subnet.prefix() < 32))
        })
        .collect();
    all.extend([HOST, ROUTER, LAN_NEIGHBOUR, RESOLVER, METADATA]);
    all.extend([
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 251),
        Ipv4Addr::new(192, 168, 77, 255),
    ]);
    all
}

fn from_guest(destination: Ipv4Addr, port: u16) -> Vec<u8> {
    udp_frame(GUEST_MAC, GATEWAY_MAC, GUEST_ADDRESS, destination, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_public_internet_is_reached() {
    const PORT: u16 = 4001;
    let bed = Bed::make().await;
    let (one, other) = (bed.inhabited().await, bed.inhabited().await);
    let tape = Tape::start().unwrap();
    let on_host = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    let on_other = other
        .guest
        .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))
        .unwrap();
    let mut destinations = forbidden();
    for plan in [one.slot.plan(), other.slot.plan()] {
        destinations.extend([plan.host_ip, plan.veth_host, plan.veth_slot]);
    }
    for destination in destinations {
        one.guest.inject(&from_guest(destination, PORT)).unwrap();
    }
    one.guest.inject(&from_guest(INTERNET, PORT)).unwrap();
    assert!(tape.sees(|packet| packet.destination == INTERNET && packet.port == PORT));
    let arrived: Vec<_> = tape
        .packets()
        .into_iter()
        .filter(|packet| packet.port == PORT)
        .collect();
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    assert_eq!(arrived[0].source, HOST, "the slot's address is masqueraded");
    assert!(!received(&on_host, SHORT), "the host was reached");
    assert!(!received(&on_other, SHORT), "another guest was reached");
    drop((one, other));
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_opened_to_the_host_or_its_neighbours() {
    const PORT: u16 = 4002;
    let bed = Bed::make().await;
    let (one, other) = (bed.inhabited().await, bed.inhabited().await);
    let _outside = Service::tcp_echo(PORT).unwrap();
    let _host =
        Service::tcp_echo_with(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap()).unwrap();
    let _guest = Service::tcp_echo_with(other.guest.listen(PORT).unwrap()).unwrap();
    let inside = one.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)));
    let _slot = Service::tcp_echo_with(inside.unwrap()).unwrap();
    let own_end = one.slot.plan().veth_slot;
    let mut destinations = vec![HOST, LAN_NEIGHBOUR, METADATA, GATEWAY_ADDRESS, own_end];
    destinations.extend([
        one.slot.plan().veth_host,
        other.host_ip(),
        other.slot.plan().veth_slot,
    ]);
    for destination in destinations {
        let refused = one.guest.connect((destination, PORT), SHORT);
        assert!(refused.is_err(), "{destination} was reached");
    }
    one.guest.connect((INTERNET, PORT), LONG).unwrap();
    one.guest.connect((OTHER_INTERNET, PORT), LONG).unwrap();
    drop((one, other));
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_does_not_make_the_host_public() {
    const PORT: u16 = 4007;
    let public = Ipv4Addr::new(5, 6, 7, 8);
    bed::ip(&format!("address add {public}/32 dev lo"));
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let _outside = Service::tcp_echo(PORT).unwrap();
    let host = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    let host = Service::tcp_echo_with(host).unwrap();
    one.guest.connect((public, PORT), SHORT).unwrap_err();
    one.guest.connect((INTERNET, PORT), LONG).unwrap();
    assert!(host.callers().is_empty());
    drop(one);
    bed.close().await;
    bed::ip(&format!("address delete {public}/32 dev lo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_uplink_leads_out() {
    const PORT: u16 = 4008;
    let (behind, tape) = (Ipv4Addr::new(7, 7, 7, 9), Tape::start().unwrap());
    bed::ip("link add side type veth peer name far netns outside");
    bed::ip("address add 7.7.7.1/24 dev side");
    bed::ip("link set side up");
    bed::ip("-n outside link set far up");
    bed::ip("-n outside address add 7.7.7.9/24 dev far");
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    one.guest.inject(&from_guest(behind, PORT)).unwrap();
    one.guest.inject(&from_guest(INTERNET, PORT)).unwrap();
    assert!(tape.sees(|packet| packet.destination == INTERNET && packet.port == PORT));
    assert_eq!(tape.count_to(behind), 0);
    // The way is open: the host itself may use it.
    let host = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    host.send_to(b"knock", (behind, PORT)).unwrap();
    assert!(tape.sees(|packet| packet.destination == behind));
    drop(one);
    bed.close().await;
    bed::ip("link delete side");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_do_not_reach_each_other() {
    const PORT: u16 = 4003;
    let (mine, theirs) = (Bed::make().await, Bed::make().await);
    assert_ne!(mine.network.ranges(), theirs.network.ranges());
    let (one, other) = (mine.inhabited().await, theirs.inhabited().await);
    let _guest = Service::tcp_echo_with(other.guest.listen(PORT).unwrap()).unwrap();
    assert!(one.guest.connect((other.host_ip(), PORT), SHORT).is_err());
    assert!(
        one.guest
            .connect((other.slot.plan().veth_slot, PORT), SHORT)
            .is_err()
    );
    bed::connect_as(0, (other.host_ip(), PORT), LONG).unwrap();
    // One goes, the other stays as it was.
    drop(one);
    mine.close().await;
    bed::connect_as(0, (other.host_ip(), PORT), LONG).unwrap();
    let _outside = Service::tcp_echo(PORT + 10).unwrap();
    other.guest.connect((INTERNET, PORT + 10), LONG).unwrap();
    drop(other);
    theirs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sends_as_itself_or_not_at_all() {
    const PORT: u16 = 4004;
    const STRANGE_MAC: [u8; 6] = [0x02, 0xfc, 0, 0, 0, 0x66];
    let bed = Bed::make().await;
    let (one, other) = (bed.inhabited().await, bed.inhabited().await);
    let tape = Tape::start().unwrap();
    let plan = one.slot.plan();
    one.trust_all_sources();
    let strange_addresses = [
        plan.veth_slot,
        plan.host_ip,
        other.slot.plan().veth_slot,
        GATEWAY_ADDRESS,
        HOST,
        OTHER_INTERNET,
        Ipv4Addr::UNSPECIFIED,
    ];
    for address in strange_addresses {
        let frame = udp_frame(GUEST_MAC, GATEWAY_MAC, address, INTERNET, PORT);
        one.guest.inject(&frame).unwrap();
    }
    one.guest
        .inject(&udp_frame(
            STRANGE_MAC,
            GATEWAY_MAC,
            GUEST_ADDRESS,
            INTERNET,
            PORT,
        ))
        .unwrap();
    // In a VLAN, and as another protocol than IPv4 or ARP.
    let proper = from_guest(INTERNET, PORT);
    let mut tagged = proper.clone();
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    one.guest.inject(&tagged).unwrap();
    one.guest
        .inject(&[&ethernet(GATEWAY_MAC, GUEST_MAC, 0x88b5)[..], &[0; 60]].concat())
        .unwrap();
    one.guest.inject(&[1; 9]).unwrap_err();
    one.guest.inject(&from_guest(INTERNET, PORT + 10)).unwrap();
    assert!(tape.sees(|packet| packet.port == PORT + 10));
    let spoofed = tape
        .packets()
        .into_iter()
        .filter(|packet| packet.port == PORT)
        .count();
    assert_eq!(spoofed, 0);
    one.guest.inject(&proper).unwrap();
    assert!(tape.sees(|packet| packet.port == PORT && packet.source == HOST));
    drop((one, other));
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn false_claims_in_arp_change_nothing() {
    const PORT: u16 = 4005;
    const STRANGE_MAC: [u8; 6] = [0x02, 0xfc, 0, 0, 0, 0x66];
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    one.trust_all_sources();
    let stranger = Ipv4Addr::new(169, 254, 0, 23);
    for (frame_mac, sender_mac, sender) in [
        (STRANGE_MAC, STRANGE_MAC, GUEST_ADDRESS),
        (GUEST_MAC, STRANGE_MAC, GUEST_ADDRESS),
        (GUEST_MAC, GUEST_MAC, stranger),
        (GUEST_MAC, GUEST_MAC, one.slot.plan().veth_host),
    ] {
        let claim = arp_request(frame_mac, sender_mac, sender, GATEWAY_ADDRESS);
        one.guest.inject(&claim).unwrap();
    }
    // The guest's own question is answered: it can speak.
    let _outside = Service::tcp_echo(PORT).unwrap();
    one.guest.connect((INTERNET, PORT), LONG).unwrap();
    let neighbours = one.inside(|| std::fs::read_to_string("/proc/thread-self/net/arp"));
    let neighbours = neighbours.unwrap();
    let on_tap: Vec<_> = neighbours
        .lines()
        .filter(|line| line.ends_with("tap0"))
        .collect();
    assert_eq!(on_tap.len(), 1, "{neighbours}");
    assert!(on_tap[0].contains("02:fc:00:00:00:05"), "{neighbours}");
    drop(one);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_not_spoken() {
    const PORT: u16 = 4006;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let plan = one.slot.plan().clone();
    let received = || {
        let counters = one.inside(|| std::fs::read_to_string("/proc/thread-self/net/snmp6"));
        let counters = counters.unwrap();
        let line = counters
            .lines()
            .find(|line| line.starts_with("Ip6InReceives"))
            .unwrap()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    // A neighbour solicitation to all nodes is as good as any: version 6, hop limit 255, ICMPv6.
    let mut solicitation = ethernet([0x33, 0x33, 0, 0, 0, 1], GUEST_MAC, 0x86dd);
    solicitation.extend([0x60, 0, 0, 0, 0, 8, 58, 255]);
    solicitation.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    solicitation.extend([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    solicitation.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    one.guest.inject(&solicitation).unwrap();
    let _outside = Service::tcp_echo(PORT).unwrap();
    one.guest.connect((INTERNET, PORT), LONG).unwrap();
    assert_eq!(received(), 0);
    let host_side = std::fs::read_to_string(format!(
        "/proc/sys/net/ipv6/conf/{}/disable_ipv6",
        plan.veth
    ));
    assert_eq!(host_side.unwrap().trim(), "1");
    drop(one);
    bed.close().await;
}
