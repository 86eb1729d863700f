//! The two ranges of addresses that an instance owns.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wrenn_model::Subnet;

/// A text that is no range of 65,536 addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range: it is written like 10.12.0.0/16, with a prefix of 16")]
pub struct InvalidRange(String);

/// A range of 65,536 addresses, written `10.12.0.0/16`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range([u8; 2]);

impl Range {
    /// The range of all addresses that begin with these two bytes.
    #[must_use]
    pub const fn new(first: u8, second: u8) -> Self {
        Self([first, second])
    }

    /// The range as a subnet.
    #[must_use]
    pub const fn subnet(self) -> Subnet {
        Subnet::new(self.address(0), 16)
    }

    /// The address at an offset.
    #[must_use]
    pub const fn address(self, offset: u16) -> Ipv4Addr {
        let [third, fourth] = offset.to_be_bytes();
        Ipv4Addr::new(self.0[0], self.0[1], third, fourth)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subnet().fmt(f)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subnet().fmt(f)
    }
}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let address = text
            .strip_suffix("/16")
            .and_then(|address| address.parse::<Ipv4Addr>().ok());
        match address.map(|address| address.octets()) {
            Some([first, second, 0, 0]) => Ok(Self::new(first, second)),
            _ => Err(InvalidRange(text.chars().take(64).collect())),
        }
    }
}

impl TryFrom<String> for Range {
    type Error = InvalidRange;

    fn try_from(text: String) -> Result<Self, InvalidRange> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

/// The ranges of an instance. No other instance on the host has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// Both ends of each slot's veth pair.
    pub veth: Range,
    /// The addresses at which the host reaches the guests.
    pub reachable: Range,
}

impl Ranges {
    /// What is tried in this order when nothing is configured: 10.12 with 10.11, further pairs of 10, then pairs of the
    /// other private ranges.
    pub fn candidates() -> impl Iterator<Item = Self> {
        let ten = (12..=254).step_by(2).map(|veth| (10, veth));
        let others = (17..=31).step_by(2).map(|veth| (172, veth));
        let shared = (65..=127).step_by(2).map(|veth| (100, veth));
        ten.chain(others).chain(shared).map(|(first, veth)| Self {
            veth: Range::new(first, veth),
            reachable: Range::new(first, veth - 1),
        })
    }
}

impl Default for Ranges {
    fn default() -> Self {
        Self {
            veth: Range::new(10, 12),
            reachable: Range::new(10, 11),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_it_is_written() {
        let range: Range = "10.12.0.0/16".parse().unwrap();
        assert_eq!(range, Ranges::default().veth);
        assert_eq!(range.to_string(), "10.12.0.0/16");
        assert_eq!(range.address(65535), Ipv4Addr::new(10, 12, 255, 255));
        for bad in [
            "",
            "10.12.0.0",
            "10.12.0.0/24",
            "10.12.1.0/16",
            "10.12/16",
            "x/16",
        ] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

    #[test]
    fn candidates_never_overlap() {
        let all: Vec<_> = Ranges::candidates()
            .flat_map(|pair| [pair.veth, pair.reachable])
            .collect();
        let unique: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
        assert_eq!(Ranges::candidates().next(), Some(Ranges::default()));
    }
}
