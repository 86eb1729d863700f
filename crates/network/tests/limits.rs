//! How much one guest may use, with real packets, and that what the host does in a slot counts for nothing of it.
#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]

mod bed;

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bed::{Bed, Inhabited, LONG, SHORT, connect_as};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wrenn_network::{ENVD_PORT, GATEWAY_ADDRESS, Limits};
use wrenn_testkit::world::{INTERNET, Service, Tape, eventually, outside};

const MIB: u64 = 1 << 20;

async fn limited(change: impl FnOnce(&mut Limits)) -> (Bed, Inhabited) {
    let bed = Bed::make_with(|config| change(&mut config.limits)).await;
    let one = bed.inhabited().await;
    (bed, one)
}

/// Sends so much and waits until all of it has been read.
fn send(mut from: TcpStream, mut to: TcpStream, bytes: u64) -> Duration {
    let began = Instant::now();
    let reading = std::thread::spawn(move || std::io::copy(&mut to, &mut std::io::sink()).unwrap());
    let piece = vec![7; 64 << 10];
    for _ in 0..bytes / 65_536 {
        from.write_all(&piece).unwrap();
    }
    from.shutdown(Shutdown::Write).unwrap();
    assert_eq!(reading.join().unwrap(), bytes);
    began.elapsed()
}

/// How many packets to this port came out.
fn count(tape: &Tape, port: u16) -> usize {
    let packets = tape.packets().into_iter();
    packets.filter(|packet| packet.port == port).count()
}

/// A connection from the guest to the internet, its two ends.
fn pair(one: &Inhabited, port: u16) -> (TcpStream, TcpStream) {
    let listener = outside(move || TcpListener::bind((INTERNET, port))).unwrap();
    let guest = one.guest.connect((INTERNET, port), LONG).unwrap();
    (guest, listener.accept().unwrap().0)
}

