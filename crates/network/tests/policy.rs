//! Policies with real packets: each rule both ways, changes under connections that stand, no packet between two policies.
#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]

mod bed;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bed::{Bed, Inhabited, LONG, SHORT};
use wrenn_model::{NetworkPolicy, Subnet};
use wrenn_network::{GATEWAY_ADDRESS, GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC, Network, Refused};
use wrenn_testkit::guest::udp_frame;
use wrenn_testkit::world::{
    HOST, INTERNET, LAN_NEIGHBOUR, METADATA, OTHER_INTERNET, RESOLVER, Service, Tape, eventually,
    outside,
};

/// A question for the name `a`.
const QUESTION: &[u8] = &[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];

fn policy(internet: bool, allow: &[Ipv4Addr], deny: &[Ipv4Addr]) -> NetworkPolicy {
    let hosts = |addresses: &[Ipv4Addr]| addresses.iter().copied().map(Subnet::host).collect();
    NetworkPolicy {
        internet,
        allow: hosts(allow),
        deny: hosts(deny),
    }
}

fn range(text: &str) -> Subnet {
    text.parse().unwrap()
}

/// Whether a connection from the guest comes about.
fn connects(from: &Inhabited, to: Ipv4Addr, port: u16) -> bool {
    // What is refused is told at once.
    from.guest.connect((to, port), LONG).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_holds_both_ways() {
    const PORT: u16 = 4401;
    let bed = Bed::make_with(|config| config.opened = vec![range("192.168.77.0/24")]).await;
    let _outside = Service::tcp_echo(PORT).unwrap();
    // Internet, the other address of it, the opened LAN.
    for (policy, expected) in [
        (NetworkPolicy::default(), [true, true, false]),
        (policy(false, &[], &[]), [false, false, false]),
        (policy(false, &[INTERNET], &[]), [true, false, false]),
        (policy(true, &[], &[INTERNET]), [false, true, false]),
        (policy(true, &[INTERNET], &[INTERNET]), [false, true, false]),
        (policy(true, &[LAN_NEIGHBOUR], &[]), [true, true, true]),
        (policy(false, &[LAN_NEIGHBOUR], &[]), [false, false, true]),
        (
            policy(true, &[LAN_NEIGHBOUR], &[LAN_NEIGHBOUR]),
            [true, true, false],
        ),
    ] {
        let one = bed.inhabited_under(&policy).await;
        let reached =
            [INTERNET, OTHER_INTERNET, LAN_NEIGHBOUR].map(|address| connects(&one, address, PORT));
        assert_eq!(reached, expected, "{policy:?}");
        bed.network.remove(one.slot.plan()).await.unwrap();
    }
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_opens_what_is_protected() {
    const PORT: u16 = 4402;
    let bed = Bed::make_with(|config| config.opened = vec![range("192.168.0.0/16")]).await;
    let everything = NetworkPolicy {
        internet: true,
        allow: vec![
            range("0.0.0.0/0"),
            range("10.0.0.0/7"),
            range("192.168.0.0/16"),
        ],
        deny: Vec::new(),
    };
    bed.network.check(&everything).unwrap();
    let (one, other) = (
        bed.inhabited_under(&everything).await,
        bed.inhabited().await,
    );
    let tape = Tape::start().unwrap();
    let on_host = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    let on_other = other
        .guest
        .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))
        .unwrap();
    let plan = other.slot.plan();
    let private_elsewhere = Ipv4Addr::new(10, 200, 0, 1);
    for closed in [
        HOST,
        METADATA,
        plan.host_ip,
        plan.veth_host,
        plan.veth_slot,
        private_elsewhere,
    ] {
        let frame = udp_frame(GUEST_MAC, GATEWAY_MAC, GUEST_ADDRESS, closed, PORT);
        one.guest.inject(&frame).unwrap();
    }
    one.guest
        .send_udp((LAN_NEIGHBOUR, PORT), b"opened")
        .unwrap();
    assert!(tape.sees(|packet| packet.destination == LAN_NEIGHBOUR && packet.port == PORT));
    let arrived = tape
        .packets()
        .into_iter()
        .filter(|packet| packet.port == PORT);
    assert_eq!(arrived.count(), 1);
    assert!(!bed::received(&on_host, SHORT), "the host was reached");
    assert!(
        !bed::received(&on_other, SHORT),
        "another guest was reached"
    );
    let metadata = bed.network.check(&policy(true, &[METADATA], &[]));
    assert!(
        matches!(metadata, Err(Refused::Protected(_))),
        "{metadata:?}"
    );
    drop((one, other));
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_asked_of_nobody_else_and_of_nobody_without_a_way_out() {
    let bed = Bed::make().await;
    let dns = Service::dns(INTERNET).unwrap();
    let elsewhere = outside(|| UdpSocket::bind((INTERNET, 53))).unwrap();
    let _elsewhere = Service::udp(elsewhere, |question| Some(question.to_vec())).unwrap();
    let _over_tcp = Service::tcp_echo(53).unwrap();
    let _over_tls = Service::tcp_echo(853).unwrap();
    let allowed = policy(false, &[INTERNET], &[]);
    for (policy, answered) in [
        (NetworkPolicy::default(), true),
        (allowed, true),
        (policy(false, &[], &[OTHER_INTERNET]), false),
    ] {
        let one = bed.inhabited_under(&policy).await;
        let ask = |address| one.guest.ask_udp((address, 53), QUESTION, SHORT).is_ok();
        assert_eq!(ask(GATEWAY_ADDRESS), answered, "{policy:?}");
        assert!(!ask(INTERNET) && !ask(RESOLVER), "{policy:?}");
        assert!(!connects(&one, INTERNET, 53) && !connects(&one, INTERNET, 853));
        bed.network.remove(one.slot.plan()).await.unwrap();
    }
    assert_eq!(dns.callers().len(), 2);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_at_once() {
    let bed = Bed::make().await;
    let one = bed.inhabited_under(&policy(false, &[], &[])).await;
    let refused = one.guest.connect((INTERNET, 4403), LONG).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let told = one.guest.ask_udp((INTERNET, 4403), b"x", LONG).unwrap_err();
    assert_eq!(told.raw_os_error(), Some(libc::EHOSTUNREACH), "{told}");
    drop(one);
    bed.close().await;
}

/// Says something and hears it again.
fn echoes(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SHORT)).unwrap();
    let mut heard = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut heard).is_ok() && &heard == b"ping"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_cuts_what_it_forbids_and_nothing_else() {
    const PORT: u16 = 4404;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let _outside = Service::tcp_echo(PORT).unwrap();
    let connect = |to| one.guest.connect((to, PORT), LONG).unwrap();
    let (mut cut, mut kept) = (connect(INTERNET), connect(OTHER_INTERNET));
    // Somebody outside who goes on talking, as UDP may.
    let talker = outside(|| UdpSocket::bind((INTERNET, PORT))).unwrap();
    let listener = one
        .guest
        .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))
        .unwrap();
    listener.send_to(b"hello", (INTERNET, PORT)).unwrap();
    let (_, caller) = talker.recv_from(&mut [0; 8]).unwrap();
    talker.send_to(b"answer", caller).unwrap();
    assert!(bed::received(&listener, LONG));
    assert!(echoes(&mut cut) && echoes(&mut kept));

    change(&bed.network, &one, &policy(true, &[], &[INTERNET])).await;
    talker.send_to(b"still here", caller).unwrap();
    assert!(!bed::received(&listener, SHORT), "inward is cut too");
    assert!(!echoes(&mut cut), "an established connection goes on");
    assert!(echoes(&mut kept), "another one broke");

    change(&bed.network, &one, &NetworkPolicy::default()).await;
    assert!(echoes(&mut kept) && connects(&one, INTERNET, PORT));
    drop(one);
    bed.close().await;
}

