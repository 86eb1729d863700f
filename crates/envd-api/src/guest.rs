//! What every guest has in common: its addresses, its network card, the port of its agent. Each sandbox has a network
//! namespace of its own, so all of them can be called the same.

use std::net::Ipv4Addr;

/// The guest's own address, on [`INTERFACE`].
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 21);

/// The host side of the link: default route and resolver of the guest.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 22);

/// How many leading bits of [`ADDRESS`] name the link's network.
pub const PREFIX_LEN: u8 = 30;

/// The guest's network interface.
pub const INTERFACE: &str = "eth0";

/// The hardware address of [`INTERFACE`].
pub const MAC: [u8; 6] = [0x02, 0xFC, 0x00, 0x00, 0x00, 0x05];

/// Where the guest agent listens.
pub const PORT: u16 = 49_983;

/// The host name until [`InitRequest`](crate::InitRequest) gives another.
pub const HOSTNAME: &str = "sandbox";

/// The initramfs file that names the kernel modules to load, one a line, in order. The files stand beside it.
pub const MODULE_ORDER: &str = "/modules/order";

/// The block device that holds the guest's file system.
pub const ROOT_DEVICE: &str = "/dev/vda";
