//! What is not the public internet: the special-purpose ranges of IANA's registry that are not reachable from everywhere,
//! and where clouds answer their machines' questions about themselves.

use std::net::Ipv4Addr;

use wrenn_model::Subnet;

/// Reached by no guest, whatever its policy and the host's operator say. The instance's own ranges belong here too.
pub const PROTECTED: [Subnet; 13] = [
    // This network.
    subnet([0, 0, 0, 0], 8),
    // Loopback.
    subnet([127, 0, 0, 0], 8),
    // Link-local, and the metadata services of clouds.
    subnet([169, 254, 0, 0], 16),
    // Metadata services at other addresses, reached within their clouds alone.
    subnet([168, 63, 129, 16], 32),
    subnet([100, 100, 100, 200], 32),
    // Protocol assignments, another metadata service among them.
    subnet([192, 0, 0, 0], 24),
    // Documentation.
    subnet([192, 0, 2, 0], 24),
    subnet([198, 51, 100, 0], 24),
    subnet([203, 0, 113, 0], 24),
    // Deprecated relays to IPv6.
    subnet([192, 88, 99, 0], 24),
    // Benchmarks.
    subnet([198, 18, 0, 0], 15),
    // Multicast.
    subnet([224, 0, 0, 0], 4),
    // Reserved, and broadcast.
    subnet([240, 0, 0, 0], 4),
];

/// Networks of somebody's own: closed, unless the host's operator opens parts of them and a policy allows those.
pub const PRIVATE: [Subnet; 4] = [
    subnet([10, 0, 0, 0], 8),
    subnet([172, 16, 0, 0], 12),
    subnet([192, 168, 0, 0], 16),
    // Shared by carriers, and by networks that lie over others.
    subnet([100, 64, 0, 0], 10),
];

const fn subnet([a, b, c, d]: [u8; 4], prefix: u8) -> Subnet {
    Subnet::new(Ipv4Addr::new(a, b, c, d), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_not_global_is_protected_or_private() {
        let within = |list: &[Subnet], address| list.iter().any(|subnet| subnet.contains(address));
        for protected in [
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::new(169, 254, 169, 254),
            Ipv4Addr::new(100, 100, 100, 200),
            Ipv4Addr::new(192, 0, 0, 192),
            Ipv4Addr::new(224, 0, 0, 251),
            Ipv4Addr::BROADCAST,
            Ipv4Addr::UNSPECIFIED,
        ] {
            assert!(within(&PROTECTED, protected), "{protected}");
        }
        for private in [
            Ipv4Addr::new(10, 1, 2, 3),
            Ipv4Addr::new(172, 31, 0, 1),
            Ipv4Addr::new(192, 168, 1, 1),
            Ipv4Addr::new(100, 127, 0, 1),
        ] {
            assert!(within(&PRIVATE, private), "{private}");
            assert!(!within(&PROTECTED, private), "{private}");
        }
        for public in [
            [1, 1, 1, 1],
            [8, 8, 8, 8],
            [100, 128, 0, 1],
            [172, 32, 0, 1],
            [193, 0, 0, 1],
        ] {
            let public = Ipv4Addr::from(public);
            assert!(
                !within(&PROTECTED, public) && !within(&PRIVATE, public),
                "{public}"
            );
        }
    }
}
