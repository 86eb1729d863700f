//! The rules inside a slot's namespace: what the guest may send at all, how much of it, where to, and who may send to it.
//!
//! ```text
//!  tap0 ─ from-guest ─ forward ─┬─ answers to the host ───────────────────────────────────────────► out
//!                               └─ outward: how much ─┬─ names ─ resolver ──────────────────────► out
//!                                                     └─ destinations ─┬─ admit: how many ───────► out
//!                                                                      └─ refuse ─► told, or not
//!  out ─ forward ─┬─ the host's own calls ─────────────────────────────────────────────────────► tap0
//!                 └─ inward: how much ─ origins ───────────────────────────────────────────────► tap0
//! ```
//!
//! The policy is the chains `resolver`, `destinations` and `origins`. They judge every packet by its addresses alone,
//! never by its connection having been judged before: a policy that changes cuts what it forbids with the very next
//! packet, in either direction. The three are filled anew in one transaction, and a packet meets the old ones or the new
//! ones. (Sets would be faster to search, but the kernel looks into a set as it is at that moment, while the chains of a
//! packet are those of its beginning.) The counts of the limits stand in the other chains and survive a change.

use std::io;

use wrenn_model::{NetworkPolicy, Subnet};

use crate::egress::Bounds;
use crate::limits::{self, Limits, Rate};
use crate::nft::{
    Batch, Direction, Family, Hook, Interface, Layer4, Policy, Rule, TableName, chain_names, state,
    tables,
};
use crate::plan::{ENVD_PORT, GATEWAY_ADDRESS, GUEST_ADDRESS, GUEST_MAC, SlotPlan};

/// The guest's end.
pub(crate) const TAP: &str = "tap0";

/// The slot's end of the veth pair.
pub(crate) const UPLINK: &str = "eth0";

const TABLE: &str = "wrenn";
/// A chain without rules, where the policy was changed after the table was written.
const CHANGED: &str = "changed";
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const FROM_GUEST: Interface<'_> = Interface::Named(TAP);
const FROM_HOST: Interface<'_> = Interface::Named(UPLINK);
const TO_GUEST: Interface<'_> = FROM_GUEST;
const TO_HOST: Interface<'_> = FROM_HOST;

/// Where names are asked for: DNS, and DNS over TLS.
pub(crate) const NAME_PORTS: [u16; 2] = [53, 853];

/// What a slot's rules are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotRules<'a> {
    pub(crate) plan: &'a SlotPlan,
    pub(crate) bounds: &'a Bounds,
    pub(crate) limits: &'a Limits,
    pub(crate) policy: &'a NetworkPolicy,
}

/// Whether the rules with this sum stand in the namespace of the calling thread, just as they were written.
///
/// # Errors
/// What the kernel said.
pub(crate) fn stand(sum: &str) -> io::Result<bool> {
    let ours = |table: TableName| table.name == TABLE && table.comment.as_deref() == Some(sum);
    if !tables(Family::Ip)?.into_iter().any(ours) {
        return Ok(false);
    }
    let chains = chain_names(Family::Ip, TABLE)?;
    Ok(chains.iter().all(|name| name != CHANGED))
}

