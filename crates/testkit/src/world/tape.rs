//! What arrives outside, packet by packet: the proof that a forbidden one did not, and that an allowed one did.

use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::{eventually, outside};

/// How many packets are kept.
const KEPT: usize = 100_000;

/// An IPv4 packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// From whom.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// Its protocol's number: 1 ICMP, 6 TCP, 17 UDP.
    pub protocol: u8,
    /// The port that it goes to; 0 where there are no ports.
    pub port: u16,
}

/// Records all packets that arrive outside, from when it is started until it is dropped.
#[derive(Debug)]
pub struct Tape {
    packets: Arc<Mutex<Vec<Packet>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tape {
    /// Starts recording.
    ///
    /// # Errors
    /// Without a world.
    pub fn start() -> io::Result<Self> {
        // Packets without their link header, only those of IPv4, and so only those that come in.
        let open = || {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let ipv4 = SockProtocol::EthIp;
            Ok(socket(
                AddressFamily::Packet,
                SockType::Datagram,
                flags,
                ipv4,
            )?)
        };
        let mut socket = File::from(outside(open)?);
        let packets = Arc::new(Mutex::new(Vec::new()));
        let end = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (packets, end) = (packets.clone(), end.clone());
            move || {
                while !end.load(Ordering::Relaxed) {
                    record(&mut socket, &packets);
                }
            }
        });
        Ok(Self {
            packets,
            end,
            thread: Some(thread),
        })
    }

    /// All packets so far.
    #[must_use]
    pub fn packets(&self) -> Vec<Packet> {
        self.packets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many packets to this address have come.
    #[must_use]
    pub fn count_to(&self, destination: Ipv4Addr) -> usize {
        let to_it = |packet: &&Packet| packet.destination == destination;
        self.packets().iter().filter(to_it).count()
    }

    /// Waits for such a packet, at most five seconds, and tells whether it came.
    #[must_use]
    pub fn sees(&self, expected: impl Fn(&Packet) -> bool) -> bool {
        eventually(|| self.packets().iter().any(&expected))
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A recorder that panicked has shown it already.
            drop(thread.join());
        }
    }
}

/// Takes what has come; waits a moment when nothing has.
fn record(socket: &mut File, packets: &Mutex<Vec<Packet>>) {
    let mut wanted = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    if poll(&mut wanted, PollTimeout::from(20_u8)) != Ok(1) {
        return;
    }
    let mut buffer = [0; 256];
    while let Ok(length) = socket.read(&mut buffer) {
        let mut packets = packets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packet) = parse(&buffer[..length])
            && packets.len() < KEPT
        {
            packets.push(packet);
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Packet> {
    let header = usize::from(bytes.first()? & 0x0f) * 4;
    let address = |at: usize| {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let protocol = *bytes.get(9)?;
    let port = match protocol {
        6 | 17 => bytes
            .get(header + 2..header + 4)?
            .try_into()
            .map(u16::from_be_bytes)
            .ok()?,
        _ => 0,
    };
    Some(Packet {
        source: address(12)?,
        destination: address(16)?,
        protocol,
        port,
    })
}
