//! The way to an agent on another machine: TCP, and mutual TLS before a byte of ours is sent.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use wrenn_pki::{Authority, HostName};
use wrenn_sys::tcp;

/// How long a certificate of ours is good. Its key is in this process's memory alone.
const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// When the next one is made: long before the one that is shown ends.
const RENEW_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Dials one agent.
pub(crate) struct Dialer {
    host: HostName,
    port: u16,
    authority: Arc<Authority>,
    shown: Mutex<Option<Shown>>,
    /// What went wrong the last time, so that the log says it once.
    trouble: Mutex<Option<String>>,
}

/// What we show of ourselves.
struct Shown {
    config: Arc<ClientConfig>,
    since: SystemTime,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("there is no certificate to show")]
    Identity(#[from] wrenn_pki::Error),
    #[error("it cannot be reached")]
    Connect(#[source] io::Error),
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    #[error("it does not speak HTTP/2")]
    Protocol,
}

impl Dialer {
    pub(crate) fn new(host: HostName, port: u16, authority: Arc<Authority>) -> Self {
        Self {
            host,
            port,
            authority,
            shown: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// A connection to the agent that has the right certificate for its name. The caller limits the time.
    pub(crate) async fn dial(&self) -> Result<TlsStream<TcpStream>, DialError> {
        let dialled = self.try_dial().await;
        let trouble = dialled.as_ref().err().map(|error| {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            [Some(error.to_string()), cause]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": ")
        });
        let mut last = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trouble) = trouble.as_ref().filter(|_| *last != trouble) {
            tracing::warn!(agent = %self.host, port = self.port, trouble, "no connection to the host agent");
        }
        *last = trouble;
        dialled
    }

    async fn try_dial(&self) -> Result<TlsStream<TcpStream>, DialError> {
        let config = self.config(SystemTime::now())?;
        let stream = match &self.host {
            HostName::Ip(address) => TcpStream::connect((*address, self.port)).await,
            HostName::Dns(name) => TcpStream::connect((name.as_str(), self.port)).await,
        };
        let stream = stream.map_err(DialError::Connect)?;
        if let Err(error) = tcp::tune(&stream) {
            tracing::debug!(%error, "a socket keeps its defaults");
        }
        let stream = TlsConnector::from(config)
            .connect(self.host.server_name(), stream)
            .await
            .map_err(DialError::Handshake)?;
        if stream.get_ref().1.alpn_protocol() != Some(wrenn_pki::ALPN) {
            return Err(DialError::Protocol);
        }
        Ok(stream)
    }

    /// What to show now.
    fn config(&self, now: SystemTime) -> Result<Arc<ClientConfig>, wrenn_pki::Error> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = &*shown
            // A clock that was set back makes a new one, too.
            && now.duration_since(shown.since).is_ok_and(|age| age < RENEW_AFTER)
        {
            return Ok(Arc::clone(&shown.config));
        }
        let identity = self.authority.identify_server(now, GOOD_FOR)?;
        let config = Arc::new(identity.client_config()?);
        *shown = Some(Shown {
            config: Arc::clone(&config),
            since: now,
        });
        Ok(config)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_renewed_long_before_it_ends() {
        let now = SystemTime::now();
        let authority = Arc::new(Authority::new(now).unwrap());
        let dialer = Dialer::new("host-a".parse().unwrap(), 1, authority);
        let first = dialer.config(now).unwrap();
        let same = |at| Arc::ptr_eq(&first, &dialer.config(at).unwrap());
        assert!(same(now + RENEW_AFTER - Duration::from_secs(1)));
        let second = dialer.config(now + RENEW_AFTER).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        // The clock is set back.
        assert!(!Arc::ptr_eq(&second, &dialer.config(now).unwrap()));
    }
}
