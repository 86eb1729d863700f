//! Who answers the guests' questions for names: what is configured, or whom the host itself asks.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

/// What the C library reads.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What systemd-resolved asks behind its own listener on loopback.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The first resolver that guests can be sent to: not on loopback, which rewritten packets never reach.
pub(crate) fn choose(configured: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    if let Some(resolver) = configured.first() {
        return Some(*resolver);
    }
    [RESOLV_CONF, RESOLVED]
        .into_iter()
        .find_map(|path| usable(&read(Path::new(path))))
}

fn read(path: &Path) -> String {
    // A host without the file has no resolver, which is told as such.
    fs::read_to_string(path).unwrap_or_default()
}

fn usable(resolv_conf: &str) -> Option<Ipv4Addr> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        .filter_map(|address| address.parse::<Ipv4Addr>().ok())
        .find(|address| !address.is_loopback() && !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_resolver_beyond_loopback_is_taken() {
        let text = "# nameserver 9.9.9.9\nsearch x\nnameserver 127.0.0.53\nnameserver ::1\nnameserver  10.0.0.2 \nnameserver 1.1.1.1\n";
        assert_eq!(usable(text), Some(Ipv4Addr::new(10, 0, 0, 2)));
        for none in [
            "",
            "nameserver",
            "nameserver 127.0.0.1",
            "nameserver x",
            "nameservers 1.1.1.1",
        ] {
            assert_eq!(usable(none), None, "{none}");
        }
        let configured = [Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(1, 1, 1, 1)];
        assert_eq!(choose(&configured), Some(configured[0]));
    }
}
