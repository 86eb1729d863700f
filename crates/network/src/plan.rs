//! What a slot will own, named before any of it is made.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use wrenn_model::{InstanceId, VmId};

use crate::indexes::LAST;
use crate::range::Ranges;

/// The guest's address on its TAP, the same in every slot.
pub const GUEST_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 21);

/// The slot's address on the TAP: the guest's gateway and resolver.
pub const GATEWAY_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 22);

/// How many bits the two share.
pub const GUEST_PREFIX: u8 = 30;

/// The guest's hardware address, the same in every slot.
pub const GUEST_MAC: [u8; 6] = [0x02, 0xfc, 0, 0, 0, 0x05];

/// The TAP's hardware address: fixed, since a restored guest remembers it.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0xfc, 0, 0, 0, 0x01];

/// Envd's port in the guest. Nobody but the agent reaches it.
pub const ENVD_PORT: u16 = 49_983;

/// The names and addresses of one slot. It goes into the journal before anything is made, and finds all of it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotPlan {
    /// Which of the instance's addresses it has: 1 to 32,767.
    pub index: u16,
    /// `wrenn-<instance>-<VM id>`: the namespace's name under `/run/netns`, and the alias of the host's interface.
    pub label: String,
    /// The host's end of the veth pair: a short form of the label, 15 bytes.
    pub veth: String,
    /// Where the host, and nobody else, reaches the guest's ports.
    pub host_ip: Ipv4Addr,
    /// The host's end of the veth pair.
    pub veth_host: Ipv4Addr,
    /// The slot's end of the veth pair, from which the guest's packets come.
    pub veth_slot: Ipv4Addr,
}

impl SlotPlan {
    pub(crate) fn new(instance: &InstanceId, ranges: &Ranges, index: u16, vm: &VmId) -> Self {
        // An index from elsewhere than `SlotIndexes` stays within the range all the same.
        let index = index & LAST;
        let short: String = vm
            .as_str()
            .trim_start_matches("vm-")
            .chars()
            .take(8)
            .collect();
        Self {
            index,
            label: format!("{}{vm}", label_prefix(instance)),
            veth: format!("{}{short}", veth_prefix(instance)),
            host_ip: ranges.reachable.address(index),
            veth_host: ranges.veth.address(2 * index),
            veth_slot: ranges.veth.address(2 * index + 1),
        }
    }
}

/// How the labels of an instance's slots begin.
pub(crate) fn label_prefix(instance: &InstanceId) -> String {
    format!("wrenn-{instance}-")
}

/// How the names of an instance's interfaces begin.
pub(crate) fn veth_prefix(instance: &InstanceId) -> String {
    format!("w{instance}")
}

/// The name of an instance's table in the host's namespace.
pub(crate) fn host_table(instance: &InstanceId) -> String {
    format!("wrenn-{instance}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(index: u16) -> SlotPlan {
        let instance = "abc123".parse().unwrap();
        SlotPlan::new(
            &instance,
            &Ranges::default(),
            index,
            &"vm-0123456789ab".parse().unwrap(),
        )
    }

    #[test]
    fn names_and_addresses_follow_from_instance_index_and_vm() {
        let first = plan(1);
        assert_eq!(first.label, "wrenn-abc123-vm-0123456789ab");
        assert_eq!(first.veth, "wabc12301234567");
        assert!(first.veth.len() < libc::IFNAMSIZ);
        assert_eq!(first.host_ip, Ipv4Addr::new(10, 11, 0, 1));
        assert_eq!(first.veth_host, Ipv4Addr::new(10, 12, 0, 2));
        assert_eq!(first.veth_slot, Ipv4Addr::new(10, 12, 0, 3));
        let last = plan(LAST);
        assert_eq!(last.host_ip, Ipv4Addr::new(10, 11, 127, 255));
        assert_eq!(last.veth_slot, Ipv4Addr::new(10, 12, 255, 255));
    }
}
