//! What slots and networks leave in the kernel, by labels that carry the instance's id. It takes no open network to find
//! it.

use std::io;
use std::path::Path;

use wrenn_model::InstanceId;
use wrenn_model::leftover::{Kind, Leftover, Owner};
use wrenn_sys::netns;

use crate::claim::{self, Turn};
use crate::error::{Doing, Error};
use crate::forwarding;
use crate::links::{Link, Links, Route};
use crate::nft::{self, Batch, Family};
use crate::plan::{host_table, label_prefix, veth_prefix};
use crate::range::Ranges;

/// The ranges that an instance has recorded in its state directory; none before its first start.
///
/// # Errors
/// [`Error::Record`] when the record cannot be read.
pub fn recorded(state_dir: &Path) -> Result<Option<Ranges>, Error> {
    claim::recorded(state_dir)
}

/// All that stands of an instance's network: namespaces, interfaces, tables of rules, claims on addresses. Those on other
/// addresses than `ranges` are former ones. A runtime must be entered.
///
/// # Errors
/// What the kernel said.
pub async fn leftovers(
    instance: &InstanceId,
    ranges: Option<&Ranges>,
) -> Result<Vec<Leftover>, Error> {
    let links = Links::open().doing(|| "opening a netlink socket".into())?;
    let mut found = namespaces(instance)?;
    let own = veth_prefix(instance);
    for link in links.links().await? {
        if let Some(rest) = link.name.strip_prefix(&own) {
            found.push(interface(vm_of(&link, rest, &label_prefix(instance)), link));
        }
    }
    found.extend(tables(instance)?);
    for route in links.routes().await? {
        // Those to slots go with their interfaces.
        if route.ours && route.metric == claim::metric(instance) && route.out.is_empty() {
            found.push(claimed(route, ranges));
        }
    }
    Ok(found)
}

fn namespaces(instance: &InstanceId) -> Result<Vec<Leftover>, Error> {
    let prefix = label_prefix(instance);
    let names = netns::list(&prefix).doing(|| "listing namespaces".into())?;
    let leftovers = names.into_iter().map(|name| {
        let vm = name.strip_prefix(&prefix).unwrap_or_default().to_owned();
        Leftover::new(Kind::Namespace, name.clone(), Owner::Vm(vm), || async {
            tokio::task::spawn_blocking(move || netns::remove(&name)).await??;
            Ok(())
        })
    });
    Ok(leftovers.collect())
}

/// The VM that an interface belongs to: by its label or, where its making broke off before it got one, by its short name.
fn vm_of(link: &Link, short: &str, prefix: &str) -> String {
    let label = link.alias.as_deref();
    match label.and_then(|label| label.strip_prefix(prefix)) {
        Some(vm) => vm.to_owned(),
        None => format!("vm-{short}"),
    }
}

fn interface(vm: String, link: Link) -> Leftover {
    let name = match &link.alias {
        Some(label) => format!("{} ({label})", link.name),
        None => link.name.clone(),
    };
    Leftover::new(Kind::Link, name, Owner::Vm(vm), || async move {
        let links = Links::open()?;
        // Its number may be another's by now.
        match links.find(&link.name).await? {
            Some(now) if now == link => Ok(links.delete(link.index).await?),
            _ => Ok(()),
        }
    })
}

fn tables(instance: &InstanceId) -> Result<Vec<Leftover>, Error> {
    let own = host_table(instance);
    let tables = nft::tables(Family::Ip).doing(|| "reading the rules".into())?;
    let owned = tables.into_iter().filter_map(|table| {
        let rest = table.name.strip_prefix(&own)?;
        let owner = match rest.strip_prefix('-') {
            None if rest.is_empty() => Owner::Instance,
            None => return None,
            Some(vm) => Owner::Vm(vm.to_owned()),
        };
        Some((table.name, owner))
    });
    let leftovers = owned.map(|(name, owner)| {
        Leftover::new(Kind::Table, name.clone(), owner, || async move {
            Ok(remove_table(&name).await?)
        })
    });
    Ok(leftovers.collect())
}

async fn remove_table(name: &str) -> Result<(), Error> {
    let _turn = Turn::take().await?;
    forwarding::turn_back(name).doing(|| "turning forwarding off".into())?;
    let mut batch = Batch::default();
    batch.delete_table(Family::Ip, name);
    match batch.commit() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        committed => committed.doing(|| format!("removing the rules {name}")),
    }
}

fn claimed(route: Route, ranges: Option<&Ranges>) -> Leftover {
    let present = |ranges: &Ranges| {
        let own = [ranges.veth, ranges.reachable].map(|range| range.subnet());
        own.contains(&route.to)
    };
    let owner = if ranges.is_some_and(present) {
        Owner::Instance
    } else {
        Owner::Nobody
    };
    let name = format!("unreachable {} metric {}", route.to, route.metric);
    Leftover::new(Kind::Route, name, owner, move || async move {
        let links = Links::open()?;
        Ok(links.delete_unreachable(route.to, route.metric).await?)
    })
}
