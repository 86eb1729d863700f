//! nf_tables over netlink: a batch of tables, chains and rules that the kernel takes whole or not at all.
//!
//! `nft list ruleset` shows what stands as if it had been written in its own language.

mod attribute;
mod chains;
mod constants;
mod rule;
mod socket;

use attribute::Attributes;
use constants::{chain, hook, table};

pub(crate) use chains::{ForwardChain, Unmatched, chain_names, forward_chains};
pub(crate) use rule::{Direction, Interface, Layer4, Rule, state};
pub(crate) use socket::{TableName, tables};

/// What a table's chains see.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Family {
    /// IPv4 packets.
    Ip,
    /// Frames of one interface.
    Netdev,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Self::Ip => 2,
            Self::Netdev => 5,
        }
    }
}

/// Where a base chain hooks in, and when among others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hook<'a> {
    /// Before connections are tracked.
    Raw,
    /// The same for what the host itself sends.
    RawOutput,
    /// Destinations are rewritten.
    DestinationNat,
    /// To the host itself.
    Input,
    /// Through the host.
    Forward,
    /// From the host itself.
    Output,
    /// Sources are rewritten.
    SourceNat,
    /// Frames as they come from a device.
    Ingress(&'a str),
}

impl Hook<'_> {
    /// Hook number, priority, chain type.
    fn place(self) -> (i32, i32, &'static str) {
        match self {
            Self::Raw => (libc::NF_INET_PRE_ROUTING, -300, "filter"),
            Self::RawOutput => (libc::NF_INET_LOCAL_OUT, -300, "filter"),
            Self::DestinationNat => (libc::NF_INET_PRE_ROUTING, -100, "nat"),
            Self::Input => (libc::NF_INET_LOCAL_IN, 0, "filter"),
            Self::Forward => (libc::NF_INET_FORWARD, 0, "filter"),
            Self::Output => (libc::NF_INET_LOCAL_OUT, 0, "filter"),
            Self::SourceNat => (libc::NF_INET_POST_ROUTING, 100, "nat"),
            Self::Ingress(_) => (libc::NF_NETDEV_INGRESS, 0, "filter"),
        }
    }
}

/// What becomes of a packet that no rule of a base chain decided.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Policy {
    Accept,
    Drop,
}

/// Changes that the kernel makes all at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    messages: Vec<Message>,
}

/// One change, and the words for it in an error.
#[derive(Debug)]
struct Message {
    kind: i32,
    flags: i32,
    family: Family,
    body: Attributes,
    about: String,
}

impl Batch {
    /// Makes a table. Where none can stand this is cheaper than [`Self::replace_table`]: closing a socket that deleted
    /// one waits until the kernel has taken it apart, 10 ms.
    pub(crate) fn table(&mut self, family: Family, name: &str, comment: Option<&str>) {
        self.table_message(libc::NFT_MSG_NEWTABLE, family, name, comment);
    }

    /// Makes a table, emptied when it stands already.
    pub(crate) fn replace_table(&mut self, family: Family, name: &str, comment: Option<&str>) {
        // The first message makes sure that there is something to delete.
        self.table_message(libc::NFT_MSG_NEWTABLE, family, name, None);
        self.table_message(libc::NFT_MSG_DELTABLE, family, name, None);
        self.table_message(libc::NFT_MSG_NEWTABLE, family, name, comment);
    }

    /// Removes a table and all in it.
    pub(crate) fn delete_table(&mut self, family: Family, name: &str) {
        self.table_message(libc::NFT_MSG_DELTABLE, family, name, None);
    }

    /// Makes a chain that packets go through.
    pub(crate) fn base_chain(
        &mut self,
        family: Family,
        table: &str,
        name: &str,
        hook: Hook<'_>,
        policy: Policy,
    ) {
        let (number, priority, kind) = hook.place();
        let mut place = Attributes::default()
            .number(hook::NUMBER, number.cast_unsigned())
            .number(hook::PRIORITY, priority.cast_unsigned());
        if let Hook::Ingress(device) = hook {
            place = place.text(hook::DEVICE, device);
        }
        let policy = match policy {
            Policy::Accept => libc::NF_ACCEPT,
            Policy::Drop => libc::NF_DROP,
        };
        let body = Self::chain_body(table, name)
            .nested(chain::HOOK, &place)
            .number(chain::POLICY, policy.cast_unsigned())
            .text(chain::TYPE, kind);
        self.push(
            libc::NFT_MSG_NEWCHAIN,
            libc::NLM_F_CREATE,
            family,
            body,
            format!("chain {name}"),
        );
    }

    /// Makes a chain that rules go to.
    pub(crate) fn chain(&mut self, family: Family, table: &str, name: &str) {
        let body = Self::chain_body(table, name);
        self.push(
            libc::NFT_MSG_NEWCHAIN,
            libc::NLM_F_CREATE,
            family,
            body,
            format!("chain {name}"),
        );
    }

    /// Takes all rules out of a chain.
    pub(crate) fn flush_chain(&mut self, family: Family, table: &str, chain: &str) {
        let body = Attributes::default()
            .text(constants::rule::TABLE, table)
            .text(constants::rule::CHAIN, chain);
        let about = format!("the rules of chain {chain}");
        self.push(libc::NFT_MSG_DELRULE, 0, family, body, about);
    }

    /// Adds rules at the end of a chain.
    pub(crate) fn rules(
        &mut self,
        family: Family,
        table: &str,
        chain: &str,
        rules: impl IntoIterator<Item = Rule>,
    ) {
        for (number, rule) in rules.into_iter().enumerate() {
            let body = Attributes::default()
                .text(constants::rule::TABLE, table)
                .text(constants::rule::CHAIN, chain)
                .bytes(constants::rule::EXPRESSIONS | (1 << 15), rule.expressions());
            self.push(
                libc::NFT_MSG_NEWRULE,
                libc::NLM_F_CREATE | libc::NLM_F_APPEND,
                family,
                body,
                format!("rule {} of chain {chain}", number + 1),
            );
        }
    }

    fn table_message(&mut self, kind: i32, family: Family, name: &str, comment: Option<&str>) {
        let mut body = Attributes::default().text(table::NAME, name);
        if let Some(comment) = comment {
            body = body.bytes(table::USERDATA, &comment_data(comment));
        }
        let flags = if kind == libc::NFT_MSG_NEWTABLE {
            libc::NLM_F_CREATE
        } else {
            0
        };
        self.push(kind, flags, family, body, format!("table {name}"));
    }

    fn chain_body(table: &str, name: &str) -> Attributes {
        Attributes::default()
            .text(chain::TABLE, table)
            .text(chain::NAME, name)
    }

    fn push(&mut self, kind: i32, flags: i32, family: Family, body: Attributes, about: String) {
        self.messages.push(Message {
            kind,
            flags,
            family,
            body,
            about,
        });
    }
}

/// User data as `nft` lays it out: type, length, text with its zero.
fn comment_data(comment: &str) -> Vec<u8> {
    let text = &comment.as_bytes()[..comment.len().min(120)];
    #[expect(clippy::cast_possible_truncation, reason = "cut to 120 bytes above")]
    let mut bytes = vec![table::COMMENT, text.len() as u8 + 1];
    bytes.extend(text);
    bytes.push(0);
    bytes
}
