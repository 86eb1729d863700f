//! What can go wrong with slots and their network.

use std::io;
use std::path::PathBuf;

use wrenn_model::Subnet;

use crate::range::Range;

/// Why an operation on the network failed. Nothing half-made is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured range is in use on this host by something else.
    #[error("the range {range} overlaps {taken}, which {by} has; configure another one")]
    RangeInUse {
        /// The range.
        range: Range,
        /// What it overlaps.
        taken: Subnet,
        /// Who has that: an interface, a route, a resolver.
        by: String,
    },
    /// The two configured ranges overlap each other.
    #[error("both ranges are {0}; configure two")]
    RangesOverlap(Range),
    /// No pair of private ranges is free on this host.
    #[error("no range of private addresses is free; configure two that may be used")]
    NoFreeRange,
    /// Other ranges are configured than the slots that stand have.
    #[error("slots stand in the ranges {veth} and {reachable}; other ranges need them gone first")]
    RangesHaveSlots {
        /// The recorded range of the veth pairs.
        veth: Range,
        /// The recorded range of the host's addresses for guests.
        reachable: Range,
    },
    /// What the operator opens to callers is not all private.
    #[error(
        "{0} cannot be opened to guests: it is not within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10"
    )]
    NotPrivate(Subnet),
    /// Another process was changing the network of this host all the time.
    #[error("another Wrenn is setting up its network and does not end")]
    Busy,
    /// The record of the ranges can't be read or written.
    #[error("the record {} can't be used", path.display())]
    Record {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A slot that should stand does not.
    #[error("the slot {label} does not stand: {missing} is gone")]
    Gone {
        /// The slot's label.
        label: String,
        /// What is missing.
        missing: &'static str,
    },
    /// The kernel refused.
    #[error("{doing} failed")]
    Kernel {
        /// What was being done.
        doing: String,
        /// Why.
        source: io::Error,
    },
}

/// Why this host does not take a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It would open what is never opened.
    #[error(
        "{0} is never opened to a sandbox: it is link-local, reserved, a metadata service's or the host's own"
    )]
    Protected(Subnet),
    /// It would open a private range that the operator has not opened.
    #[error("{0} is private, and this host does not open it to sandboxes")]
    NotOpened(Subnet),
}

/// Says what was being done when the kernel refused.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Kernel {
            doing: what(),
            source,
        })
    }
}

impl<T> Doing<T> for Result<T, rtnetlink::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other.to_string()),
        })
        .doing(what)
    }
}
