//! How much a guest has sent and received.

use crate::error::Error;
use crate::network::Network;
use crate::plan::SlotPlan;

/// What passed between a guest and everything beyond its slot, since the slot was made. What the host refused to carry is
/// not in it, and neither are the agent's own calls, which do not leave the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes to the guest, with their Ethernet headers.
    pub received_bytes: u64,
    /// Packets to the guest.
    pub received_packets: u64,
    /// Bytes from the guest, with their Ethernet headers.
    pub sent_bytes: u64,
    /// Packets from the guest.
    pub sent_packets: u64,
}

impl Network {
    /// What passed so far; `None` when the slot is not there.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn traffic(&self, plan: &SlotPlan) -> Result<Option<Traffic>, Error> {
        let stats = self.links().stats(&plan.veth).await?;
        // What the host's end of the pair receives, the guest has sent.
        Ok(stats.map(|stats| Traffic {
            received_bytes: stats.tx_bytes,
            received_packets: stats.tx_packets,
            sent_bytes: stats.rx_bytes,
            sent_packets: stats.rx_packets,
        }))
    }
}
