//! Connections to the agent, one call on each at a time.
//!
//! Calls could share a connection, but they would share its flow-control window and its count of streams too: a few
//! readers that stall, or two hundred long commands, would hold up everybody's pings. A connection over a Unix socket
//! costs a tenth of a millisecond, one over TLS a few packets there and back; idle ones are kept.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connectrpc::client::{Http2Connection, SharedHttp2Connection};
use http::Uri;
use hyper_util::rt::TokioIo;
use tower::service_fn;
use wrenn_hostagent_api::{HostAgentServiceClient, protocol};
use wrenn_pki::Authority;

use super::address::AgentAddress;
use super::dialer::Dialer;
use super::traced::Traced;

/// Idle connections that are kept for the next call.
const IDLE: usize = 32;
/// What may be on its way to us on one connection: enough to keep a transfer going, little enough to forget about.
const WINDOW: u32 = 1 << 20;
/// How often an agent on another machine is asked whether it is still there, and how long it may take to say so: a machine
/// that vanishes closes no connection.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A call's way to the agent.
pub(crate) type Client = HostAgentServiceClient<Traced<SharedHttp2Connection>>;

/// How an agent is reached.
#[derive(Debug, Clone)]
enum Way {
    Unix(PathBuf),
    Tls(Arc<Dialer>),
}

/// Makes connections and keeps the idle ones.
#[derive(Clone)]
pub(crate) struct Connections {
    way: Way,
    idle: Arc<Mutex<Vec<Client>>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

/// A connection for one call. Dropped, it is closed, and the agent learns that its caller has gone.
pub(crate) struct Lease {
    client: Client,
    home: Connections,
}

impl Connections {
    pub(crate) fn new(agent: AgentAddress, authority: Arc<Authority>) -> Self {
        let way = match agent {
            AgentAddress::Unix(socket) => Way::Unix(socket),
            AgentAddress::Tls { host, port } => {
                Way::Tls(Arc::new(Dialer::new(host, port, authority)))
            }
        };
        Self {
            way,
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
        // The host part of the address is a formality: the way is the address.
        let address = Uri::from_static("http://agent");
        let builder = Http2Connection::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let connection = match &self.way {
            Way::Unix(socket) => builder.lazy_unix(socket.as_path(), address.clone()),
            Way::Tls(dialer) => {
                let dialer = Arc::clone(dialer);
                let dial = service_fn(move |_| {
                    let dialer = Arc::clone(&dialer);
                    async move { dialer.dial().await.map(TokioIo::new) }
                });
                builder
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_EVERY)
                    .keep_alive_while_idle(true)
                    .lazy_with_connector(dial, address.clone())
            }
        };
        let connection = Traced(connection.shared(1));
        HostAgentServiceClient::new(connection, protocol::client_config(address))
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
