//! Connections to the agent, one call on each at a time.
//!
//! Calls could share a connection, but they would share its flow-control window and its count of streams too: a few
//! readers that stall, or two hundred long commands, would hold up everybody's pings. A connection over a Unix socket
//! costs a tenth of a millisecond, and idle ones are kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use connectrpc::client::{Http2Connection, SharedHttp2Connection};
use http::Uri;
use wrenn_hostagent_api::{HostAgentServiceClient, protocol};

/// Idle connections that are kept for the next call.
const IDLE: usize = 32;
/// What may be on its way to us on one connection: enough to keep a transfer going, little enough to forget about.
const WINDOW: u32 = 1 << 20;

/// A call's way to the agent.
pub(crate) type Client = HostAgentServiceClient<SharedHttp2Connection>;

/// Makes connections and keeps the idle ones.
#[derive(Clone)]
pub(crate) struct Connections {
    socket: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Client>>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// A connection for one call. Dropped, it is closed, and the agent learns that its caller has gone.
pub(crate) struct Lease {
    client: Client,
    home: Connections,
}

impl Connections {
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: Arc::new(socket.to_owned()),
            idle: Arc::default(),
        }
    }

    /// An idle connection, or a new one. Nothing is sent yet.
    pub(crate) fn lease(&self) -> Lease {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        Lease {
            client: idle.unwrap_or_else(|| self.connect()),
            home: self.clone(),
        }
    }

    fn connect(&self) -> Client {
        // The host part of the address is a formality: the socket is the address.
        let address = Uri::from_static("http://agent");
        let connection = Http2Connection::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .lazy_unix(self.socket.as_path(), address.clone());
        HostAgentServiceClient::new(connection.shared(1), protocol::client_config(address))
    }
}

impl Lease {
    /// The client to call with.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The call has ended well, and the connection may serve another.
    pub(crate) fn give_back(self) {
        let mut idle = self
            .home
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(self.client);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}
