//! The world that `scripts/in-world` makes: a network namespace for Wrenn, and a second one, *outside*, that plays the
//! internet, the LAN, the metadata service and the resolver. Here is what tests do with the second one.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wrenn_sys::netns;

mod tape;

pub use tape::{Packet, Tape};

/// The host's address on its LAN.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);

/// The LAN's router, the host's way to everything.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// A neighbour of the host on its LAN.
pub const LAN_NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 10);

/// The host's resolver.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 53);

/// The metadata service of a cloud.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// A host of the internet.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);

/// Another one.
pub const OTHER_INTERNET: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);

/// The name of the second namespace.
const OUTSIDE: &str = "outside";

/// How often a service of the world looks whether it is to end.
const TICK: Duration = Duration::from_millis(20);

/// Whether this process runs in a world.
#[must_use]
pub fn is_here() -> bool {
    std::env::var_os("WRENN_WORLD").is_some() && netns::path(OUTSIDE).exists()
}

/// Fails a test that was started outside a world, and says how to start it.
///
/// # Panics
/// Outside a world.
pub fn require() {
    assert!(
        is_here(),
        "this test sends packets and needs a world: run it by `scripts/in-world cargo test ...` as root"
    );
}

/// Runs `work` outside, on a thread of its own.
///
/// # Errors
/// Without a world; else what `work` said.
pub fn outside<T, F>(work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    netns::enter_blocking(netns::open(OUTSIDE)?, work)
}

/// A service on a thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Service {
    end: Arc<AtomicBool>,
    callers: Arc<Mutex<Vec<SocketAddr>>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Echoes TCP outside, at this port of every address.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn tcp_echo(port: u16) -> io::Result<Self> {
        Self::tcp_echo_with(outside(move || {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        })?)
    }

    /// Echoes TCP on a listener of any namespace.
    ///
    /// # Errors
    /// When the listener can't be used.
    pub fn tcp_echo_with(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::start(move |end, callers| {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, caller)) => {
                        note(&callers, caller);
                        thread::spawn(move || echo(stream));
                    }
                    Err(_) => thread::sleep(TICK),
                }
            }
        }))
    }

    /// Echoes UDP outside.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn udp_echo(address: Ipv4Addr, port: u16) -> io::Result<Self> {
        let answer = |question: &[u8]| Some(question.to_vec());
        Self::udp(outside(move || UdpSocket::bind((address, port)))?, answer)
    }

    /// Answers every question for an IPv4 address with `address`, at [`RESOLVER`].
    ///
    /// # Errors
    /// When the port is taken.
    pub fn dns(address: Ipv4Addr) -> io::Result<Self> {
        let socket = outside(move || UdpSocket::bind((RESOLVER, 53)))?;
        Self::udp(socket, move |question| answer_name(question, address))
    }

    /// Answers each datagram on a socket of any namespace.
    ///
    /// # Errors
    /// When the socket can't be used.
    pub fn udp(
        socket: UdpSocket,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        Ok(Self::start(move |end, callers| {
            let mut buffer = vec![0; 65_536];
            while !end.load(Ordering::Relaxed) {
                if let Ok((length, caller)) = socket.recv_from(&mut buffer) {
                    note(&callers, caller);
                    if let Some(answer) = answer(&buffer[..length]) {
                        // A caller that is gone is the caller's business.
                        drop(socket.send_to(&answer, caller));
                    }
                }
            }
        }))
    }

    /// Who called, in order.
    #[must_use]
    pub fn callers(&self) -> Vec<SocketAddr> {
        self.callers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn start(
        serve: impl FnOnce(Arc<AtomicBool>, Arc<Mutex<Vec<SocketAddr>>>) + Send + 'static,
    ) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let callers = Arc::new(Mutex::new(Vec::new()));
        let thread = thread::spawn({
            let (end, callers) = (end.clone(), callers.clone());
            move || serve(end, callers)
        });
        Self {
            end,
            callers,
            thread: Some(thread),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A service that panicked has shown it already.
            drop(thread.join());
        }
    }
}

/// Waits until `reached` holds, at most five seconds, and tells whether it does.
pub fn eventually(mut reached: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        if reached() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn note(callers: &Mutex<Vec<SocketAddr>>, caller: SocketAddr) {
    callers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(caller);
}

/// Sends back what comes until the caller has said all.
fn echo(mut stream: std::net::TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// The question with one answer appended; `None` for what is no question.
fn answer_name(question: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name_length = question.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let end = HEADER + name_length + 1 + 4;
    let mut answer = question.get(..end)?.to_vec();
    // A response without error, recursion available; one question, one answer, nothing else.
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    // The name of the question, type A, class internet, a minute, four bytes.
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(address.octets());
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_answered_and_nonsense_is_not() {
        let question = [
            7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1,
        ];
        let answer = answer_name(&question, INTERNET).unwrap();
        assert_eq!(answer[..2], [7, 7]);
        assert_eq!(answer[12..22], question[12..]);
        assert!(answer.ends_with(&[0, 4, 1, 1, 1, 1]));
        assert_eq!(answer_name(&question[..14], INTERNET), None);
        assert_eq!(answer_name(&[], INTERNET), None);
    }
}
