//! Firewalls of others that stand in the way of guests' packets.

use std::io;
use std::time::Duration;

use wrenn_network::Dropper;
use wrenn_sys::program::Program;

use super::finding::Finding;
use super::told;

const CHECK: &str = "firewalls";

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    root: bool,
    /// How this installation's interfaces begin, once there is one.
    interfaces: Option<String>,
    droppers: io::Result<Vec<Dropper>>,
    legacy: Legacy,
}

/// The old iptables, which nf_tables does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Legacy {
    /// It filters nothing.
    Absent,
    /// It lets through what is forwarded, or may: its rules are not read.
    Accepts,
    /// Its policy for what is forwarded is to drop.
    Drops,
    /// It filters, and how can't be seen.
    Unseen,
}

impl Facts {
    /// Takes what was seen of nf_tables, and looks at the rest.
    pub(super) async fn look(
        interfaces: Option<String>,
        droppers: io::Result<Vec<Dropper>>,
    ) -> Self {
        Self {
            root: rustix::process::geteuid().is_root(),
            interfaces,
            droppers,
            legacy: Legacy::look().await,
        }
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        let droppers = match &self.droppers {
            Ok(droppers) => droppers,
            Err(_) if !self.root => {
                return vec![Finding::hidden(CHECK, "other firewalls are root's to see")];
            }
            Err(error) => {
                return vec![Finding::problem(
                    CHECK,
                    format!(
                        "this kernel does not tell its nf_tables ({error}), and could not take Wrenn's"
                    ),
                    "`modprobe nf_tables`; in a container, give it the capability NET_ADMIN",
                )];
            }
        };
        let mut findings: Vec<_> = droppers.iter().map(|one| self.judge_dropper(one)).collect();
        findings.extend(match self.legacy {
            Legacy::Drops => Some(Finding::warning(
                CHECK,
                "the old iptables drops what is forwarded unless a rule accepts it: guests may not reach the internet",
                accepting("iptables-legacy -I FORWARD", self.interfaces.as_deref()),
            )),
            Legacy::Unseen => Some(Finding::unknown(
                CHECK,
                "the old iptables filters, and there is no iptables-legacy here to ask",
                "see that its FORWARD chain accepts guests' packets",
            )),
            Legacy::Absent | Legacy::Accepts => None,
        });
        if findings.is_empty() {
            findings.push(Finding::ok(CHECK, "none that drops what is forwarded"));
        }
        findings
    }

    fn judge_dropper(&self, dropper: &Dropper) -> Finding {
        let Dropper {
            family,
            table,
            chain,
        } = dropper;
        let found = format!(
            "the chain {chain} of the table {family} {table} drops what no rule there accepts: guests may not reach \
             the internet"
        );
        let interfaces = self.interfaces.as_deref();
        let remedy = if (*family, table.as_str(), chain.as_str()) == ("ip", "filter", "FORWARD") {
            // Where Docker or ufw rule over iptables, that is the tool to speak with.
            accepting("iptables -I FORWARD", interfaces)
        } else {
            let names = name(interfaces);
            format!(
                "`nft insert rule {family} {table} {chain} iifname \"{names}*\" accept` and the same with `oifname \
                 \"{names}*\" ct state established,related`; write both into that firewall's own configuration"
            )
        };
        Finding::warning(CHECK, found, remedy)
    }
}

impl Legacy {
    async fn look() -> Self {
        let tables = told("/proc/net/ip_tables_names").unwrap_or_default();
        if !tables.lines().any(|table| table == "filter") {
            return Self::Absent;
        }
        let asked = Program::new("iptables-legacy")
            .args(["-S", "FORWARD"])
            .limit(Duration::from_secs(10))
            .run();
        match asked.await {
            Ok(output) => Self::parse(&String::from_utf8_lossy(&output.stdout)),
            Err(_) => Self::Unseen,
        }
    }

    fn parse(rules: &str) -> Self {
        let policy = rules
            .lines()
            .find_map(|line| line.strip_prefix("-P FORWARD "));
        match policy {
            Some("DROP") => Self::Drops,
            Some(_) => Self::Accepts,
            None => Self::Unseen,
        }
    }
}

/// What interfaces are called in advice; before the first start their names are not known.
fn name(interfaces: Option<&str>) -> &str {
    interfaces.unwrap_or("w<instance>")
}

fn accepting(insert: &str, interfaces: Option<&str>) -> String {
    let names = name(interfaces);
    format!(
        "`{insert} -i {names}+ -j ACCEPT` and `{insert} -o {names}+ -m conntrack --ctstate ESTABLISHED,RELATED -j \
         ACCEPT`; with Docker, in the chain DOCKER-USER instead"
    )
}

#[cfg(test)]
impl Facts {
    /// That nothing stands in the way.
    pub(super) fn none() -> Self {
        Self {
            root: true,
            interfaces: Some("wabc123".into()),
            droppers: Ok(Vec::new()),
            legacy: Legacy::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn they_are_named_with_the_rule_that_opens_them() {
        let dropper = |family, table: &str, chain: &str| Dropper {
            family,
            table: table.into(),
            chain: chain.into(),
        };
        let facts = Facts {
            droppers: Ok(vec![
                dropper("ip", "filter", "FORWARD"),
                dropper("inet", "firewalld", "filter_FORWARD"),
            ]),
            ..Facts::none()
        };
        let findings = facts.judge().into_iter();
        let remedies: Vec<_> = findings.filter_map(|finding| finding.remedy).collect();
        assert!(remedies[0].starts_with("`iptables -I FORWARD -i wabc123+ -j ACCEPT`"));
        let nft = "`nft insert rule inet firewalld filter_FORWARD iifname \"wabc123*\" accept`";
        assert!(remedies[1].starts_with(nft), "{remedies:?}");
    }

    #[test]
    fn the_old_iptables_is_asked_for_its_policy() {
        let dropping = "-P FORWARD DROP\n-A FORWARD -j X\n";
        assert_eq!(Legacy::parse(dropping), Legacy::Drops);
        assert_eq!(Legacy::parse("-P FORWARD ACCEPT\n"), Legacy::Accepts);
        assert_eq!(Legacy::parse(""), Legacy::Unseen);
        let facts = Facts {
            legacy: Legacy::Drops,
            interfaces: None,
            ..Facts::none()
        };
        let remedy = facts.judge()[0].remedy.clone().unwrap();
        assert!(remedy.contains("-i w<instance>+"), "{remedy}");
    }

    #[test]
    fn what_only_root_sees_is_unknown_to_others() {
        let verdict = |root| {
            let facts = Facts {
                root,
                droppers: Err(io::ErrorKind::PermissionDenied.into()),
                ..Facts::none()
            };
            facts.judge()[0].verdict
        };
        assert_eq!(verdict(false), Verdict::Unknown);
        assert_eq!(verdict(true), Verdict::Problem);
    }
}
