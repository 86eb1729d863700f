//! The rules in the host's namespace: one table an instance, the same for any number of slots.
//!
//! All of an instance's interfaces share a prefix, and all rules ask for it, so that nothing else on the host is judged.
//! A drop is final whatever other firewalls say; an accept of ours does not overrule theirs.

use std::net::Ipv4Addr;

use wrenn_model::Subnet;

use crate::egress::Bounds;
use crate::nft::{Batch, Family, Hook, Interface, Layer4, Policy, Rule, state};
use crate::plan::ENVD_PORT;
use crate::range::Ranges;
use crate::slot_rules::NAME_PORTS;
use crate::special::PRIVATE;

/// What the host's rules are made from.
#[derive(Debug)]
pub(crate) struct HostRules<'a> {
    pub(crate) table: &'a str,
    /// Shown by `nft`, and read back: see `forwarding`.
    pub(crate) comment: Option<&'a str>,
    /// How the names of the instance's interfaces begin.
    pub(crate) veth_prefix: &'a str,
    pub(crate) ranges: &'a Ranges,
    pub(crate) bounds: &'a Bounds,
    pub(crate) uplinks: &'a [String],
    pub(crate) resolver: Option<Ipv4Addr>,
}

impl HostRules<'_> {
    pub(crate) fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        batch.replace_table(Family::Ip, self.table, self.comment);
        for (name, rules) in [
            ("outbound", self.outbound()),
            ("inbound", self.inbound()),
            ("to-host", self.to_host()),
            ("to-guest", Self::to_guest()),
        ] {
            batch.chain(Family::Ip, self.table, name);
            batch.rules(Family::Ip, self.table, name, rules);
        }
        for (name, hook, rules) in [
            ("guard", Hook::Raw, self.guard()),
            ("resolve", Hook::DestinationNat, self.resolve()),
            (
                "input",
                Hook::Input,
                vec![self.sent_by_slots().goto("to-host")],
            ),
            (
                "forward",
                Hook::Forward,
                vec![
                    self.sent_by_slots().goto("outbound"),
                    self.sent_to_slots().goto("inbound"),
                ],
            ),
            (
                "output",
                Hook::Output,
                vec![self.sent_to_slots().goto("to-guest")],
            ),
            ("masquerade", Hook::SourceNat, self.masquerade()),
        ] {
            batch.base_chain(Family::Ip, self.table, name, hook, Policy::Accept);
            batch.rules(Family::Ip, self.table, name, rules);
        }
        batch
    }

    /// A slot sends from its own two addresses; nobody else sends from or to the instance's ranges.
    fn guard(&self) -> Vec<Rule> {
        let veth = self.ranges.veth.subnet();
        let reachable = self.ranges.reachable.subnet();
        vec![
            self.sent_by_slots().source_is_elsewhere().drop(),
            self.sent_by_slots().source(veth).accept(),
            self.sent_by_slots().source(reachable).accept(),
            self.sent_by_slots().drop(),
            rule().from(Interface::Named("lo")).accept(),
            rule().source(veth).drop(),
            rule().source(reachable).drop(),
            rule().destination(veth).drop(),
            rule().destination(reachable).drop(),
        ]
    }

    /// Questions for names come to the host's end of the veth pair.
    fn resolve(&self) -> Vec<Rule> {
        let Some(resolver) = self.resolver else {
            return Vec::new();
        };
        [Layer4::Udp, Layer4::Tcp]
            .map(|protocol| {
                self.sent_by_slots()
                    .destination(self.ranges.veth.subnet())
                    .port(protocol, 53)
                    .dnat(resolver)
            })
            .into()
    }

    /// From slots through the host: to the resolver, to what the operator opened, to the public internet by an uplink,
    /// nowhere else. Which of it a sandbox reaches is its slot's to say.
    fn outbound(&self) -> Vec<Rule> {
        let mut rules = vec![
            rule().state(state::INVALID).drop(),
            rule().source_not(self.ranges.veth.subnet()).drop(),
        ];
        rules.extend(self.questions());
        for port in NAME_PORTS {
            for protocol in [Layer4::Udp, Layer4::Tcp] {
                rules.push(rule().port(protocol, port).drop());
            }
        }
        let to = |subnet| rule().destination(subnet);
        rules.extend(self.bounds.protected().map(|subnet| to(subnet).drop()));
        for opened in self.bounds.opened() {
            let elsewhere = to(*opened).not_to(Interface::StartingWith(self.veth_prefix));
            rules.push(elsewhere.accept());
        }
        rules.extend(PRIVATE.map(|subnet| to(subnet).drop()));
        for uplink in self.uplinks {
            rules.push(rule().to(Interface::Named(uplink)).accept());
        }
        rules.push(rule().drop());
        rules
    }

    /// Through the host to slots: only answers.
    fn inbound(&self) -> Vec<Rule> {
        vec![
            rule().state(state::ESTABLISHED | state::RELATED).accept(),
            rule().drop(),
        ]
    }

    /// From slots to the host itself: answers to the agent, and questions when the resolver is the host's own.
    fn to_host(&self) -> Vec<Rule> {
        let mut rules = vec![rule().state(state::ESTABLISHED | state::RELATED).accept()];
        rules.extend(self.questions());
        rules.push(rule().drop());
        rules
    }

    /// From the host itself to guests: root alone, and not to envd, which the agent calls from inside the slot.
    fn to_guest() -> Vec<Rule> {
        const ROOT: u32 = 0;
        vec![
            rule().port(Layer4::Tcp, ENVD_PORT).drop(),
            rule().state(state::ESTABLISHED | state::RELATED).accept(),
            rule().socket_of_user(ROOT).accept(),
            rule().drop(),
        ]
    }

    fn masquerade(&self) -> Vec<Rule> {
        vec![
            rule()
                .source(self.ranges.veth.subnet())
                .not_to(Interface::StartingWith(self.veth_prefix))
                .masquerade(),
        ]
    }

    /// What [`Self::resolve`] sent on its way.
    fn questions(&self) -> Vec<Rule> {
        let accept = |resolver| {
            [Layer4::Udp, Layer4::Tcp].map(|protocol| {
                rule()
                    .destination(Subnet::host(resolver))
                    .port(protocol, 53)
                    .destination_was_rewritten()
                    .accept()
            })
        };
        self.resolver.into_iter().flat_map(accept).collect()
    }

    fn sent_by_slots(&self) -> Rule {
        rule().from(Interface::StartingWith(self.veth_prefix))
    }

    fn sent_to_slots(&self) -> Rule {
        rule().to(Interface::StartingWith(self.veth_prefix))
    }
}

fn rule() -> Rule {
    Rule::default()
}
