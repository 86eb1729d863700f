//! Where a guest's packets never go: what is not the public internet.

use std::net::Ipv4Addr;

use crate::nft::Rule;
use crate::range::Subnet;

/// The special-purpose ranges of IANA's registry that are not reachable from everywhere.
pub const DENIED: [Subnet; 16] = [
    // This network.
    subnet([0, 0, 0, 0], 8),
    // Private.
    subnet([10, 0, 0, 0], 8),
    subnet([172, 16, 0, 0], 12),
    subnet([192, 168, 0, 0], 16),
    // Shared by carriers.
    subnet([100, 64, 0, 0], 10),
    // Loopback.
    subnet([127, 0, 0, 0], 8),
    // Link-local, and the metadata services of clouds.
    subnet([169, 254, 0, 0], 16),
    // Protocol assignments.
    subnet([192, 0, 0, 0], 24),
    // Documentation.
    subnet([192, 0, 2, 0], 24),
    subnet([198, 51, 100, 0], 24),
    subnet([203, 0, 113, 0], 24),
    // Deprecated relays to IPv6.
    subnet([192, 88, 99, 0], 24),
    // Benchmarks.
    subnet([198, 18, 0, 0], 15),
    // A metadata service at a public address, reached within its cloud alone.
    subnet([168, 63, 129, 16], 32),
    // Multicast.
    subnet([224, 0, 0, 0], 4),
    // Reserved, and broadcast.
    subnet([240, 0, 0, 0], 4),
];

/// One rule a range.
pub(crate) fn rules() -> impl Iterator<Item = Rule> {
    DENIED
        .into_iter()
        .map(|subnet| Rule::default().destination(subnet).drop())
}

const fn subnet([a, b, c, d]: [u8; 4], prefix: u8) -> Subnet {
    Subnet::new(Ipv4Addr::new(a, b, c, d), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_not_global_is_denied() {
        for denied in [
            Ipv4Addr::new(10, 1, 2, 3),
            Ipv4Addr::new(172, 31, 0, 1),
            Ipv4Addr::new(192, 168, 1, 1),
            Ipv4Addr::new(100, 127, 0, 1),
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::new(169, 254, 169, 254),
            Ipv4Addr::new(224, 0, 0, 251),
            Ipv4Addr::BROADCAST,
            Ipv4Addr::UNSPECIFIED,
        ] {
            assert!(
                DENIED.iter().any(|subnet| subnet.contains(denied)),
                "{denied}"
            );
        }
        for allowed in [
            [1, 1, 1, 1],
            [8, 8, 8, 8],
            [100, 128, 0, 1],
            [172, 32, 0, 1],
            [193, 0, 0, 1],
        ] {
            let allowed = Ipv4Addr::from(allowed);
            assert!(
                !DENIED.iter().any(|subnet| subnet.contains(allowed)),
                "{allowed}"
            );
        }
    }
}
