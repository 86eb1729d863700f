//! The rules inside a slot's namespace: what the guest may send at all, and who may send to it.

use crate::denied;
use crate::nft::{Batch, Family, Hook, Interface, Layer4, Policy, Rule, state};
use crate::plan::{ENVD_PORT, GATEWAY_ADDRESS, GUEST_ADDRESS, GUEST_MAC, SlotPlan};
use crate::range::Subnet;

/// The guest's end.
pub(crate) const TAP: &str = "tap0";

/// The slot's end of the veth pair.
pub(crate) const UPLINK: &str = "eth0";

const TABLE: &str = "wrenn";
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const FROM_GUEST: Interface<'_> = Interface::Named(TAP);
const FROM_HOST: Interface<'_> = Interface::Named(UPLINK);
const TO_GUEST: Interface<'_> = FROM_GUEST;
const TO_HOST: Interface<'_> = FROM_HOST;

/// All rules of a slot, for a namespace that has none. The TAP must stand.
pub(crate) fn batch(plan: &SlotPlan) -> Batch {
    let mut batch = Batch::default();
    batch.table(Family::Netdev, TABLE);
    let ingress = "from-guest";
    batch.base_chain(
        Family::Netdev,
        TABLE,
        ingress,
        Hook::Ingress(TAP),
        Policy::Drop,
    );
    batch.rules(Family::Netdev, TABLE, ingress, frames());
    batch.table(Family::Ip, TABLE);
    for (name, hook, policy, rules) in [
        (
            "prerouting",
            Hook::DestinationNat,
            Policy::Accept,
            destinations(plan),
        ),
        (
            "postrouting",
            Hook::SourceNat,
            Policy::Accept,
            sources(plan),
        ),
        ("input", Hook::Input, Policy::Drop, to_slot()),
        ("output", Hook::Output, Policy::Drop, from_slot()),
        ("forward", Hook::Forward, Policy::Drop, through(plan)),
    ] {
        batch.base_chain(Family::Ip, TABLE, name, hook, policy);
        batch.rules(Family::Ip, TABLE, name, rules);
    }
    batch
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

/// Names are asked of the gateway and answered by the host; the host's address for the guest leads to the guest.
fn destinations(plan: &SlotPlan) -> Vec<Rule> {
    let question = |protocol| {
        rule()
            .from(FROM_GUEST)
            .destination(Subnet::host(GATEWAY_ADDRESS))
            .port(protocol, 53)
            .dnat(plan.veth_host)
    };
    vec![
        question(Layer4::Udp),
        question(Layer4::Tcp),
        rule()
            .from(FROM_HOST)
            .destination(Subnet::host(plan.host_ip))
            .dnat(GUEST_ADDRESS),
    ]
}

/// The world sees the slot's address, the guest sees its gateway's.
fn sources(plan: &SlotPlan) -> Vec<Rule> {
    vec![
        rule().to(TO_HOST).snat(plan.veth_slot),
        rule().to(TO_GUEST).snat(GATEWAY_ADDRESS),
    ]
}

/// Nothing in the namespace listens: only answers to what the agent asked through it.
fn to_slot() -> Vec<Rule> {
    vec![
        rule()
            .from(FROM_GUEST)
            .state(state::ESTABLISHED | state::RELATED)
            .accept(),
    ]
}

/// The agent's sockets, and the kernel's own errors (too big, unreachable) to either side.
fn from_slot() -> Vec<Rule> {
    vec![
        rule().to(TO_GUEST).accept(),
        rule().to(TO_HOST).state(state::RELATED).accept(),
    ]
}

fn through(plan: &SlotPlan) -> Vec<Rule> {
    let inward = || rule().from(FROM_HOST).to(TO_GUEST);
    let outward = || rule().from(FROM_GUEST).to(TO_HOST);
    let mut rules = vec![
        rule().state(state::INVALID).drop(),
        rule().tcp_syn().clamp_segment_size(),
        inward().port(Layer4::Tcp, ENVD_PORT).drop(),
        inward().state(state::ESTABLISHED | state::RELATED).accept(),
        inward()
            .source(Subnet::host(plan.veth_host))
            .destination_was_rewritten()
            .accept(),
        // Errors that the guest relates to a connection do not pass by that alone: they have a destination of their own.
        outward().state(state::ESTABLISHED).accept(),
        // The questions to the resolver: nothing else of the guest's is rewritten.
        outward().destination_was_rewritten().accept(),
    ];
    rules.extend(denied::rules());
    rules.push(outward().accept());
    rules
}

fn rule() -> Rule {
    Rule::default()
}
