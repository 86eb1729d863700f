//! A guest without a VM: the kernel's own network stack in a namespace, its frames carried to and from a slot's TAP.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wrenn_sys::{netns, tap};

/// The header before each frame of a TAP: all zeros says that the frame is whole and its sums are right.
const VNET_HEADER: usize = 10;

/// How often the pump looks whether it is to end.
const WAIT: Duration = Duration::from_millis(20);

/// The guest's interface.
const INTERFACE: &str = "eth0";

/// A guest that runs until it is dropped.
#[derive(Debug)]
pub struct FakeGuest {
    namespace: String,
    /// The slot's TAP, to put frames on the wire that no stack would send.
    wire: File,
    end: Arc<AtomicBool>,
    pump: Option<JoinHandle<()>>,
}

/// Who the guest is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its address.
    pub address: Ipv4Addr,
    /// The bits that it shares with its gateway.
    pub prefix: u8,
    /// Its gateway.
    pub gateway: Ipv4Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
}

impl FakeGuest {
    /// Starts a guest on a slot's TAP.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn start(slot_tap: OwnedFd, identity: Identity) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("guest-{}-{number}", std::process::id());
        let guest_tap = netns::create(&namespace, move || {
            let tap = tap::create(INTERFACE, identity.mac)?;
            configure(identity)?;
            Ok(tap)
        })
        .await?;
        let wire = File::from(slot_tap.try_clone()?);
        let end = Arc::new(AtomicBool::new(false));
        let pump = thread::spawn({
            let end = end.clone();
            let (mut slot, mut guest) = (File::from(slot_tap), File::from(guest_tap));
            move || {
                while !end.load(Ordering::Relaxed) {
                    carry(&mut slot, &mut guest, WAIT);
                }
            }
        });
        Ok(Self {
            namespace,
            wire,
            end,
            pump: Some(pump),
        })
    }

    /// Runs `work` in the guest, on a thread of its own.
    ///
    /// # Errors
    /// What `work` said.
    pub fn run<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        netns::enter_blocking(netns::open(&self.namespace)?, work)
    }

    /// Listens at a port of the guest.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn listen(&self, port: u16) -> io::Result<TcpListener> {
        self.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
    }

    /// Connects from the guest, and gives up after `limit`.
    ///
    /// # Errors
    /// `TimedOut`, which is what a dropped packet looks like; else what came back.
    pub fn connect(&self, to: impl Into<SocketAddr>, limit: Duration) -> io::Result<TcpStream> {
        let to = to.into();
        self.run(move || TcpStream::connect_timeout(&to, limit))
    }

    /// Sends a datagram from the guest.
    ///
    /// # Errors
    /// What the guest's kernel said.
    pub fn send_udp(&self, to: impl Into<SocketAddr>, contents: &'static [u8]) -> io::Result<()> {
        let to = to.into();
        self.run(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_broadcast(true)?;
            socket.send_to(contents, to).map(drop)
        })
    }

    /// Sends a datagram from the guest and waits for an answer, at most `limit`.
    ///
    /// # Errors
    /// `WouldBlock` when none came.
    pub fn ask_udp(
        &self,
        to: impl Into<SocketAddr>,
        question: &[u8],
        limit: Duration,
    ) -> io::Result<Vec<u8>> {
        let (to, question) = (to.into(), question.to_vec());
        self.run(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_read_timeout(Some(limit))?;
            socket.connect(to)?;
            socket.send(&question)?;
            let mut answer = vec![0; 2048];
            let length = socket.recv(&mut answer)?;
            answer.truncate(length);
            Ok(answer)
        })
    }

    /// Puts a frame on the wire as it is.
    ///
    /// # Errors
    /// What the TAP said.
    pub fn inject(&self, frame: &[u8]) -> io::Result<()> {
        write_frame(&self.wire, frame)
    }
}

impl Drop for FakeGuest {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(pump) = self.pump.take() {
            // A pump that panicked has shown it already.
            drop(pump.join());
        }
        if let Err(error) = netns::remove(&self.namespace) {
            eprintln!("{} could not be removed: {error}", self.namespace);
        }
    }
}

/// A UDP datagram as a whole Ethernet frame, with any addresses.
#[must_use]
pub fn udp_frame(
    from_mac: [u8; 6],
    to_mac: [u8; 6],
    source: Ipv4Addr,
    destination: Ipv4Addr,
    port: u16,
) -> Vec<u8> {
    const LENGTH: u8 = 28;
    let mut header = [0; 20];
    header[0] = 0x45;
    header[3] = LENGTH;
    header[8] = 64;
    header[9] = 17;
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    let sum = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = !(folded + (folded >> 16)) & 0xffff;
    header[10..12].copy_from_slice(&sum.to_be_bytes()[2..]);
    let [high, low] = port.to_be_bytes();
    let mut frame = ethernet(to_mac, from_mac, 0x0800);
    frame.extend(header);
    // From port 4000; a sum of 0 says that there is none.
    frame.extend([0x0f, 0xa0, high, low, 0, 8, 0, 0]);
    frame
}

/// An ARP request as a whole Ethernet frame: the sender's claim, and whom it asks for.
#[must_use]
pub fn arp_request(
    from_mac: [u8; 6],
    sender_mac: [u8; 6],
    sender: Ipv4Addr,
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], from_mac, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(sender_mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// The header of an Ethernet frame.
#[must_use]
pub fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(64);
    frame.extend(to);
    frame.extend(from);
    frame.extend(kind.to_be_bytes());
    frame
}

/// As envd sets its interface up, but by a program: this is a test.
pub(crate) fn configure(identity: Identity) -> io::Result<()> {
    let Identity {
        address,
        prefix,
        gateway,
        ..
    } = identity;
    ip(&format!(
        "link set lo up\n\
         address add {address}/{prefix} dev {INTERFACE}\n\
         link set {INTERFACE} up\n\
         route add default via {gateway}\n"
    ))
}

/// Runs `ip` with these lines.
#[expect(
    clippy::disallowed_methods,
    reason = "the program inherits the namespace of this thread"
)]
fn ip(lines: &str) -> io::Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    if child.wait()?.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip failed at one of:\n{lines}")))
}

/// Carries what has come on either side to the other; waits for so long when nothing has.
pub(crate) fn carry(slot: &mut File, guest: &mut File, wait: Duration) {
    let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
    let mut wanted = [
        PollFd::new(slot.as_fd(), PollFlags::POLLIN),
        PollFd::new(guest.as_fd(), PollFlags::POLLIN),
    ];
    if poll(&mut wanted, wait).unwrap_or(0) == 0 {
        return;
    }
    let mut buffer = vec![0; 70_000];
    for (from, to) in [(&*slot, &*guest), (&*guest, &*slot)] {
        let (mut from, mut to) = (from, to);
        while let Ok(length) = from.read(&mut buffer) {
            // A full queue drops frames, as a wire does.
            drop(to.write(&buffer[..length]));
        }
    }
}

fn write_frame(mut tap: &File, frame: &[u8]) -> io::Result<()> {
    let mut bytes = vec![0; VNET_HEADER];
    bytes.extend(frame);
    tap.write_all(&bytes)
}
