//! Where an agent is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use wrenn_pki::HostName;

/// An agent's address, written `unix:/run/wrenn/agent.sock` or `tls:HOST:PORT`. There is none without TLS over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAddress {
    /// A socket on this machine, by its absolute path.
    Unix(PathBuf),
    /// A port on another one, which has to show a certificate of this control plane's authority for this name.
    Tls {
        /// An address or a DNS name.
        host: HostName,
        /// The port.
        port: u16,
    },
}

/// A text that is no agent's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has the form unix:/PATH or tls:HOST:PORT")]
pub struct InvalidAddress;

impl FromStr for AgentAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(InvalidAddress)
            };
        }
        let (host, port) = text
            .strip_prefix("tls:")
            .and_then(|rest| rest.rsplit_once(':'))
            .ok_or(InvalidAddress)?;
        // An IPv6 address has colons of its own.
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if inner.is_none() && host.contains(':') {
            return Err(InvalidAddress);
        }
        let host = inner.unwrap_or(host).parse().map_err(|_| InvalidAddress)?;
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self::Tls { host, port }),
            _ => Err(InvalidAddress),
        }
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tls {
                host: HostName::Ip(std::net::IpAddr::V6(address)),
                port,
            } => write!(f, "tls:[{address}]:{port}"),
            Self::Tls { host, port } => write!(f, "tls:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_whole_path_or_a_host_and_a_port() {
        for good in [
            "unix:/run/x/agent.sock",
            "tls:10.0.0.5:7443",
            "tls:[fd00::5]:7443",
            "tls:host-a.example.org:1",
        ] {
            let address: AgentAddress = good.parse().unwrap();
            assert_eq!(address.to_string(), good);
        }
        for wrong in [
            "",
            "/run/x",
            "unix:",
            "unix:agent.sock",
            "tcp:1.1.1.1:1",
            "http://1.1.1.1:1",
            "tls:",
            "tls:10.0.0.5",
            "tls:10.0.0.5:",
            "tls:10.0.0.5:0",
            "tls:10.0.0.5:65536",
            "tls:0.0.0.0:1",
            "tls:fd00::5:7443",
            "tls:[host-a:1",
            "tls::1",
            "tls:a b:1",
        ] {
            assert_eq!(
                wrong.parse::<AgentAddress>(),
                Err(InvalidAddress),
                "{wrong}"
            );
        }
    }
}
