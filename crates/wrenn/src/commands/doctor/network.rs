//! What guests' packets meet on this host.

use std::net::Ipv4Addr;
use std::path::Path;

use wrenn_model::InstanceId;
use wrenn_network::{Ranges, Survey, interfaces};

use super::finding::Finding;
use super::{firewalls, told};

/// What a host with some hundred busy guests tracks at a time.
const CONNECTIONS: u64 = 65_536;

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    /// Why the rest is not known, where it isn't.
    seen: Result<Seen, String>,
    forwarding: Option<bool>,
    /// Tracked connections: now, and at most.
    connections: Option<(u64, u64)>,
}

/// What the kernel told.
#[derive(Debug)]
struct Seen {
    uplinks: Vec<String>,
    resolver: Option<Ipv4Addr>,
    ranges: Result<Ranges, String>,
    instances: Vec<String>,
    firewalls: firewalls::Facts,
}

impl Facts {
    pub(super) async fn look(dir: &Path) -> Self {
        let instance = told(&dir.join("instance").to_string_lossy());
        let instance = instance.and_then(|id| id.parse::<InstanceId>().ok());
        let seen = match Survey::take(instance.as_ref(), dir).await {
            Ok(survey) => Ok(Seen::complete(survey, instance.as_ref().map(interfaces)).await),
            Err(error) => Err(error.to_string()),
        };
        let number = |name: &str| {
            let text = told(&format!("/proc/sys/net/netfilter/{name}"))?;
            text.parse::<u64>().ok()
        };
        Self {
            seen,
            forwarding: told("/proc/sys/net/ipv4/ip_forward").map(|state| state != "0"),
            connections: number("nf_conntrack_count").zip(number("nf_conntrack_max")),
        }
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match &self.seen {
            Ok(seen) => {
                findings.extend([
                    seen.judge_uplinks(),
                    seen.judge_resolver(),
                    seen.judge_ranges(),
                ]);
                findings.extend(seen.firewalls.judge());
                findings.extend(seen.judge_instances());
            }
            Err(why) => findings.push(Finding::unknown(
                "links",
                format!("the kernel does not tell its links and routes: {why}"),
                "run `sudo wrenn doctor`",
            )),
        }
        findings.push(self.judge_forwarding());
        findings.extend(self.judge_connections());
        findings
    }

    fn judge_forwarding(&self) -> Finding {
        const CHECK: &str = "forwarding";
        match self.forwarding {
            Some(true) => Finding::ok(CHECK, "on"),
            Some(false) => Finding::ok(
                CHECK,
                "off; Wrenn turns it on while it has the machine, and off again with `wrenn down`",
            ),
            None => Finding::problem(CHECK, "this kernel has no IPv4", "use another kernel"),
        }
    }

    /// Nothing to say where connections are not tracked yet.
    fn judge_connections(&self) -> Option<Finding> {
        const CHECK: &str = "connections";
        const REMEDY: &str =
            "`sysctl -w net.netfilter.nf_conntrack_max=262144`, and the same in /etc/sysctl.d";
        let (now, most) = self.connections?;
        let found = format!("{now} of {most} that are tracked at most");
        Some(if now > most / 10 * 8 {
            Finding::warning(CHECK, format!("{found}: new ones are dropped soon"), REMEDY)
        } else if most < CONNECTIONS {
            Finding::warning(CHECK, format!("{found}: few for many guests"), REMEDY)
        } else {
            Finding::ok(CHECK, found)
        })
    }
}

impl Seen {
    async fn complete(survey: Survey, interfaces: Option<String>) -> Self {
        Self {
            uplinks: survey.uplinks,
            resolver: survey.resolver,
            ranges: survey.ranges.map_err(|error| error.to_string()),
            instances: survey.instances,
            firewalls: firewalls::Facts::look(interfaces, survey.droppers).await,
        }
    }

    fn judge_uplinks(&self) -> Finding {
        const CHECK: &str = "uplink";
        if self.uplinks.is_empty() {
            let found = "there is no default route: guests will not reach the internet";
            return Finding::warning(CHECK, found, "connect this machine, if guests shall");
        }
        Finding::ok(CHECK, self.uplinks.join(", "))
    }

    fn judge_resolver(&self) -> Finding {
        const CHECK: &str = "resolver";
        match self.resolver {
            Some(resolver) => Finding::ok(CHECK, resolver.to_string()),
            None => Finding::warning(
                CHECK,
                "the host asks for names on loopback alone: guests will not resolve any",
                "name a resolver beyond loopback in /etc/resolv.conf",
            ),
        }
    }

    fn judge_ranges(&self) -> Finding {
        const CHECK: &str = "addresses";
        match &self.ranges {
            Ok(Ranges { veth, reachable }) => {
                Finding::ok(CHECK, format!("{veth} and {reachable} for guests"))
            }
            Err(why) => Finding::problem(
                CHECK,
                why,
                "free two /16 of private addresses on this host: `ip address` and `ip route` show what has them",
            ),
        }
    }

    fn judge_instances(&self) -> Option<Finding> {
        let found = match self.instances.as_slice() {
            [] => return None,
            [one] => format!("{one} has its rules here"),
            several => format!("{} have their rules here, side by side", several.join(", ")),
        };
        Some(Finding::ok("installations", found))
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn facts() -> Facts {
        let seen = Seen {
            uplinks: vec!["eth0".into()],
            resolver: Some(Ipv4Addr::new(9, 9, 9, 9)),
            ranges: Ok(Ranges::default()),
            instances: vec!["abc123".into()],
            firewalls: firewalls::Facts::none(),
        };
        Facts {
            seen: Ok(seen),
            forwarding: Some(false),
            connections: Some((3, 262_144)),
        }
    }

    fn seen(facts: &mut Facts) -> &mut Seen {
        facts.seen.as_mut().unwrap()
    }

    fn judged(facts: &Facts, check: &str) -> Vec<Finding> {
        let mut findings = facts.judge();
        findings.retain(|finding| finding.check == check);
        findings
    }

    #[test]
    fn a_host_that_is_as_it_should_be_raises_nothing() {
        let facts = facts();
        assert!(
            facts
                .judge()
                .iter()
                .all(|finding| finding.verdict == Verdict::Ok)
        );
    }

    #[test]
    fn what_guests_will_miss_is_a_warning_and_no_addresses_a_problem() {
        let mut facts = facts();
        seen(&mut facts).uplinks.clear();
        seen(&mut facts).resolver = None;
        seen(&mut facts).ranges = Err("none is free".into());
        let of = |check| judged(&facts, check)[0].verdict;
        assert_eq!(of("uplink"), Verdict::Warning);
        assert_eq!(of("resolver"), Verdict::Warning);
        assert_eq!(of("addresses"), Verdict::Problem);
    }

    #[test]
    fn a_table_of_connections_may_be_small_or_full() {
        let verdict = |now, most| {
            let mut facts = facts();
            facts.connections = Some((now, most));
            judged(&facts, "connections")[0].verdict
        };
        assert_eq!(verdict(3, 262_144), Verdict::Ok);
        assert_eq!(verdict(3, 8192), Verdict::Warning);
        assert_eq!(verdict(250_000, 262_144), Verdict::Warning);
    }
}