impl SlotRules<'_> {
    /// All rules, for a namespace that has none. The TAP must stand.
    pub(crate) fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        batch.table(Family::Netdev, TABLE, None);
        batch.table(Family::Ip, TABLE, Some(&self.sum()));
        self.fill(&mut batch);
        batch
    }

    /// All rules in the place of those that stand, whoever wrote them. What the limits counted is forgotten.
    pub(crate) fn rewrite(&self) -> Batch {
        let mut batch = Batch::default();
        batch.replace_table(Family::Netdev, TABLE, None);
        batch.replace_table(Family::Ip, TABLE, Some(&self.sum()));
        self.fill(&mut batch);
        batch
    }

    /// Another policy in the place of the one that stands.
    pub(crate) fn change(&self) -> Batch {
        let mut batch = Batch::default();
        for (name, rules) in self.of_policy() {
            batch.flush_chain(Family::Ip, TABLE, name);
            batch.rules(Family::Ip, TABLE, name, rules);
        }
        // From now on the table's sum says nothing.
        batch.chain(Family::Ip, TABLE, CHANGED);
        batch
    }

    /// What tells these rules from all others. It stands as the table's comment.
    pub(crate) fn sum(&self) -> String {
        let mut rules = Batch::default();
        self.fill(&mut rules);
        format!("{:016x}", rules.sum())
    }

    fn fill(&self, batch: &mut Batch) {
        let ingress = "from-guest";
        let hook = Hook::Ingress(TAP);
        batch.base_chain(Family::Netdev, TABLE, ingress, hook, Policy::Drop);
        batch.rules(Family::Netdev, TABLE, ingress, frames());
        // A chain stands before the rules that lead to it.
        let chains = [
            ("refuse", refuse()),
            ("admit", self.admit()),
            ("names", self.names()),
            ("outward", self.outward()),
            ("inward", self.inward()),
        ];
        for (name, _) in self.of_policy().iter().chain(&chains) {
            batch.chain(Family::Ip, TABLE, name);
        }
        for (name, rules) in self.of_policy().into_iter().chain(chains) {
            batch.rules(Family::Ip, TABLE, name, rules);
        }
        let (nat, filter) = (Policy::Accept, Policy::Drop);
        for (name, hook, policy, rules) in [
            ("agent-in", Hook::Raw, nat, vec![from_envd().untrack()]),
            ("agent-out", Hook::RawOutput, nat, vec![to_envd().untrack()]),
            ("prerouting", Hook::DestinationNat, nat, self.destinations()),
            ("postrouting", Hook::SourceNat, nat, self.sources()),
            ("input", Hook::Input, filter, to_slot()),
            ("output", Hook::Output, filter, from_slot()),
            ("forward", Hook::Forward, filter, self.through()),
        ] {
            batch.base_chain(Family::Ip, TABLE, name, hook, policy);
            batch.rules(Family::Ip, TABLE, name, rules);
        }
    }

    /// Names are asked of the gateway and answered by the host; the host's address for the guest leads to the guest.
    fn destinations(&self) -> Vec<Rule> {
        let question = |protocol| {
            rule()
                .from(FROM_GUEST)
                .destination(Subnet::host(GATEWAY_ADDRESS))
                .port(protocol, 53)
                .dnat(self.plan.veth_host)
        };
        vec![
            question(Layer4::Udp),
            question(Layer4::Tcp),
            rule()
                .from(FROM_HOST)
                .destination(Subnet::host(self.plan.host_ip))
                .dnat(GUEST_ADDRESS),
        ]
    }

    /// The world sees the slot's address, the guest sees its gateway's.
    fn sources(&self) -> Vec<Rule> {
        vec![
            rule().to(TO_HOST).snat(self.plan.veth_slot),
            rule().to(TO_GUEST).snat(GATEWAY_ADDRESS),
        ]
    }

    fn through(&self) -> Vec<Rule> {
        let inward = || rule().from(FROM_HOST).to(TO_GUEST);
        let outward = || rule().from(FROM_GUEST).to(TO_HOST);
        vec![
            rule().state(state::INVALID).drop(),
            rule().tcp_syn().clamp_segment_size(),
            // What the host begins, root alone, has neither policy nor limit.
            inward().port(Layer4::Tcp, ENVD_PORT).drop(),
            inward()
                .direction(Direction::Original)
                .source(Subnet::host(self.plan.veth_host))
                .destination_was_rewritten()
                .accept(),
            outward()
                .direction(Direction::Reply)
                .state(state::ESTABLISHED)
                .accept(),
            outward().goto("outward"),
            inward().goto("inward"),
        ]
    }

    /// How much the guest sends, whatever it is.
    fn outward(&self) -> Vec<Rule> {
        let mut rules = self.volume();
        // The guest's errors about the host's calls are rewritten too, and go wherever the guest says.
        rules.push(
            rule()
                .destination(Subnet::host(self.plan.veth_host))
                .destination_was_rewritten()
                .goto("names"),
        );
        // Whoever answers names elsewhere could be anybody's tunnel.
        for port in NAME_PORTS {
            for protocol in [Layer4::Udp, Layer4::Tcp] {
                rules.push(rule().port(protocol, port).goto("refuse"));
            }
        }
        rules.push(rule().goto("destinations"));
        rules
    }

    /// How much comes to the guest: answers, and errors about what it sent, from whoever stands on the way.
    fn inward(&self) -> Vec<Rule> {
        let mut rules = self.volume();
        rules.push(rule().state(state::RELATED).accept());
        // A resolver's answer bears the host's address.
        rules.push(
            rule()
                .state(state::ESTABLISHED)
                .source(Subnet::host(self.plan.veth_host))
                .destination_was_rewritten()
                .goto("resolver"),
        );
        rules.push(rule().state(state::ESTABLISHED).goto("origins"));
        rules.push(rule().drop());
        rules
    }

    fn volume(&self) -> Vec<Rule> {
        vec![
            rule()
                .bytes_over(Rate::bytes(self.limits.bytes_per_sec))
                .drop(),
            rule()
                .packets_over(Rate::packets(self.limits.packets_per_sec))
                .drop(),
        ]
    }

    /// Questions to the gateway. Each is one packet, and few are a connection of their own.
    fn names(&self) -> Vec<Rule> {
        let packets = Rate::things(self.limits.questions_per_sec);
        let bytes = Rate::bytes(limits::QUESTION_BYTES_PER_SEC.into());
        vec![
            rule().packets_over(packets).drop(),
            rule().bytes_over(bytes).drop(),
            rule().goto("resolver"),
        ]
    }

    /// What the policy lets out. A connection counts from its first packet on.
    fn admit(&self) -> Vec<Rule> {
        let begun = Rate::things(self.limits.new_connections_per_sec);
        vec![
            rule().begins_connection().packets_over(begun).drop(),
            rule()
                .begins_connection()
                .connections_over(self.limits.connections)
                .drop(),
            rule().accept(),
        ]
    }

    /// The chains that are the policy.
    fn of_policy(&self) -> [(&'static str, Vec<Rule>); 3] {
        let decisions = self.bounds.decisions(self.policy);
        let resolver = if self.policy.reaches_anything() {
            vec![rule().accept()]
        } else {
            vec![rule().from(FROM_GUEST).goto("refuse"), rule().drop()]
        };
        let to = decisions.iter().map(|decision| {
            let to = rule().destination(decision.about);
            to.goto(if decision.open { "admit" } else { "refuse" })
        });
        let from = decisions.iter().map(|decision| {
            let from = rule().source(decision.about);
            if decision.open {
                from.accept()
            } else {
                from.drop()
            }
        });
        [
            ("resolver", resolver),
            ("destinations", to.collect()),
            ("origins", from.collect()),
        ]
    }
}

