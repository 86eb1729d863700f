//! A guest that goes where it may not, and as who it is not: real packets of a real microVM. What is forbidden does not
//! arrive, and what is allowed does.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use wrenn_client::api::ExecRequest;
use wrenn_network::limits;
use wrenn_testkit::world::{
    HOST, INTERNET, LAN_NEIGHBOUR, METADATA, OTHER_INTERNET, RESOLVER, ROUTER, Service, Tape,
};

use crate::harness::{Attack, TestSandbox, assert_undisturbed, python_with, shared};

/// The ports of what commonly runs on a host, beside the test's own and the server's.
const WELL_KNOWN: [u16; 14] = [
    22, 25, 53, 80, 111, 443, 2049, 2375, 3128, 5432, 6379, 6443, 9090, 49_983,
];

/// A script that has a minute.
fn script(script: &str, args: &[String]) -> ExecRequest {
    ExecRequest {
        timeout_sec: Some(60),
        ..python_with(script, args)
    }
}

/// Addresses that are none of a guest's business: the host's, its LAN's, a cloud's, and another guest's.
fn forbidden(neighbour: &TestSandbox) -> Vec<Ipv4Addr> {
    let guest: Ipv4Addr = neighbour.host_ip.as_deref().unwrap().parse().unwrap();
    let mut addresses = vec![
        HOST,
        ROUTER,
        LAN_NEIGHBOUR,
        RESOLVER,
        METADATA,
        guest,
        Ipv4Addr::new(10, 0, 0, 1),
        Ipv4Addr::new(172, 16, 0, 1),
        Ipv4Addr::new(100, 64, 0, 1),
    ];
    addresses.extend(host_addresses());
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// All addresses that the host has now, both ends of slots included.
fn host_addresses() -> Vec<Ipv4Addr> {
    let trie = std::fs::read_to_string("/proc/net/fib_trie").unwrap();
    let lines: Vec<_> = trie.lines().collect();
    let local = lines
        .windows(2)
        .filter(|pair| pair[1].contains("/32 host LOCAL"));
    let address = |pair: &[&str]| pair[0].rsplit(' ').next()?.parse::<Ipv4Addr>().ok();
    let mut addresses: Vec<_> = local.filter_map(address).collect();
    addresses.retain(|address| !address.is_loopback());
    assert!(addresses.contains(&HOST), "{addresses:?}");
    addresses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_the_internet_and_nothing_else() {
    const PORT: u16 = 4021;
    let server = shared();
    let client = server.client();
    let (one, neighbour) = tokio::join!(TestSandbox::create(&client), TestSandbox::create(&client));
    let _outside = Service::tcp_echo(PORT).unwrap();
    let on_host = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    let on_host = Service::tcp_echo_with(on_host).unwrap();
    let serve = format!("python3 -m http.server {PORT} --bind 0.0.0.0");
    neighbour.begin(&serve).await;

    let api: u16 = server.url().rsplit(':').next().unwrap().parse().unwrap();
    let ports: Vec<_> = [PORT, api].into_iter().chain(WELL_KNOWN).collect();
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    let mut addresses = forbidden(&neighbour);
    addresses.extend([INTERNET, OTHER_INTERNET]);
    let mut args = vec![ports.join(",")];
    args.extend(addresses.iter().map(Ipv4Addr::to_string));
    let said = one
        .exec(&script(include_str!("attacks/probe.py"), &args))
        .await
        .unwrap();
    let mut open: Vec<_> = said.stdout.lines().collect();
    open.sort_unstable();
    assert_eq!(
        open,
        [
            format!("{INTERNET}:{PORT}"),
            format!("{OTHER_INTERNET}:{PORT}")
        ],
        "{}",
        said.stderr
    );
    assert_eq!(on_host.callers(), [], "the host was reached");
    one.delete().await;
    neighbour.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_frame_speaks_for_another() {
    const PORT: u16 = 4022;
    let server = shared();
    let client = server.client();
    let (one, neighbour) = tokio::join!(TestSandbox::create(&client), TestSandbox::create(&client));
    let tape = Tape::start().unwrap();
    let _outside = Service::tcp_echo(PORT + 10).unwrap();
    let good = PORT + 20;
    let mut args = vec![PORT.to_string(), good.to_string(), INTERNET.to_string()];
    args.extend(forbidden(&neighbour).iter().map(Ipv4Addr::to_string));
    let frames = script(include_str!("attacks/frames.py"), &args);
    let said = one.exec(&frames).await.unwrap();
    assert_eq!(said.stdout, "sent\n", "{}", said.stderr);
    assert!(tape.sees(|packet| packet.port == good && packet.source == HOST));

    // It can still speak as itself, and so can its neighbour: nobody believed it.
    let knock = script(
        include_str!("attacks/probe.py"),
        &[(PORT + 10).to_string(), INTERNET.to_string()],
    );
    for sandbox in [&one, &neighbour] {
        let said = sandbox.exec(&knock).await.unwrap();
        assert_eq!(said.stdout, format!("{INTERNET}:{}\n", PORT + 10));
    }
    assert!(tape.sees(|packet| packet.port == PORT + 10 && packet.source == HOST));
    let own: Vec<_> = tape.packets();
    let strange: Vec<_> = own.iter().filter(|packet| packet.port == PORT).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let foreign: Vec<_> = own.iter().filter(|packet| packet.source != HOST).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    one.delete().await;
    neighbour.delete().await;
}

/// How many things a limit lets by in a time: what it gathered in silence, and what it gives since. A busy machine counts
/// a little later than it should.
fn let_by(at_once: u32, per_sec: u32, time: Duration) -> usize {
    let seconds = u32::try_from(time.as_secs()).unwrap() + 2;
    (at_once + per_sec * seconds) as usize
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_packets_is_its_own_trouble() {
    const DATAGRAMS: u16 = 4041;
    const CONNECTIONS: u16 = 4042;
    const ECHO: u16 = 4043;
    let server = shared();
    let client = server.client();
    let (one, neighbour) = tokio::join!(TestSandbox::create(&client), TestSandbox::create(&client));
    let tape = Tape::start().unwrap();
    let _outside = Service::tcp_echo(ECHO).unwrap();
    let args = [
        INTERNET.to_string(),
        DATAGRAMS.to_string(),
        CONNECTIONS.to_string(),
    ];
    let flood = script(include_str!("attacks/packets.py"), &args);
    let knock = script(
        include_str!("attacks/probe.py"),
        &[ECHO.to_string(), INTERNET.to_string()],
    );
    let begun = Instant::now();
    let begin = || async { Attack::begin_request(&one, &flood).await };
    assert_undisturbed("a flood of packets", &neighbour, begin, Attack::end).await;
    let flood = begin().await;
    let said = neighbour.exec(&knock).await.unwrap();
    assert_eq!(said.stdout, format!("{INTERNET}:{ECHO}\n"));
    flood.end().await;
    let knocks = tape
        .packets()
        .into_iter()
        .filter(|packet| packet.protocol == 6 && packet.port == CONNECTIONS)
        .count();
    // A knock that is not answered comes again; whatever is sent of it, none begins a connection beyond the limit.
    let rate = limits::NEW_CONNECTIONS_PER_SEC;
    let most = let_by(2 * rate, rate, begun.elapsed());
    assert!((1..=most).contains(&knocks), "{knocks} of {most}");
    assert_eq!(one.sh("echo well").await, "well\n");
    one.delete().await;
    neighbour.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_carry_little_out() {
    let server = shared();
    let one = TestSandbox::create(&server.client()).await;
    let _resolver = Service::dns(INTERNET).unwrap();
    let tape = Tape::start().unwrap();
    let begun = Instant::now();
    let tunnel = script(include_str!("attacks/tunnel.py"), &[]);
    let asked: usize = one
        .exec(&tunnel)
        .await
        .unwrap()
        .stdout
        .trim()
        .parse()
        .unwrap();
    let taken = begun.elapsed();
    let heard = tape.count_to(RESOLVER);
    let rate = limits::QUESTIONS_PER_SEC;
    let most = let_by(2 * rate, rate, taken);
    eprintln!("{heard} of {asked} questions came through in {taken:?}");
    assert!((10..=most).contains(&heard), "{heard} of {most}");
    assert!(asked > 2 * heard, "{asked} were asked");
    let said = one
        .sh("sleep 3; getent ahostsv4 name.example | head -1")
        .await;
    assert!(said.starts_with(&INTERNET.to_string()), "{said}");
    one.delete().await;
}
