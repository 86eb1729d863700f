//! What slots will find on this host, looked at without changing anything.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use wrenn_model::InstanceId;

use crate::claim;
use crate::error::{Doing, Error};
use crate::links::Links;
use crate::network::uplinks;
use crate::nft::{self, Unmatched};
use crate::plan::veth_prefix;
use crate::range::Ranges;
use crate::resolvers;

/// See the module.
#[derive(Debug)]
pub struct Survey {
    /// The interfaces that a default route leads to.
    pub uplinks: Vec<String>,
    /// Who will answer guests' questions for names.
    pub resolver: Option<Ipv4Addr>,
    /// The ranges that an instance has, or would get.
    pub ranges: Result<Ranges, Error>,
    /// Other tables that drop what is forwarded and not accepted there. `Err` when they can't be read, as for who is
    /// not root.
    pub droppers: io::Result<Vec<Dropper>>,
    /// The instances of Wrenn whose tables stand, this one's among them.
    pub instances: Vec<String>,
}

/// A chain of another firewall. What guests send is dropped there, whatever Wrenn's own rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropper {
    /// Of its table, as `nft` writes it: `ip` or `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
}

impl Survey {
    /// Looks around for an instance, or for one that is still to be made. `state_dir` is where an instance's ranges are
    /// recorded.
    ///
    /// # Errors
    /// What the kernel said when it was asked for links and routes, which anybody may ask for.
    pub async fn take(instance: Option<&InstanceId>, state_dir: &Path) -> Result<Self, Error> {
        let links = Links::open().doing(|| "opening a netlink socket".into())?;
        let uplinks = uplinks(&links, None).await?;
        let resolver = resolvers::choose(&[]);
        let nobody = InstanceId::random();
        let id = instance.unwrap_or(&nobody);
        let ranges = claim::preview(&links, id, resolver.as_slice(), state_dir).await;
        let own = instance.map(veth_prefix);
        let chains = nft::forward_chains(own.as_deref());
        Ok(Self {
            uplinks: uplinks.into_iter().map(|link| link.name).collect(),
            resolver,
            ranges,
            instances: instances().unwrap_or_default(),
            droppers: chains.map(droppers),
        })
    }
}

fn droppers(chains: Vec<nft::ForwardChain>) -> Vec<Dropper> {
    // Wrenn's own tables judge nothing but their own interfaces.
    let foreign = |chain: &nft::ForwardChain| !chain.table.starts_with("wrenn-");
    let dropping = chains
        .into_iter()
        .filter(|chain| foreign(chain) && chain.unmatched == Unmatched::Dropped);
    dropping
        .map(|chain| Dropper {
            family: chain.family,
            table: chain.table,
            chain: chain.name,
        })
        .collect()
}

fn instances() -> io::Result<Vec<String>> {
    let tables = nft::tables(nft::Family::Ip)?;
    Ok(tables
        .into_iter()
        .filter_map(|table| Some(table.name.strip_prefix("wrenn-")?.to_owned()))
        .collect())
}

/// How interfaces of an instance's slots begin; the rest of their names is the slot's.
#[must_use]
pub fn interfaces(instance: &InstanceId) -> String {
    veth_prefix(instance)
}
