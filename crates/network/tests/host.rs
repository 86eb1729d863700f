//! What an instance changes of the host itself. One test alone, since these settings belong to all instances.
#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]

mod bed;

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};

use bed::{Bed, LONG, SHORT};
use nix::sys::socket::{getsockopt, sockopt};
use wrenn_network::GATEWAY_ADDRESS;
use wrenn_testkit::world::{self, INTERNET, Service};

const SWITCH: &str = "/proc/sys/net/ipv4/ip_forward";

fn forwards() -> bool {
    std::fs::read_to_string(SWITCH).unwrap().trim() == "1"
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_and_segment_sizes_are_the_hosts() {
    world::require();
    std::fs::write(SWITCH, "0").unwrap();
    let (first, second) = (Bed::make().await, Bed::make().await);
    assert!(forwards());
    first.close().await;
    assert!(forwards(), "another instance needs it");
    second.close().await;
    assert!(!forwards(), "it was off before the first came");

    std::fs::write(SWITCH, "1").unwrap();
    Bed::make().await.close().await;
    assert!(forwards(), "it was on before");

    narrow_uplinks_make_small_segments().await;
    an_uplink_and_a_resolver_that_come_back_are_used_again().await;
}

/// The rules know the uplink by its name and the resolver by its address: nothing has to be told that they are back.
async fn an_uplink_and_a_resolver_that_come_back_are_used_again() {
    const PORT: u16 = 4303;
    const QUESTION: &[u8] = &[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let _echo = Service::tcp_echo(PORT).unwrap();
    let reaches = |limit| one.guest.connect((INTERNET, PORT), limit).is_ok();
    let asks = |limit| {
        one.guest
            .ask_udp((GATEWAY_ADDRESS, 53), QUESTION, limit)
            .is_ok()
    };
    let dns = Service::dns(INTERNET).unwrap();
    assert!(reaches(LONG) && asks(LONG));
    bed::ip("link set uplink down");
    assert!(!reaches(SHORT) && !asks(SHORT));
    bed::ip("link set uplink up");
    bed::ip("route add default via 192.168.77.1");
    assert!(reaches(LONG) && asks(LONG));
    drop(dns);
    assert!(!asks(SHORT));
    let _dns = Service::dns(INTERNET).unwrap();
    assert!(asks(LONG));
    drop(one);
    bed.close().await;
}

/// What the guest and its peer agree on fits through the uplink, though the guest knows nothing of it.
async fn narrow_uplinks_make_small_segments() {
    const PORT: u16 = 4301;
    const MTU: u16 = 1400;
    bed::ip(&format!("link set uplink mtu {MTU}"));
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let listener = world::outside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))).unwrap();
    let mut stream = one.guest.connect((INTERNET, PORT), LONG).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let segment = getsockopt(&accepted, sockopt::TcpMaxSeg).unwrap();
    assert!(segment <= u32::from(MTU) - 40, "{segment}");
    drop(accepted);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    drop(one);
    bed.close().await;
    bed::ip("link set uplink mtu 1500");
}
