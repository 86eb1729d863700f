//! Attribute numbers of nf_tables, by what they belong to; from the kernel's `linux/netfilter/nf_tables.h`.

pub(super) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const USERDATA: u16 = 6;
    /// Within the user data: a comment, as `nft` writes and shows it.
    pub(crate) const COMMENT: u8 = 0;
}

pub(super) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
}

pub(super) mod hook {
    pub(crate) const NUMBER: u16 = 1;
    pub(crate) const PRIORITY: u16 = 2;
    pub(crate) const DEVICE: u16 = 3;
}

pub(super) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const EXPRESSIONS: u16 = 4;
}

pub(super) mod list {
    pub(crate) const ELEMENT: u16 = 1;
}

pub(super) mod expr {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DATA: u16 = 2;
}

pub(super) mod data {
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
}

pub(super) mod verdict {
    pub(crate) const CODE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
}

pub(super) mod immediate {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const DATA: u16 = 2;
}

pub(super) mod meta {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const KEY: u16 = 2;
}

pub(super) mod ct {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const KEY: u16 = 2;
}

pub(super) mod limit {
    pub(crate) const RATE: u16 = 1;
    pub(crate) const UNIT: u16 = 2;
    pub(crate) const BURST: u16 = 3;
    pub(crate) const TYPE: u16 = 4;
    pub(crate) const FLAGS: u16 = 5;
    pub(crate) const OF_PACKETS: u32 = 0;
    pub(crate) const OF_BYTES: u32 = 1;
    pub(crate) const OVER: u32 = 1;
}

pub(super) mod connlimit {
    pub(crate) const COUNT: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    pub(crate) const OVER: u32 = 1;
}

pub(super) mod reject {
    pub(crate) const TYPE: u16 = 1;
    pub(crate) const ICMP_CODE: u16 = 2;
    pub(crate) const WITH_ICMP: u32 = 0;
    pub(crate) const WITH_RESET: u32 = 1;
    /// Communication administratively prohibited.
    pub(crate) const PROHIBITED: u8 = 13;
}

pub(super) mod cmp {
    pub(crate) const SREG: u16 = 1;
    pub(crate) const OP: u16 = 2;
    pub(crate) const DATA: u16 = 3;
}

pub(super) mod payload {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const BASE: u16 = 2;
    pub(crate) const OFFSET: u16 = 3;
    pub(crate) const LEN: u16 = 4;
}

pub(super) mod bitwise {
    pub(crate) const SREG: u16 = 1;
    pub(crate) const DREG: u16 = 2;
    pub(crate) const LEN: u16 = 3;
    pub(crate) const MASK: u16 = 4;
    pub(crate) const XOR: u16 = 5;
}

pub(super) mod nat {
    pub(crate) const TYPE: u16 = 1;
    pub(crate) const FAMILY: u16 = 2;
    pub(crate) const REG_ADDR_MIN: u16 = 3;
}

pub(super) mod masq {
    pub(crate) const NAME: &str = "masq";
}

pub(super) mod fib {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const RESULT: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const RESULT_OIF: u32 = 1;
    pub(crate) const SADDR: u32 = 1;
    pub(crate) const IIF: u32 = 1 << 3;
    pub(crate) const PRESENT: u32 = 1 << 5;
}

pub(super) mod rt {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const KEY: u16 = 2;
    pub(crate) const TCPMSS: u32 = 3;
}

pub(super) mod byteorder {
    pub(crate) const SREG: u16 = 1;
    pub(crate) const DREG: u16 = 2;
    pub(crate) const OP: u16 = 3;
    pub(crate) const LEN: u16 = 4;
    pub(crate) const SIZE: u16 = 5;
    pub(crate) const HTON: u32 = 1;
}

pub(super) mod exthdr {
    pub(crate) const TYPE: u16 = 2;
    pub(crate) const OFFSET: u16 = 3;
    pub(crate) const LEN: u16 = 4;
    pub(crate) const OP: u16 = 6;
    pub(crate) const SREG: u16 = 7;
    pub(crate) const TCP_OPTION: u32 = 1;
}
