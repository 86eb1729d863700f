//! The RPC over TCP, for a control plane on another machine: mutual TLS and nothing else.
//!
//! Whoever is let in is root on this machine, so that a connection is nobody's until its certificate was seen. Strangers
//! cost next to nothing: handshakes have a time limit, and of too many at once the oldest goes. One that is meant well
//! takes as long as a packet takes there and back; one that stays silent is soon the oldest.

mod connection;
mod identity;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Interval;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use wrenn_sys::tcp;

pub use connection::TlsConnection;
pub use identity::IdentityFile;

use identity::Stamp;

/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Handshakes at once.
const HANDSHAKES: usize = 256;
/// Connections of control planes at once; each call has one of its own.
const CONNECTIONS: usize = 4096;
/// How often the log may say that the certificate ends soon.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before its end a certificate is worth a warning: thirty days.
pub const ENDS_SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why the RPC is not served over TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// This host has joined no control plane.
    #[error("this host has no certificate: {} does not exist", path.display())]
    NotJoined {
        /// Where it would be.
        path: PathBuf,
    },
    /// What it got when it joined cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What it got when it joined is damaged.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: wrenn_pki::Error,
    },
}

/// A TCP port that lets control planes in, and nobody else.
pub struct TlsListener {
    tcp: TcpListener,
    file: IdentityFile,
    served: Served,
    handshakes: JoinSet<Option<(TlsConnection, SocketAddr)>>,
    /// The same from the oldest to the newest, those that have ended included until the next one begins.
    under_way: VecDeque<AbortHandle>,
    places: Arc<Semaphore>,
    reminder: Interval,
}

/// What is read from the file, and when the file was written.
struct Served {
    stamp: Option<Stamp>,
    config: Arc<ServerConfig>,
    expires_at: SystemTime,
}

impl TlsListener {
    /// Lets callers in as whom the file says this host is. A file that changes is read again. To be called in a runtime.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(tcp: TcpListener, file: IdentityFile) -> Result<Self, TlsError> {
        Ok(Self {
            tcp,
            served: Served::read(&file)?,
            file,
            handshakes: JoinSet::new(),
            under_way: VecDeque::new(),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            reminder: tokio::time::interval(REMIND_EVERY),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Begins a handshake; one too many costs the oldest.
    fn begin(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.served.refresh(&self.file);
        self.under_way.retain(|handshake| !handshake.is_finished());
        if self.under_way.len() >= HANDSHAKES
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.abort();
        }
        let handshake = shake(
            stream,
            peer,
            TlsAcceptor::from(Arc::clone(&self.served.config)),
            Arc::clone(&self.places),
        );
        self.under_way.push_back(self.handshakes.spawn(handshake));
    }

    fn remind(&self) {
        let left = self.served.expires_at.duration_since(SystemTime::now());
        let left = left.unwrap_or_default();
        if left < ENDS_SOON {
            tracing::warn!(
                days = left.as_secs() / (24 * 60 * 60),
                "the certificate of this host ends soon: join again, with a new token from `wrenn host invite`"
            );
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TlsConnection, SocketAddr) {
        loop {
            tokio::select! {
                (stream, peer) = Listener::accept(&mut self.tcp) => self.begin(stream, peer),
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(met)) = ended {
                        return met;
                    }
                }
                _ = self.reminder.tick() => self.remind(),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address()
    }
}

impl fmt::Debug for TlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListener")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

impl Served {
    fn read(file: &IdentityFile) -> Result<Self, TlsError> {
        // Before the file: one that is written in between is read again.
        let stamp = file.stamp();
        let identity = file.read()?;
        let config = identity.server_config().map_err(|source| {
            let path = file.path().to_owned();
            TlsError::Damaged { path, source }
        })?;
        Ok(Self {
            stamp,
            config: Arc::new(config),
            expires_at: identity.expires_at(),
        })
    }

    /// Reads the file again if it is another one by now. What cannot be read changes nothing.
    fn refresh(&mut self, file: &IdentityFile) {
        let stamp = file.stamp();
        if stamp == self.stamp {
            return;
        }
        match Self::read(file) {
            Ok(new) => {
                tracing::info!(
                    "this host has joined again: its new certificate is shown from now on"
                );
                *self = new;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the former certificate is shown"
                );
                // Told once.
                self.stamp = stamp;
            }
        }
    }
}

/// Why strangers fail is for who looks closely: they must not fill the log.
async fn shake(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    places: Arc<Semaphore>,
) -> Option<(TlsConnection, SocketAddr)> {
    if let Err(error) = tcp::tune(&stream) {
        tracing::debug!(%error, "a socket keeps its defaults");
    }
    let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%peer, "a handshake took too long");
            return None;
        }
    };
    if stream.get_ref().1.alpn_protocol() != Some(wrenn_pki::ALPN) {
        tracing::debug!(%peer, "a peer does not speak HTTP/2");
        return None;
    }
    match places.try_acquire_owned() {
        Ok(place) => Some((TlsConnection::new(stream, place), peer)),
        Err(_) => {
            tracing::warn!(%peer, "a connection is refused: there are {CONNECTIONS}");
            None
        }
    }
}

#[cfg(test)]
mod tests;
