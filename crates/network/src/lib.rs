//! Slots: a network namespace, a veth pair, a TAP and the rules around them, for one VM each.
//!
//! ```text
//!  guest eth0            slot's namespace                      host's namespace
//!  169.254.0.21 ── tap0 169.254.0.22 ─ eth0 10.12.x.y+1 ── w<instance>… 10.12.x.y ── uplink
//!                  only IPv4 and ARP   guest ⇄ 10.11.x.y    to the public internet,
//!                  of this guest;      by DNAT, SNAT;       the resolver, and what the
//!                                      policy, limits       operator opened
//! ```
//!
//! The rules are complete in both namespaces, so that neither depends on the other. They are written by netlink, no
//! program is run. What an instance makes carries its id: namespaces and interface labels, the table, the metric of its
//! routes. Nothing is known here of sandboxes and VMs but a VM's id.

mod claim;
mod egress;
mod error;
mod forwarding;
mod host_rules;
mod indexes;
mod leftovers;
pub mod limits;
mod links;
mod network;
mod nft;
mod plan;
mod range;
mod resolvers;
mod slot;
mod slot_rules;
mod special;
mod survey;
mod sysctl;
mod tracked;
mod traffic;

pub use error::{Error, Refused};
pub use indexes::{LAST as LAST_INDEX, SlotIndexes};
pub use leftovers::{leftovers, recorded};
pub use limits::Limits;
pub use network::{Config, Network, Warning};
pub use plan::{
    ENVD_PORT, GATEWAY_ADDRESS, GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC, GUEST_PREFIX, SlotPlan,
};
pub use range::{InvalidRange, Range, Ranges};
pub use slot::{Slot, SlotDialer};
pub use special::{PRIVATE, PROTECTED};
pub use survey::{Dropper, Survey, interfaces};
pub use tracked::Tracked;
pub use traffic::Traffic;
