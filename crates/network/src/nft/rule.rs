//! One rule: matches from left to right, then what is done. Reads as `nft` prints it.

use std::net::Ipv4Addr;

use super::attribute::Attributes;
use super::constants::{
    bitwise, byteorder, cmp, connlimit, ct, data, expr, exthdr, fib, immediate, limit, list, masq,
    meta, nat, payload, reject, rt, verdict,
};
use crate::limits::Rate;
use wrenn_model::Subnet;

/// Layer 4 protocols by their number in the IP header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layer4 {
    Tcp = 6,
    Udp = 17,
}

/// Bits of a connection's state, as conntrack tells it.
pub(crate) mod state {
    pub(crate) const INVALID: u32 = 1;
    pub(crate) const ESTABLISHED: u32 = 1 << 1;
    pub(crate) const RELATED: u32 = 1 << 2;
    pub(crate) const UNTRACKED: u32 = 1 << 6;
}

/// Which way a packet of a connection goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    /// As its first one.
    Original = 0,
    /// The other way.
    Reply = 1,
}

/// The bit of a connection's status that says that its first packet has come through.
const CONFIRMED: u32 = 1 << 3;

/// The bit of a connection's status that says that its destination was rewritten.
const DESTINATION_NAT: u32 = 1 << 5;

/// An interface name, whole or the beginning of one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Interface<'a> {
    Named(&'a str),
    StartingWith(&'a str),
}

/// The expressions of a rule in the making. A rule without a last word counts nothing and does nothing.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rule(Attributes);

impl Rule {
    pub(crate) fn expressions(&self) -> &[u8] {
        self.0.as_slice()
    }

    // ---- matches ----

    pub(crate) fn from(self, interface: Interface<'_>) -> Self {
        self.meta(libc::NFT_META_IIFNAME)
            .interface(interface, libc::NFT_CMP_EQ)
    }

    pub(crate) fn to(self, interface: Interface<'_>) -> Self {
        self.meta(libc::NFT_META_OIFNAME)
            .interface(interface, libc::NFT_CMP_EQ)
    }

    pub(crate) fn not_to(self, interface: Interface<'_>) -> Self {
        self.meta(libc::NFT_META_OIFNAME)
            .interface(interface, libc::NFT_CMP_NEQ)
    }

    pub(crate) fn source(self, subnet: Subnet) -> Self {
        self.network_header(12, 4).subnet(subnet, libc::NFT_CMP_EQ)
    }

    pub(crate) fn source_not(self, subnet: Subnet) -> Self {
        self.network_header(12, 4).subnet(subnet, libc::NFT_CMP_NEQ)
    }

    pub(crate) fn destination(self, subnet: Subnet) -> Self {
        self.network_header(16, 4).subnet(subnet, libc::NFT_CMP_EQ)
    }

    pub(crate) fn port(self, protocol: Layer4, port: u16) -> Self {
        self.port_at(2, protocol, port)
    }

    pub(crate) fn source_port(self, protocol: Layer4, port: u16) -> Self {
        self.port_at(0, protocol, port)
    }

    fn port_at(self, offset: u32, protocol: Layer4, port: u16) -> Self {
        self.protocol(protocol)
            .payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2)
            .compare(libc::NFT_CMP_EQ, &port.to_be_bytes())
    }

    pub(crate) fn protocol(self, protocol: Layer4) -> Self {
        self.meta(libc::NFT_META_L4PROTO)
            .compare(libc::NFT_CMP_EQ, &[protocol as u8])
    }

    /// Packets that go this way of their connection.
    pub(crate) fn direction(self, direction: Direction) -> Self {
        self.ct(libc::NFT_CT_DIRECTION)
            .compare(libc::NFT_CMP_EQ, &[direction as u8])
    }

    /// First packets. That a connection is new says less: without an answer it stays so.
    pub(crate) fn begins_connection(self) -> Self {
        self.ct(libc::NFT_CT_STATUS)
            .mask(&CONFIRMED.to_ne_bytes())
            .compare(libc::NFT_CMP_EQ, &[0; 4])
    }

    /// Packets beyond so many of those that get here.
    pub(crate) fn packets_over(self, rate: Rate) -> Self {
        self.over(rate, limit::OF_PACKETS)
    }

    /// Packets that make it more bytes than these, of those that get here.
    pub(crate) fn bytes_over(self, rate: Rate) -> Self {
        self.over(rate, limit::OF_BYTES)
    }

    /// Packets of connections beyond so many that stand, of those whose packets get here.
    pub(crate) fn connections_over(self, count: u32) -> Self {
        let limit = Attributes::default()
            .number(connlimit::COUNT, count)
            .number(connlimit::FLAGS, connlimit::OVER);
        self.expression("connlimit", &limit)
    }

    /// Any of these bits of [`state`].
    pub(crate) fn state(self, bits: u32) -> Self {
        self.ct(libc::NFT_CT_STATE).any_bit(bits)
    }

    /// Connections whose destination was rewritten by a rule of this namespace.
    pub(crate) fn destination_was_rewritten(self) -> Self {
        self.ct(libc::NFT_CT_STATUS).any_bit(DESTINATION_NAT)
    }

    /// Packets of a socket that this user opened; what has no socket does not match.
    pub(crate) fn socket_of_user(self, uid: u32) -> Self {
        self.meta(libc::NFT_META_SKUID)
            .compare(libc::NFT_CMP_EQ, &uid.to_ne_bytes())
    }

    /// Packets whose source is not routed to the interface that they came from.
    pub(crate) fn source_is_elsewhere(self) -> Self {
        let lookup = Attributes::default()
            .number(fib::DREG, REGISTER)
            .number(fib::RESULT, fib::RESULT_OIF)
            .number(fib::FLAGS, fib::SADDR | fib::IIF | fib::PRESENT);
        self.expression("fib", &lookup)
            .compare(libc::NFT_CMP_EQ, &[0])
    }

    /// Frames from this hardware address, or from any other when `is` is false.
    pub(crate) fn source_mac(self, mac: [u8; 6], is: bool) -> Self {
        let operator = if is {
            libc::NFT_CMP_EQ
        } else {
            libc::NFT_CMP_NEQ
        };
        self.payload(libc::NFT_PAYLOAD_LL_HEADER, 6, 6)
            .compare(operator, &mac)
    }

    /// Frames of this EtherType.
    pub(crate) fn ethertype(self, ethertype: u16) -> Self {
        self.meta(libc::NFT_META_PROTOCOL)
            .compare(libc::NFT_CMP_EQ, &ethertype.to_be_bytes())
    }

    /// ARP for Ethernet and IPv4 whose sender claims to be these two addresses.
    pub(crate) fn arp_sender(self, mac: [u8; 6], address: Ipv4Addr) -> Self {
        let mut sender = [0; 10];
        sender[..6].copy_from_slice(&mac);
        sender[6..].copy_from_slice(&address.octets());
        // Hardware type Ethernet, protocol IPv4, address lengths 6 and 4.
        self.network_header(0, 6)
            .compare(libc::NFT_CMP_EQ, &[0, 1, 8, 0, 6, 4])
            .network_header(8, 10)
            .compare(libc::NFT_CMP_EQ, &sender)
    }

    /// The first packet of a TCP connection, from either side.
    pub(crate) fn tcp_syn(self) -> Self {
        const SYN: u8 = 0x02;
        const RST: u8 = 0x04;
        self.protocol(Layer4::Tcp)
            .payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1)
            .mask(&[SYN | RST])
            .compare(libc::NFT_CMP_EQ, &[SYN])
    }

    /// What answers, of TCP: anything but a connection's very first packet.
    pub(crate) fn tcp_answer(self) -> Self {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        self.protocol(Layer4::Tcp)
            .payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1)
            .mask(&[SYN | ACK])
            .compare(libc::NFT_CMP_NEQ, &[SYN])
    }

    // ---- what is done ----

    /// Leaves it out of the kernel's table of connections.
    pub(crate) fn untrack(self) -> Self {
        self.expression("notrack", &Attributes::default())
    }

    pub(crate) fn accept(self) -> Self {
        self.verdict(libc::NF_ACCEPT, None)
    }

    pub(crate) fn drop(self) -> Self {
        self.verdict(libc::NF_DROP, None)
    }

    /// Drops it and tells its sender that the connection is no more.
    pub(crate) fn reset(self) -> Self {
        let how = Attributes::default().number(reject::TYPE, reject::WITH_RESET);
        self.expression("reject", &how)
    }

    /// Drops it and tells its sender that somebody forbids it.
    pub(crate) fn prohibited(self) -> Self {
        let how = Attributes::default()
            .number(reject::TYPE, reject::WITH_ICMP)
            .bytes(reject::ICMP_CODE, &[reject::PROHIBITED]);
        self.expression("reject", &how)
    }

    /// Goes on in another chain, which has the last word.
    pub(crate) fn goto(self, chain: &str) -> Self {
        self.verdict(libc::NFT_GOTO, Some(chain))
    }

    pub(crate) fn dnat(self, to: Ipv4Addr) -> Self {
        self.nat(libc::NFT_NAT_DNAT, to)
    }

    pub(crate) fn snat(self, to: Ipv4Addr) -> Self {
        self.nat(libc::NFT_NAT_SNAT, to)
    }

    pub(crate) fn masquerade(self) -> Self {
        self.expression(masq::NAME, &Attributes::default())
    }

    /// Lowers the segment size that the packet offers to what its route carries.
    pub(crate) fn clamp_segment_size(self) -> Self {
        const MAXIMUM_SEGMENT_SIZE: u8 = 2;
        let route = Attributes::default()
            .number(rt::DREG, REGISTER)
            .number(rt::KEY, rt::TCPMSS);
        let big_endian = Attributes::default()
            .number(byteorder::SREG, REGISTER)
            .number(byteorder::DREG, REGISTER)
            .number(byteorder::OP, byteorder::HTON)
            .number(byteorder::LEN, 2)
            .number(byteorder::SIZE, 2);
        let option = Attributes::default()
            .bytes(exthdr::TYPE, &[MAXIMUM_SEGMENT_SIZE])
            .number(exthdr::OFFSET, 2)
            .number(exthdr::LEN, 2)
            .number(exthdr::OP, exthdr::TCP_OPTION)
            .number(exthdr::SREG, REGISTER);
        self.expression("rt", &route)
            .expression("byteorder", &big_endian)
            .expression("exthdr", &option)
    }

    // ---- expressions; all go through one register ----

    fn expression(self, name: &str, inside: &Attributes) -> Self {
        let element = Attributes::default()
            .text(expr::NAME, name)
            .nested(expr::DATA, inside);
        Self(self.0.nested(list::ELEMENT, &element))
    }

    fn meta(self, key: i32) -> Self {
        let load = Attributes::default()
            .number(meta::KEY, key.cast_unsigned())
            .number(meta::DREG, REGISTER);
        self.expression("meta", &load)
    }

    fn ct(self, key: i32) -> Self {
        let load = Attributes::default()
            .number(ct::KEY, key.cast_unsigned())
            .number(ct::DREG, REGISTER);
        self.expression("ct", &load)
    }

    fn over(self, rate: Rate, of: u32) -> Self {
        const SECOND: u64 = 1;
        let limit = Attributes::default()
            .bytes(limit::RATE, &rate.per_sec.to_be_bytes())
            .bytes(limit::UNIT, &SECOND.to_be_bytes())
            .number(limit::BURST, rate.burst)
            .number(limit::TYPE, of)
            .number(limit::FLAGS, limit::OVER);
        self.expression("limit", &limit)
    }

    fn network_header(self, offset: u32, length: u32) -> Self {
        self.payload(libc::NFT_PAYLOAD_NETWORK_HEADER, offset, length)
    }

    fn payload(self, base: i32, offset: u32, length: u32) -> Self {
        let load = Attributes::default()
            .number(payload::DREG, REGISTER)
            .number(payload::BASE, base.cast_unsigned())
            .number(payload::OFFSET, offset)
            .number(payload::LEN, length);
        self.expression("payload", &load)
    }

    fn mask(self, mask: &[u8]) -> Self {
        let zeros = vec![0; mask.len()];
        #[expect(clippy::cast_possible_truncation, reason = "a register has 16 bytes")]
        let length = mask.len() as u32;
        let and = Attributes::default()
            .number(bitwise::SREG, REGISTER)
            .number(bitwise::DREG, REGISTER)
            .number(bitwise::LEN, length)
            .nested(bitwise::MASK, &value(mask))
            .nested(bitwise::XOR, &value(&zeros));
        self.expression("bitwise", &and)
    }

    fn compare(self, operator: i32, with: &[u8]) -> Self {
        let compare = Attributes::default()
            .number(cmp::SREG, REGISTER)
            .number(cmp::OP, operator.cast_unsigned())
            .nested(cmp::DATA, &value(with));
        self.expression("cmp", &compare)
    }

    /// Conntrack's bits stand in the register in the host's byte order.
    fn any_bit(self, bits: u32) -> Self {
        self.mask(&bits.to_ne_bytes())
            .compare(libc::NFT_CMP_NEQ, &[0; 4])
    }

    fn subnet(self, subnet: Subnet, operator: i32) -> Self {
        let masked = if subnet.prefix() == 32 {
            self
        } else if subnet.prefix() == 0 && operator == libc::NFT_CMP_EQ {
            return self;
        } else {
            self.mask(&subnet.mask().octets())
        };
        masked.compare(operator, &subnet.address().octets())
    }

    fn interface(self, interface: Interface<'_>, operator: i32) -> Self {
        // The kernel holds the name padded with zeros; a comparison that is shorter is one of prefixes.
        match interface {
            Interface::StartingWith(prefix) => self.compare(operator, prefix.as_bytes()),
            Interface::Named(name) => {
                let mut padded = [0; libc::IFNAMSIZ];
                for (to, from) in padded.iter_mut().zip(name.bytes()) {
                    *to = from;
                }
                self.compare(operator, &padded)
            }
        }
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Self {
        let mut what = Attributes::default().number(verdict::CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            what = what.text(verdict::CHAIN, chain);
        }
        let set = Attributes::default()
            .number(immediate::DREG, libc::NFT_REG_VERDICT.cast_unsigned())
            .nested(
                immediate::DATA,
                &Attributes::default().nested(data::VERDICT, &what),
            );
        self.expression("immediate", &set)
    }

    fn nat(self, kind: i32, to: Ipv4Addr) -> Self {
        let set = Attributes::default()
            .number(immediate::DREG, REGISTER)
            .nested(immediate::DATA, &value(&to.octets()));
        let translate = Attributes::default()
            .number(nat::TYPE, kind.cast_unsigned())
            .number(nat::FAMILY, libc::NFPROTO_IPV4.cast_unsigned())
            .number(nat::REG_ADDR_MIN, REGISTER);
        self.expression("immediate", &set)
            .expression("nat", &translate)
    }
}

/// The one register that the rules use: 16 bytes.
const REGISTER: u32 = libc::NFT_REG_1.cast_unsigned();

fn value(bytes: &[u8]) -> Attributes {
    Attributes::default().bytes(data::VALUE, bytes)
}