async fn change(network: &Network, one: &Inhabited, policy: &NetworkPolicy) {
    network.change(one.slot.plan(), policy).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_slot_is_under_the_policy_that_is_said_then() {
    const PORT: u16 = 4405;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let _outside = Service::tcp_echo(PORT).unwrap();
    let connect = |to| one.guest.connect((to, PORT), LONG).unwrap();
    let (mut cut, mut kept) = (connect(INTERNET), connect(OTHER_INTERNET));
    assert!(echoes(&mut cut) && echoes(&mut kept));
    let again = Network::open(bed.config()).await.unwrap();
    again
        .adopt(one.slot.plan(), &policy(true, &[], &[INTERNET]))
        .await
        .unwrap();
    assert!(echoes(&mut kept), "rules written anew let a connection go");
    assert!(!echoes(&mut cut) && !connects(&one, INTERNET, PORT));
    assert!(connects(&one, OTHER_INTERNET, PORT));
    drop((again, one));
    bed.close().await;
}

/// Two hundred slots are taken up in the time that the kernel needs to take the old rules of a few apart.
#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_slot_s_rules_are_written_anew_only_where_others_stand() {
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let (open, closed) = (NetworkPolicy::default(), policy(false, &[], &[]));
    let made = tables(&one);
    assert!(made.contains("handle"), "{made}");
    bed.network.adopt(one.slot.plan(), &open).await.unwrap();
    assert_eq!(tables(&one), made);

    // As if the agent had died between its record and the rules, also when the record says what was written first.
    change(&bed.network, &one, &closed).await;
    bed.network.adopt(one.slot.plan(), &open).await.unwrap();
    let anew = tables(&one);
    assert_ne!(anew, made);
    bed.network.adopt(one.slot.plan(), &open).await.unwrap();
    assert_eq!(tables(&one), anew);
    bed.network.adopt(one.slot.plan(), &closed).await.unwrap();
    assert_ne!(tables(&one), anew);
    drop(one);
    bed.close().await;
}