/// Only IPv4 and ARP, only with the guest's own two addresses.
fn frames() -> Vec<Rule> {
    vec![
        rule().source_mac(GUEST_MAC, false).drop(),
        rule()
            .ethertype(IPV4)
            .source(Subnet::host(GUEST_ADDRESS))
            .accept(),
        rule()
            .ethertype(ARP)
            .arp_sender(GUEST_MAC, GUEST_ADDRESS)
            .accept(),
    ]
}

/// A guest that is told at once does not wait for its own timeouts.
fn refuse() -> Vec<Rule> {
    let told = Rate::things(limits::REFUSALS_PER_SEC);
    vec![
        rule().packets_over(told).drop(),
        rule().protocol(Layer4::Tcp).reset(),
        rule().prohibited(),
    ]
}

/// Nothing in the namespace listens: only answers to what the agent asked through it.
fn to_slot() -> Vec<Rule> {
    vec![
        rule()
            .from(FROM_GUEST)
            .state(state::ESTABLISHED | state::RELATED)
            .accept(),
        from_envd().state(state::UNTRACKED).tcp_answer().accept(),
    ]
}

/// What the agent asks the guest's. It is in no table of connections: one that is full, whoever filled it, does not part the
/// agent from its guests.
fn to_envd() -> Rule {
    rule()
        .to(TO_GUEST)
        .destination(Subnet::host(GUEST_ADDRESS))
        .port(Layer4::Tcp, ENVD_PORT)
}

/// What it is answered.
fn from_envd() -> Rule {
    rule()
        .from(FROM_GUEST)
        .destination(Subnet::host(GATEWAY_ADDRESS))
        .source_port(Layer4::Tcp, ENVD_PORT)
}

/// The agent's sockets, and the kernel's own errors (too big, unreachable, refused) to either side.
fn from_slot() -> Vec<Rule> {
    vec![
        rule().to(TO_GUEST).accept(),
        rule().to(TO_HOST).state(state::RELATED).accept(),
    ]
}

fn rule() -> Rule {
    Rule::default()
}
