//! IPv4 addresses that share their first bits, as rules and policies name them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// IPv4 addresses that share their first bits, written `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// Every address.
    pub const EVERYTHING: Self = Self::new(Ipv4Addr::UNSPECIFIED, 0);

    /// The subnet that `address` is in. A prefix above 32 counts as 32.
    #[must_use]
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = if prefix > 32 { 32 } else { prefix };
        let address = Ipv4Addr::from_bits(address.to_bits() & mask_bits(prefix));
        Self { address, prefix }
    }

    /// One address alone.
    #[must_use]
    pub const fn host(address: Ipv4Addr) -> Self {
        Self::new(address, 32)
    }

    /// Its first address.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// How many bits its addresses share.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// The shared bits as an address.
    #[must_use]
    pub const fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask_bits(self.prefix))
    }

    /// Whether the address is one of it.
    #[must_use]
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask_bits(self.prefix) == self.address.to_bits()
    }

    /// Whether all addresses of `other` are in it.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Whether an address is in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The addresses that are in both: of two subnets that meet, one lies in the other.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Option<Self> {
        if self.covers(other) {
            Some(other)
        } else if other.covers(self) {
            Some(self)
        } else {
            None
        }
    }
}

const fn mask_bits(prefix: u8) -> u32 {
    match prefix {
        0 => 0,
        bits => u32::MAX << (32 - bits),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text is no [`Subnet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubnet {
    /// It is of the other version of the protocol.
    #[error("{0:?} is an IPv6 range, and guests speak IPv4 alone")]
    Ipv6(String),
    /// Names have other addresses tomorrow, and a guest may choose which.
    #[error("{0:?} is a name: rules are about addresses, write those")]
    Name(String),
    /// Somebody meant another range than they wrote, and nobody knows which.
    #[error("{given:?} names an address inside a range: write {range} for all of it or {host}")]
    HostBits {
        /// What was written.
        given: String,
        /// The range that the address is in.
        range: Subnet,
        /// The address alone.
        host: Subnet,
    },
    /// It is nothing of the kind.
    #[error(
        "{0:?} is no IPv4 range: it is written like 192.0.2.0/24, or 192.0.2.7 for one address"
    )]
    Malformed(String),
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    /// Reads `10.0.0.0/8`, and `10.1.2.3` as that address alone.
    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<Ipv4Addr>() else {
            return Err(misread(text, address));
        };
        let digits =
            |prefix: &&str| !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = match prefix {
            None => 32,
            Some(prefix) => Some(prefix)
                .filter(digits)
                .and_then(|prefix| prefix.parse().ok())
                .filter(|bits| *bits <= 32)
                .ok_or_else(|| InvalidSubnet::Malformed(shown(text)))?,
        };
        let range = Self::new(address, prefix);
        if range.address != address {
            return Err(InvalidSubnet::HostBits {
                given: shown(text),
                range,
                host: Self::host(address),
            });
        }
        Ok(range)
    }
}

/// What stands where an IPv4 address should.
fn misread(text: &str, address: &str) -> InvalidSubnet {
    let of_names = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '*');
    if address.parse::<Ipv6Addr>().is_ok() {
        InvalidSubnet::Ipv6(shown(text))
    } else if address.contains(char::is_alphabetic) && address.chars().all(of_names) {
        InvalidSubnet::Name(shown(text))
    } else {
        InvalidSubnet::Malformed(shown(text))
    }
}

/// As much of it as an error is to repeat.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

impl TryFrom<String> for Subnet {
    type Error = InvalidSubnet;

    fn try_from(text: String) -> Result<Self, InvalidSubnet> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subnets_hold_their_addresses_and_no_others() {
        let subnet = Subnet::new(Ipv4Addr::new(172, 16, 5, 9), 12);
        assert_eq!(subnet.to_string(), "172.16.0.0/12");
        assert!(subnet.contains(Ipv4Addr::new(172, 31, 255, 255)));
        assert!(!subnet.contains(Ipv4Addr::new(172, 32, 0, 0)));
        assert!(subnet.overlaps(Subnet::host(Ipv4Addr::new(172, 17, 0, 1))));
        assert!(Subnet::EVERYTHING.contains(Ipv4Addr::BROADCAST));
    }

    #[test]
    fn one_address_is_a_subnet() {
        let one: Subnet = "192.0.2.7".parse().unwrap();
        assert_eq!(one, Subnet::host(Ipv4Addr::new(192, 0, 2, 7)));
        assert_eq!("192.0.2.7/32".parse(), Ok(one));
        assert_eq!("0.0.0.0/0".parse(), Ok(Subnet::EVERYTHING));
    }

    #[test]
    fn what_is_no_subnet_is_told_apart() {
        let error = |text: &str| text.parse::<Subnet>().unwrap_err();
        for ipv6 in ["2001:db8::/32", "::1", "::/0"] {
            assert!(matches!(error(ipv6), InvalidSubnet::Ipv6(_)), "{ipv6}");
        }
        for name in ["example.com", "*.example.com", "localhost/8"] {
            assert!(matches!(error(name), InvalidSubnet::Name(_)), "{name}");
        }
        for malformed in [
            "",
            "/",
            "10",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0/255.0.0.0",
            "a b",
            "1.2.3.4,5.6.7.8",
        ] {
            assert!(
                matches!(error(malformed), InvalidSubnet::Malformed(_)),
                "{malformed}"
            );
        }
        let inside = error("10.1.2.3/8");
        assert!(
            inside
                .to_string()
                .ends_with("write 10.0.0.0/8 for all of it or 10.1.2.3/32")
        );
        assert!(error(&"x".repeat(10_000)).to_string().len() < 200);
    }

    fn subnets() -> impl Strategy<Value = Subnet> {
        (any::<u32>(), 0..=32_u8).prop_map(|(bits, prefix)| Subnet::new(bits.into(), prefix))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(subnet in subnets()) {
            prop_assert_eq!(subnet.to_string().parse(), Ok(subnet));
        }

        #[test]
        fn an_intersection_has_what_both_have(one in subnets(), length in 0..=32_u8, address in any::<u32>()) {
            // One that has a fair chance to meet the first.
            let other = Subnet::new(one.address(), length);
            for (other, address) in [
                (other, Ipv4Addr::from(address)),
                (other, Ipv4Addr::from_bits(one.address().to_bits() | address >> 8)),
                (Subnet::new(address.into(), length), one.address()),
            ] {
                let both = one.contains(address) && other.contains(address);
                let met = one.intersection(other);
                prop_assert_eq!(met.is_some_and(|met| met.contains(address)), both);
                prop_assert_eq!(met, other.intersection(one));
                prop_assert_eq!(met.is_some(), one.overlaps(other));
            }
        }
    }
}