#[tokio::test(flavor = "multi_thread")]
async fn bandwidth_is_bounded_in_both_directions_and_the_agents_is_not() {
    const PORT: u16 = 4501;
    const LIMIT: u64 = 4 * MIB;
    const SENT: u64 = 16 * MIB;
    let (bed, one) = limited(|limits| limits.bytes_per_sec = LIMIT).await;
    for way in ["up", "down"] {
        let (guest, peer) = pair(&one, PORT);
        let took = if way == "up" {
            send(guest, peer, SENT)
        } else {
            send(peer, guest, SENT)
        };
        let per_sec = SENT as f64 / took.as_secs_f64();
        eprintln!("{way}: {per_sec:.0} bytes a second of {LIMIT}");
        // After a silence a second's worth comes at once.
        let most = LIMIT as f64 * (took.as_secs_f64() + 1.1);
        assert!(SENT as f64 <= most, "{way}: {took:?}");
        assert!(per_sec > LIMIT as f64 / 3.0, "{way}: {took:?}: it starves");
    }
    const ASKED: usize = 8 << 20;
    let listener = one.guest.listen(ENVD_PORT).unwrap();
    let mut agent = one.slot.dialer().connect(ENVD_PORT).await.unwrap();
    let (mut envd, _) = listener.accept().unwrap();
    let began = Instant::now();
    let answering = std::thread::spawn(move || {
        envd.write_all(&vec![7; ASKED]).unwrap();
        std::io::copy(&mut envd, &mut std::io::sink()).unwrap();
    });
    let mut answer = vec![0; ASKED];
    agent.read_exact(&mut answer).await.unwrap();
    agent.write_all(&answer).await.unwrap();
    agent.shutdown().await.unwrap();
    answering.join().unwrap();
    let took = began.elapsed();
    assert!(
        took < Duration::from_millis(1500),
        "the agent was slowed down: {took:?}"
    );
    drop(one);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_bounded() {
    const PORT: u16 = 4502;
    let (bed, one) = limited(|limits| limits.packets_per_sec = 1000).await;
    let tape = Tape::start().unwrap();
    let flood = one.guest.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let began = Instant::now();
        let mut sent = 0;
        // On a busy machine it takes longer until there were far too many.
        while began.elapsed() < Duration::from_secs(1) || sent < 3000 {
            for _ in 0..10 {
                socket.send_to(b"flood", (INTERNET, PORT))?;
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((began.elapsed(), sent))
    });
    let (took, sent) = flood.unwrap();
    let most = (100 + took.as_millis()).min(sent);
    std::thread::sleep(SHORT);
    let came = count(&tape, PORT) as u128;
    assert!(
        came <= most * 105 / 100 && came > most / 3 && came < sent,
        "{came} of {sent}, at most {most}, in {took:?}"
    );
    drop(one);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_those_that_end_make_room() {
    const PORT: u16 = 4503;
    const MOST: u32 = 20;
    let (bed, one) = limited(|limits| limits.connections = MOST).await;
    let _outside = Service::tcp_echo(PORT).unwrap();
    let connect = || one.guest.connect((INTERNET, PORT), SHORT);
    let open: Vec<TcpStream> = (0..MOST).map(|_| connect().unwrap()).collect();
    connect().unwrap_err();
    // The host's own table holds no more either.
    let entries = std::fs::read_to_string("/proc/net/nf_conntrack").unwrap_or_default();
    let of_guest = entries
        .lines()
        .filter(|line| line.contains(&format!("dport={PORT}")));
    assert!(of_guest.count() <= MOST as usize, "{entries}");
    // What the host begins is not counted.
    let _in_guest = Service::tcp_echo_with(one.guest.listen(PORT).unwrap()).unwrap();
    connect_as(0, (one.host_ip(), PORT), LONG).unwrap();
    // A connection that is reset is forgotten within seconds.
    for stream in open {
        nix::sys::socket::setsockopt(
            &stream,
            nix::sys::socket::sockopt::Linger,
            &libc::linger {
                l_onoff: 1,
                l_linger: 0,
            },
        )
        .unwrap();
    }
    let again = std::iter::repeat_with(connect)
        .take(60)
        .any(|made| made.is_ok());
    assert!(again, "ended connections make no room");
    drop(one);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_begin_at_a_bounded_rate_and_go_on_freely() {
    const PORT: u16 = 4504;
    const OTHER_PORT: u16 = 4505;
    let (bed, one) = limited(|limits| limits.new_connections_per_sec = 10).await;
    let tape = Tape::start().unwrap();
    let began = Instant::now();
    one.guest
        .run(|| {
            for _ in 0..200 {
                UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.send_to(b"new", (INTERNET, PORT))?;
            }
            Ok(())
        })
        .unwrap();
    let most = 20 + 10 * (began.elapsed().as_secs() + 1);
    std::thread::sleep(SHORT);
    let came = count(&tape, PORT) as u64;
    assert!((10..=most).contains(&came), "{came} of at most {most}");
    // One that stands may be used as often as it likes, without an answer too.
    std::thread::sleep(Duration::from_millis(300));
    one.guest
        .run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            for _ in 0..100 {
                socket.send_to(b"one", (INTERNET, OTHER_PORT))?;
            }
            Ok(())
        })
        .unwrap();
    assert!(eventually(|| count(&tape, OTHER_PORT) == 100));
    drop(one);
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_bounded_over_one_socket_too() {
    let (bed, one) = limited(|limits| limits.questions_per_sec = 10).await;
    let dns = Service::dns(INTERNET).unwrap();
    let began = Instant::now();
    one.guest
        .run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            let question = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];
            for _ in 0..200 {
                socket.send_to(&question, (GATEWAY_ADDRESS, 53))?;
            }
            Ok(())
        })
        .unwrap();
    std::thread::sleep(SHORT);
    let most = 20 + 10 * (began.elapsed().as_secs() + 1);
    let came = dns.callers().len() as u64;
    assert!((10..=most).contains(&came), "{came} of at most {most}");
    // Whoever asks less is answered.
    assert!(eventually(|| {
        let question = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];
        one.guest
            .ask_udp((GATEWAY_ADDRESS, 53), &question, SHORT)
            .is_ok()
    }));
    drop((dns, one));
    bed.close().await;
}
