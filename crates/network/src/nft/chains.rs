//! What others' chains do with packets on their way through the host; only ever read.

use std::io;

use super::Family;
use super::attribute::{self, Attributes};
use super::constants::{chain, data, expr, hook, immediate, list, rule, verdict};
use super::socket::{dump, text};

/// A chain that every forwarded packet of IPv4 goes through, in the namespace of the calling thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForwardChain {
    /// Of the table, as `nft` writes it: `ip` or `inet`.
    pub(crate) family: &'static str,
    pub(crate) table: String,
    pub(crate) name: String,
    /// What becomes of a packet that no rule accepted.
    pub(crate) unmatched: Unmatched,
}

/// What becomes of a packet that no rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmatched {
    Accepted,
    /// By the chain's policy, or by a last rule for all that is left.
    Dropped,
}

/// A rule, as far as it matters here.
struct Known {
    table: String,
    chain: String,
    /// It asks nothing, and drops or rejects.
    refuses_all: bool,
    /// As the kernel has it, interface names among it.
    expressions: Vec<u8>,
}

/// All such chains. `own` is what names interfaces that someone may have let through: a chain whose table knows them counts
/// as one that accepts.
///
/// # Errors
/// What the kernel said; `PermissionDenied` for who is not root.
pub(crate) fn forward_chains(own: Option<&str>) -> io::Result<Vec<ForwardChain>> {
    let mut chains = dump(libc::NFT_MSG_GETCHAIN, 0, &Attributes::default(), parse)?;
    for chain in &mut chains {
        let table = Attributes::default().text(rule::TABLE, &chain.table);
        let number = if chain.family == "ip" { IP } else { INET };
        let mut rules = dump(libc::NFT_MSG_GETRULE, number, &table, |_, body| known(body))?;
        rules.retain(|rule| rule.table == chain.table);
        let mut here = rules.iter().filter(|rule| rule.chain == chain.name);
        if here.next_back().is_some_and(|last| last.refuses_all) {
            chain.unmatched = Unmatched::Dropped;
        }
        if own.is_some_and(|own| rules.iter().any(|rule| names(&rule.expressions, own))) {
            chain.unmatched = Unmatched::Accepted;
        }
    }
    Ok(chains)
}

/// How the chains of a table are called, in the namespace of the calling thread.
///
/// # Errors
/// What the kernel said.
pub(crate) fn chain_names(family: Family, table: &str) -> io::Result<Vec<String>> {
    let all = &Attributes::default();
    dump(libc::NFT_MSG_GETCHAIN, family.number(), all, |_, body| {
        let (mut of, mut name) = (None, None);
        for (kind, value) in attribute::parse(body) {
            match kind {
                chain::TABLE => of = Some(text(value)),
                chain::NAME => name = Some(text(value)),
                _ => {}
            }
        }
        name.filter(|_| of.is_some_and(|of| of == table))
    })
}

/// Families of tables that see packets of IPv4.
const INET: u8 = 1;
const IP: u8 = 2;

fn parse(family: u8, body: &[u8]) -> Option<ForwardChain> {
    let family = match family {
        INET => "inet",
        IP => "ip",
        _ => return None,
    };
    let (mut table, mut name, mut forward, mut policy) = (None, None, false, None);
    for (kind, value) in attribute::parse(body) {
        match kind {
            chain::TABLE => table = Some(text(value)),
            chain::NAME => name = Some(text(value)),
            chain::HOOK => forward = is_forward(value),
            chain::POLICY => policy = number(value),
            _ => {}
        }
    }
    let dropped = policy == Some(libc::NF_DROP.cast_unsigned());
    forward.then_some(ForwardChain {
        family,
        table: table?,
        name: name?,
        unmatched: if dropped {
            Unmatched::Dropped
        } else {
            Unmatched::Accepted
        },
    })
}

fn is_forward(place: &[u8]) -> bool {
    attribute::parse(place).any(|(kind, value)| {
        kind == hook::NUMBER && number(value) == Some(libc::NF_INET_FORWARD.cast_unsigned())
    })
}

fn known(body: &[u8]) -> Option<Known> {
    let (mut table, mut chain, mut expressions) = (None, None, Vec::new());
    for (kind, value) in attribute::parse(body) {
        match kind {
            rule::TABLE => table = Some(text(value)),
            rule::CHAIN => chain = Some(text(value)),
            rule::EXPRESSIONS => expressions = value.to_vec(),
            _ => {}
        }
    }
    Some(Known {
        table: table?,
        chain: chain?,
        refuses_all: refuses_all(&expressions),
        expressions,
    })
}

/// Whether nothing but a refusal is among the expressions, beside what only looks on.
fn refuses_all(expressions: &[u8]) -> bool {
    let mut refuses = false;
    for (kind, element) in attribute::parse(expressions) {
        if kind != list::ELEMENT {
            return false;
        }
        let (mut name, mut content) = (String::new(), &[][..]);
        for (kind, value) in attribute::parse(element) {
            match kind {
                expr::NAME => name = text(value),
                expr::DATA => content = value,
                _ => {}
            }
        }
        match name.as_str() {
            "counter" | "log" => {}
            "reject" => refuses = true,
            "immediate" => refuses = is_drop(content),
            _ => return false,
        }
    }
    refuses
}

fn is_drop(content: &[u8]) -> bool {
    let inside = |bytes, wanted| {
        attribute::parse(bytes).find_map(move |(kind, value)| (kind == wanted).then_some(value))
    };
    let code = inside(content, immediate::DATA)
        .and_then(|value| inside(value, data::VERDICT))
        .and_then(|value| inside(value, verdict::CODE));
    code.and_then(number) == Some(libc::NF_DROP.cast_unsigned())
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn names(expressions: &[u8], interfaces: &str) -> bool {
    let name = interfaces.as_bytes();
    expressions.windows(name.len()).any(|window| window == name)
}
