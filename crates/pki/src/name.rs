//! What a host is called by those who dial it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::{DnsName, ServerName};

/// An IP address or a DNS name, as certificates name a host. DNS names are in lowercase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// An address, never the unspecified one: nobody can be dialled there.
    Ip(IpAddr),
    /// A DNS name, without a wildcard and without a dot at its end.
    Dns(String),
}

/// A text that names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither an IP address of a host nor a DNS name")]
pub struct InvalidHostName;

impl HostName {
    /// What the certificate of the other side is held against.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        match self {
            Self::Ip(address) => ServerName::IpAddress((*address).into()),
            #[expect(clippy::expect_used, reason = "checked when it was made")]
            Self::Dns(name) => ServerName::DnsName(
                DnsName::try_from(name.clone()).expect("a name that was checked is a name"),
            ),
        }
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return if address.is_unspecified() {
                Err(InvalidHostName)
            } else {
                Ok(Self::Ip(address))
            };
        }
        let name = text.to_ascii_lowercase();
        if name.ends_with('.') || DnsName::try_from(name.as_str()).is_err() {
            return Err(InvalidHostName);
        }
        Ok(Self::Dns(name))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Dns(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_an_address_or_a_name() {
        for (given, shown) in [
            ("10.0.0.5", "10.0.0.5"),
            ("::1", "::1"),
            ("Host-1.Example.org", "host-1.example.org"),
            ("a", "a"),
        ] {
            let name: HostName = given.parse().unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(
                name.server_name().to_str(),
                shown,
                "what TLS compares is the same"
            );
        }
        for wrong in [
            "",
            "0.0.0.0",
            "::",
            "10.0.0",
            "10.0.0.5:7443",
            "[::1]",
            "*.example.org",
            "a b",
            "a.",
            "-a",
            "a\0",
            &"a".repeat(64),
        ] {
            assert_eq!(wrong.parse::<HostName>(), Err(InvalidHostName), "{wrong:?}");
        }
    }
}