/// The slot's tables, each with a number that no later one has.
fn tables(one: &Inhabited) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests look at the kernel by other means than the product"
    )]
    let list = || {
        std::process::Command::new("nft")
            .args(["-a", "list", "ruleset"])
            .output()
    };
    let rules = String::from_utf8(one.inside(list).unwrap().stdout).unwrap();
    let tables = rules.lines().filter(|line| line.starts_with("table"));
    tables.collect::<Vec<_>>().join(", ")
}

/// Floods an address that both policies forbid, and one that both allow, while they take turns.
#[tokio::test(flavor = "multi_thread")]
async fn no_packet_slips_through_between_two_policies() {
    const PORT: u16 = 4406;
    const CHANGES: usize = 100;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    // Forbidden by a list in the one, by there being no internet in the other.
    let turns = [
        policy(true, &[], &[INTERNET]),
        policy(false, &[OTHER_INTERNET], &[]),
    ];
    change(&bed.network, &one, &turns[0]).await;
    let tape = Tape::start().unwrap();
    let flooding = Arc::new(AtomicBool::new(true));
    let end = flooding.clone();
    let flood = one.guest.run(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        Ok(std::thread::spawn(move || {
            while end.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    // Refusals are told to the socket, and are what is wanted.
                    drop(socket.send_to(b"forbidden", (INTERNET, PORT)));
                }
                drop(socket.send_to(b"allowed", (OTHER_INTERNET, PORT)));
                std::thread::sleep(Duration::from_micros(500));
            }
        }))
    });
    let flood = flood.unwrap();
    for turn in 0..CHANGES {
        change(&bed.network, &one, &turns[(turn + 1) % 2]).await;
    }
    let count = |to| {
        let packets = tape.packets().into_iter();
        packets
            .filter(|packet| packet.port == PORT && packet.destination == to)
            .count()
    };
    let between = count(OTHER_INTERNET);
    assert!(eventually(|| count(OTHER_INTERNET) > between));
    flooding.store(false, Ordering::Relaxed);
    flood.join().unwrap();
    assert_eq!(count(INTERNET), 0, "{between} allowed ones came");
    assert!(between > 0, "the flood never met a change");
    drop(one);
    bed.close().await;
}

/// The longest policies that there are: one transaction takes them.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_policy_is_taken() {
    const PORT: u16 = 4407;
    let opened: Vec<Subnet> = (0..16)
        .map(|n| Subnet::host(Ipv4Addr::new(10, 99, 0, n)))
        .collect();
    let bed = Bed::make_with(|config| config.opened = opened.clone()).await;
    let one = bed.inhabited().await;
    let _outside = Service::tcp_echo(PORT).unwrap();
    let list = |first: u8| -> Vec<Subnet> {
        (0..63)
            .map(|n| Subnet::host(Ipv4Addr::new(first, 0, 0, n)))
            .collect()
    };
    let mut longest = NetworkPolicy {
        internet: false,
        allow: list(8),
        deny: list(9),
    };
    longest.allow.push(range("0.0.0.0/0"));
    longest.deny.push(Subnet::host(OTHER_INTERNET));
    longest.check().unwrap();
    change(&bed.network, &one, &longest).await;
    assert!(connects(&one, INTERNET, PORT) && !connects(&one, OTHER_INTERNET, PORT));
    drop(one);
    bed.close().await;
}
